"""The places deliver works in: opened once, checked, and locked against a second deliver.

A spool that everybody may write to would let anybody put mail under any name into any mailbox, so deliver does not
start with one. Only spool/pickup may be open to all, and then only like /tmp, with the sticky bit.
"""

import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lanmail import spool
from lanmail.delivery import maildrop
from lanmail.paths import Paths
from lanmail.settings import Settings


class Unsafe(Exception):
    """A directory is not what it must be; the text says what to do."""


@dataclass(slots=True)
class Office:
    """Open spools and Maildirs, and the settings of the moment."""

    paths: Paths
    queue: spool.Spool
    pickup: spool.Spool
    outbound: spool.Spool
    hold: spool.Spool
    drop: maildrop.Maildrop
    settings: Callable[[], Settings]

    def spool_named(self, name: str) -> spool.Spool:
        """The spool that a journal line names."""
        return {"queue": self.queue, "outbound": self.outbound, "hold": self.hold}[name]

    def is_elsewhere(self) -> bool:
        """True when a spool was moved away and another one put in its place: what we hold open is not the spool."""
        for one in (self.queue, self.pickup, self.outbound, self.hold):
            for place in (spool.TMP, spool.NEW, spool.CUR):
                try:
                    if not os.path.samestat(os.stat(one.path / place), os.fstat(one.fd(place))):
                        return True
                except FileNotFoundError:
                    return True
        return False

    def close(self) -> None:
        for one in (self.queue, self.pickup, self.outbound, self.hold):
            one.close()
        self.drop.close()


def lock(paths: Paths) -> int | None:
    """Hold the lock that makes us the only deliver here; None when another one has it. Keep the descriptor open."""
    paths.state.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(paths.state / "deliver.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def open_office(paths: Paths, settings: Callable[[], Settings]) -> Office:
    """Make what is missing, check, open. Unsafe, OSError."""
    spools = {
        name: spool.Spool(paths.spool / name, state=paths.state / name, hold=paths.hold)
        for name in ("queue", "pickup", "outbound", "hold")
    }
    for one in spools.values():
        one.ensure()
    paths.maildirs.mkdir(mode=0o750, parents=True, exist_ok=True)
    check(paths)
    return Office(paths, settings=settings, drop=maildrop.Maildrop(paths.maildirs), **spools)


def check(paths: Paths) -> None:
    """Raise Unsafe for a link in place of a spool, or a directory that others than we may write to."""
    for directory in (paths.spool, paths.state, paths.maildirs):  # whole trees may lie elsewhere, by a link
        _check(directory, os.stat(directory).st_mode, shared=False)
    for name in ("queue", "outbound", "hold", "pickup"):
        base = paths.spool / name
        for directory in (base, base / "tmp", base / "new", base / "cur"):
            shared = name == "pickup" and directory.name in ("pickup", "new")
            _check(directory, os.lstat(directory).st_mode, shared=shared)


def _check(directory: Path, mode: int, *, shared: bool) -> None:
    if not stat.S_ISDIR(mode):
        raise Unsafe(f"{directory} is not a directory of its own (a link, or something else)")
    if mode & stat.S_IWOTH and not (shared and mode & stat.S_ISVTX):
        advice = f"chmod 1733 {directory}" if shared else f"chmod o-w {directory}"
        raise Unsafe(f"{directory} can be written by everybody, so anybody could forge or remove mail: {advice}")
