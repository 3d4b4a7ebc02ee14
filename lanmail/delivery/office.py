"""The places deliver works in: opened once, checked, and locked against a second deliver.

A spool that everybody may write to would let anybody put mail under any name into any mailbox, so deliver does not
start with one. Only spool/pickup may be open to all, and then only like /tmp, with the sticky bit.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from lanmail import owner, spool, threadsafe
from lanmail.delivery import filling, maildrop, room
from lanmail.paths import Paths
from lanmail.settings import Settings

MADE = ("archive", "jobs")  # spools that deliver only puts something into


@dataclass(slots=True)
class Office:
    """Open spools and Maildirs, and the settings of the moment."""

    paths: Paths
    queue: spool.Spool
    pickup: spool.Spool
    outbound: spool.Spool
    hold: spool.Spool
    drop: maildrop.Maildrop
    room: room.Room
    filling: filling.Filling
    directory: threadsafe.Directory  # for threads; the loop has one of its own
    settings: Callable[[], Settings]
    made: dict[str, spool.Spool] = field(default_factory=dict)

    def spool_named(self, name: str) -> spool.Spool:
        """The spool that a journal line names."""
        return {"queue": self.queue, "outbound": self.outbound, "hold": self.hold, **self.made}[name]

    def is_elsewhere(self) -> bool:
        """True when a spool was moved away and another one put in its place: what we hold open is not the spool."""
        for one in (self.queue, self.pickup, self.outbound, self.hold, *self.made.values()):
            for place in (spool.TMP, spool.NEW, spool.CUR):
                try:
                    if not os.path.samestat(os.stat(one.path / place), os.fstat(one.fd(place))):
                        return True
                except FileNotFoundError:
                    return True
        return False

    def close(self) -> None:
        for one in (self.queue, self.pickup, self.outbound, self.hold, *self.made.values()):
            one.close()
        self.drop.close()


def lock(paths: Paths) -> int | None:
    """Hold the lock that makes us the only deliver here; None when another one has it. Keep the descriptor open."""
    return owner.lock(paths.state / "deliver.lock")


def open_office(paths: Paths, settings: Callable[[], Settings]) -> Office:
    """Make what is missing, check, open. owner.Unsafe, OSError."""
    spools = {
        name: spool.Spool(paths.spool / name, state=paths.state / name, hold=paths.hold)
        for name in ("queue", "pickup", "outbound", "hold", *MADE)
    }
    for one in spools.values():
        one.ensure()
    made = {name: spools.pop(name) for name in MADE}
    paths.maildirs.mkdir(mode=0o750, parents=True, exist_ok=True)
    check(paths)
    return Office(paths, settings=settings, drop=maildrop.Maildrop(paths.maildirs), room=room.Room(paths, settings),
                  filling=filling.Filling(paths.maildirs), directory=threadsafe.Directory(paths, settings), made=made,
                  **spools)


def check(paths: Paths) -> None:
    """Raise owner.Unsafe for a link in place of a spool, or a directory that others than we may write to."""
    for directory in (paths.spool, paths.state, paths.maildirs):  # whole trees may lie elsewhere, by a link
        owner.check(directory, os.stat(directory).st_mode)
    for name in ("queue", "outbound", "hold", "pickup", *MADE):
        base = paths.spool / name
        for directory in (base, base / "tmp", base / "new", base / "cur"):
            shared = name == "pickup" and directory.name in ("pickup", "new")
            owner.check(directory, os.lstat(directory).st_mode, shared=shared)
