"""Dovecot's dotlock: `FILE.lock`, made exclusively, saying who holds it.

    with dotlock.held(path) as lock:    # waits up to `timeout` seconds, then raises dotlock.Busy
        ...
    dotlock.left_over(lock_file)        # whether a lock is there that belongs to nobody

The file says `pid:host`, as Dovecot writes it, so that either server takes over at once what a dead process of the
same machine left behind; a lock from elsewhere counts as forgotten when it did not change for 120 s. Threads of one
process exclude each other like processes do. Blocking: never call it in an event loop. Not re-entrant.
"""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Iterator

from lanmail import atomic

STALE = 120.0
NAMELESS = 30.0  # for one that names nobody: who made it died before it could, or it is no lock of a mail server
REFRESH = 10.0
_LIMIT = 1024
_ours: set[str] = set()
_guard = threading.Lock()


class Busy(OSError):
    """Somebody else kept the lock for too long; try again later."""


class Lock:
    """A lock that is held; long work calls `touch()` now and then, so that nobody takes it for forgotten."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._touched = time.monotonic()

    def touch(self) -> None:
        """Refresh the time of the lock when the last refresh was 10 s ago."""
        now = time.monotonic()
        if now - self._touched > REFRESH:
            self._touched = now
            with contextlib.suppress(OSError):
                os.utime(self.path, follow_symlinks=False)


@contextlib.contextmanager
def held(path: str | os.PathLike[str], *, timeout: float = 30.0) -> Iterator[Lock]:
    """Hold `path`.lock; raises Busy after `timeout` seconds, OSError when the directory cannot be written."""
    name = f"{os.fspath(path)}.lock"
    _acquire(name, time.monotonic() + timeout)
    try:
        yield Lock(name)
    finally:
        with _guard:
            _ours.discard(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _acquire(name: str, deadline: float) -> None:
    wait = 0.001
    while True:
        with _guard:
            if _create(name):
                _ours.add(name)
                return
            if atomic.set_aside(name):
                continue
            if _forgotten(name):
                _take_over(name)
                continue
        if time.monotonic() > deadline:
            raise Busy(f"{name} is held by another process")
        time.sleep(wait)
        wait = min(wait * 2, 0.05)


def _create(name: str) -> bool:
    """Make the lock with its owner in it: whoever dies right after must not leave a lock that names nobody."""
    if os.path.lexists(name):
        return False
    aside = f"{name}.{os.getpid()}.{time.monotonic_ns()}"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)
    try:
        try:
            with contextlib.suppress(OSError):  # on a full disk it is a lock without a name, and mail can be deleted
                os.write(descriptor, f"{os.getpid()}:{socket.gethostname()}".encode())
        finally:
            os.close(descriptor)
        os.link(aside, name)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return _create_in_place(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
    return True


def _create_in_place(name: str) -> bool:
    """Where there are no hard links."""
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)
    except FileExistsError:
        return False
    try:
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{os.getpid()}:{socket.gethostname()}".encode())
    finally:
        os.close(descriptor)
    return True


def left_over(lock: str) -> bool:
    """True when a lock file is there that nobody can be holding any more."""
    return os.path.lexists(lock) and _forgotten(lock)


def _forgotten(name: str) -> bool:
    """True when nobody can be holding the lock any more."""
    try:
        age = abs(time.time() - os.lstat(name).st_mtime)
        pid, _, host = atomic.read(name, _LIMIT).decode("ascii", "replace").partition(":")
    except FileNotFoundError:
        return False
    except OSError:  # nothing that a mail server made
        return age > NAMELESS
    # In both directions: after a step of the clock, a lock "from tomorrow" must not hold for ever.
    if age > STALE or (age > NAMELESS and not (host and pid.isdigit())):
        return True
    if host != socket.gethostname() or not pid.isdigit():
        return False
    if int(pid) == os.getpid():  # an earlier process had our number
        return name not in _ours
    return not _alive(int(pid))


def _alive(pid: int) -> bool:
    # kill, not /proc: a process of another user may be invisible there (ProtectProc=invisible)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _take_over(name: str) -> None:
    """Remove a forgotten lock. The rename makes it exclusive: of two that saw the same leftover, one removes it."""
    aside = f"{name}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        before = os.lstat(name)
        os.rename(name, aside)
        after = os.lstat(aside)
    except FileNotFoundError:
        return
    if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
        with contextlib.suppress(OSError):  # it was a fresh one, made in between: put it back
            os.link(aside, name)
    os.unlink(aside)
