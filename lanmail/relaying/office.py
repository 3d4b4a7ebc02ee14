"""What relay works with: the spools, the settings of the moment, the transports that were needed so far."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lanmail import accounts, owner, spool, transports
from lanmail.archiving import store
from lanmail.outgoing import Outgoing
from lanmail.paths import Paths
from lanmail.settings import Account, Settings

if TYPE_CHECKING:
    from lanmail.relaying import route


@dataclass(slots=True)
class Office:
    """Open spools, accounts, transports."""

    paths: Paths
    settings: Callable[[], Settings]
    outbound: spool.Spool
    queue: spool.Spool
    jobs: spool.Spool
    archive: spool.Spool
    directory: accounts.Directory
    house: transports.House
    made: dict[str, transports.Transport] = field(default_factory=dict)
    ways: "dict[str, tuple[Outgoing, Account, route.Way]]" = field(default_factory=dict)  # see route.way_of

    def transport(self, name: str) -> transports.Transport:
        """The transport of this name, made when first needed."""
        known = self.made.get(name)
        if known is None:
            known = self.made[name] = transports.make(name, self.house)
        return known

    async def close(self) -> None:
        for one in self.made.values():
            await one.close()
        self.outbound.close()
        self.queue.close()
        self.jobs.close()
        self.archive.close()


def open_office(paths: Paths, settings: Callable[[], Settings], say: Callable[[str], None]) -> Office:
    """Make what is missing, check, open. owner.Unsafe, OSError."""
    outbound, queue, jobs = spool.outbound(paths), spool.queue(paths), spool.jobs(paths)
    archive = store.spool_of(paths)
    for one in (outbound, queue, jobs, archive):
        one.ensure()
    check(paths)
    return Office(paths, settings, outbound, queue, jobs, archive, accounts.Directory(paths, settings),
                  transports.House(paths, settings, say))


def check(paths: Paths) -> None:
    """Raise owner.Unsafe for a link in place of a spool, or a directory that others than we may write to."""
    for directory in (paths.spool, paths.state):
        owner.check(directory, os.stat(directory).st_mode)
    for base in (paths.queue, paths.outbound, paths.jobs, paths.spool / "archive", paths.hold):
        for directory in (base, base / "tmp", base / "new", base / "cur"):
            # hold is made when it is first needed
            if paths.hold not in (directory, directory.parent) or os.path.lexists(directory):
                owner.check(directory, os.lstat(directory).st_mode)
