"""Listening sockets: from systemd's .socket units where there are any, else opened here.

systemd hands descriptors 3… over with their names in LISTEN_FDNAMES (sd_listen_fds(3)); a listener takes those that
bear its name, and only a listener without any is bound here.
"""

import contextlib
import errno
import os
import resource
import socket
from dataclasses import dataclass

from lanmail import log

BACKLOG = 512
MOST_FILES = 65_536
_FIRST_FD = 3  # SD_LISTEN_FDS_START


@dataclass(frozen=True, slots=True)
class Listener:
    """A wish: `name` is the FileDescriptorName= of systemd and stands in logs; `kind` is the program's own word."""

    name: str
    kind: str
    hosts: tuple[str, ...]
    port: int
    tls: bool = False  # implicit TLS from the first byte


@dataclass(frozen=True, slots=True)
class Bound:
    """A listener and one socket of it, non-blocking and listening."""

    listener: Listener
    socket: socket.socket

    def __str__(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return f"{self.listener.name}={f'[{host}]' if ':' in host else host}:{port}"


class CannotListen(Exception):
    """An address cannot be bound; the text says which, why, and what to do."""


def raise_limit() -> None:
    """Let the process open as many files as it may: a shell's 1,024 are fewer than the clients of a large office."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(wanted: int) -> int:
    """`wanted`, or fewer when the process may not open files enough: each needs a socket, and a file now and then.

    So accept(2) does not run into EMFILE, where a loop can only spin or drop connections without a word.
    """
    files = os.sysconf("SC_OPEN_MAX")
    return max(1, min(wanted, (files - 40) // 2)) if files > 0 else wanted


def open_all(listeners: list[Listener]) -> list[Bound]:
    """Bind every listener; all or nothing. Raises CannotListen with every address that failed."""
    given = _from_systemd()
    bound: list[Bound] = []
    failed: list[str] = []
    for listener in listeners:
        if handed := given.get(listener.name):
            bound += [Bound(listener, one) for one in handed]
            continue
        for host in listener.hosts:
            try:
                bound.append(Bound(listener, _bind(host, listener.port)))
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and host == "::1":
                    log.address_skipped(listener=listener.name, address=host, reason="this host has no IPv6")
                    continue
                failed.append(_explain(listener, host, error))
    if failed:
        for one in bound:
            one.socket.close()
        raise CannotListen("\n".join(failed))
    return bound


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by this
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, port))
        one.listen(BACKLOG)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


def _explain(listener: Listener, host: str, error: OSError) -> str:
    where = f"cannot listen on {host} port {listener.port} ({listener.name}): {os.strerror(error.errno or 0)}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}. Another program has this port (see: ss -ltnp); stop it or set another port or port_offset"
    if error.errno == errno.EACCES:
        return f"{where}. Ports below 1024 need systemd's socket units, or set server.port_offset"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}. No interface has this address: correct `listen` in lanmail.toml"
    return where


def _from_systemd() -> dict[str, list[socket.socket]]:
    """The sockets that were handed over, by name; the variables are cleared so that no child takes them as its own."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    given: dict[str, list[socket.socket]] = {}
    for index in range(int(count)):
        descriptor = _FIRST_FD + index
        os.set_inheritable(descriptor, False)
        one = socket.socket(fileno=descriptor)
        one.setblocking(False)
        given.setdefault(names[index] if index < len(names) else "unknown", []).append(one)
    return given
