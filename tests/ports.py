"""Ports for the tests: each is given to one process of one test run only, however many run at a time.

    free() -> int              a port on which nothing listens
    offset(ports) -> int       a server.port_offset with which nothing listens on these ports

A port is taken by a lock on its octet of a file, which the kernel lets go when the process ends. All are below the
range from which the kernel gives ports to clients.
"""

import errno
import fcntl
import os
import random
import socket
import tempfile
from functools import cache

WELL_KNOWN = (24, 25, 110, 143, 465, 587, 993, 995)
_FIRST, _LAST = 10_000, 32_000
_given: set[int] = set()


def free() -> int:
    """A port that nobody else is given while this process lives."""
    return offset((0,))


def offset(ports: tuple[int, ...] = WELL_KNOWN) -> int:
    """A number that makes such ports of all of these."""
    for _ in range(2000):
        number = random.randrange(_FIRST, _LAST - max(ports))
        if all(_take(port + number) for port in ports):
            return number
    raise OSError("no free ports")


def _take(port: int) -> bool:
    if port in _given:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return _unused(socket.AF_INET, "127.0.0.1", port) and _unused(socket.AF_INET6, "::1", port)


@cache
def _locks() -> int:
    path = os.path.join(tempfile.gettempdir(), f"lanmail-test-ports-{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _unused(family: int, host: str, port: int) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((host, port))
    except OSError as error:
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # no IPv6 here
    return True
