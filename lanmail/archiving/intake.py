"""From spool/archive into the archive: many entries with few flushes, each exactly once, however often we are killed.

For a group of entries, in this order:

    1. each gets its name in the store (the file itself was flushed by who queued it)
    2. the names are flushed
    3. one write of their lines to the journal, and one flush: now they are archived
    4. the entries are removed

Killed before 3, the entry is taken again and finds its name in the store; killed before 4, it finds its line, too.
"""

import json
import mmap
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from lanmail import atomic, entry, log, owner, spool
from lanmail.archiving import journal, store
from lanmail.paths import Paths

GROUP = 500  # entries with one flush
SECONDS = 1.0  # after which a group is closed, though it has fewer


@dataclass(slots=True)
class Outcome:
    """What became of a group: lines that were written, names that were not looked at, what went wrong."""

    lines: list[journal.Line] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    error: OSError | None = None


class Intake:
    """The open spool, store and journal. Blocks; OSError."""

    def __init__(self, where: Paths) -> None:
        self.where = where
        self.spool = store.spool_of(where)
        self.spool.ensure()
        where.archive.mkdir(mode=0o750, parents=True, exist_ok=True)
        check(where)
        self.store = store.Store(where)
        self.journal = journal.Journal(where)
        self._held = spool.Spool(where.hold, state=where.state / "hold", hold=where.hold)
        self._held.state.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._told: set[str] = set()  # foreign things that were logged

    def close(self) -> None:
        """Let go of everything."""
        self.journal.close()
        self.store.close()
        self.spool.close()

    def names(self) -> list[str]:
        """What lies there, oldest first."""
        return self.spool.names(spool.NEW)

    def take(self, names: Iterable[str]) -> Outcome:
        """Archive a group of entries. What the disk has no room for stays, with all behind it."""
        outcome, end = Outcome(), time.monotonic() + SECONDS
        stored: list[store.Stored] = []
        for name in names:
            if outcome.error or len(stored) >= GROUP or time.monotonic() > end:
                outcome.left.append(name)
                continue
            try:
                if (one := self._put(name)) is not None:
                    stored.append(one)
            except OSError as error:
                outcome.error = error
                outcome.left.append(name)
        try:
            outcome.lines = self._write_down(stored)
        except OSError as error:
            outcome.error = error
            outcome.left = [*(one.name for one in stored), *outcome.left]
        return outcome

    def _put(self, name: str) -> store.Stored | None:
        """Into the store; None when nothing can be done with it now, or ever."""
        try:
            if self.spool.is_open(name):
                return None  # its close will tell, or the next sweep
            return self.store.put(self.spool, name)
        except FileNotFoundError:
            return None
        except (entry.Unreadable, ValueError) as error:
            self._hold(name, str(error))
        except atomic.NotRegular as error:
            self._leave(name, str(error.strerror))
        except PermissionError as error:
            self._hold(name, f"cannot be read: {error.strerror}")
        return None

    def _write_down(self, stored: list[store.Stored]) -> list[journal.Line]:
        """Steps 2 to 4."""
        self.store.settle()
        known = self._known([one for one in stored if not one.new])
        fresh, done = [], []
        for one in stored:
            file = str(one.body["file"])
            if one.new or file not in known:
                if not one.new and not self.store.is_sound(one.body):
                    self._hold(one.name, f"{one.body['file']} is there already, but not this file, and has no line")
                    continue
                fresh.append(one.body)
                known.add(file)  # the same may lie there twice
            elif not self.store.is_sound(one.body):
                self._hold(one.name, f"it is archived already, but {one.body['file']} was changed since; this is the "
                           "file as it was")
                continue
            done.append(one.name)
        lines = self.journal.append(fresh) if fresh else []
        for name in done:
            os.unlink(name, dir_fd=self.spool.fd(spool.NEW))
        return lines

    def _known(self, again: list[store.Stored]) -> set[str]:
        """Those of the files that have a line in the journal."""
        wanted = {one.body["file"] for one in again}
        if not wanted or not self._named(wanted):
            return set()
        self.journal.place()
        return {line.data["file"] for line in journal.lines(self.journal.path)
                if line.kind == journal.MAIL and line.data.get("file") in wanted}

    def _named(self, files: set[str]) -> bool:
        """Whether one of them stands in the journal at all; quick, for after a crash most do not."""
        with open(self.journal.path, "rb") as stream:
            if not os.fstat(stream.fileno()).st_size:
                return False
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory:
                return any(memory.find(json.dumps(name, ensure_ascii=False).encode()) >= 0 for name in files)

    def _hold(self, name: str, why: str) -> None:
        try:
            self._held.save_state(spool.parse_name(name).id, {"spool": "archive"})  # where a release puts it back
            self.spool.hold(name, why)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(name, f"{why}; and it cannot be moved to hold: {error.strerror}")
            return
        log.held(id=spool.parse_name(name).id, why=why)

    def _leave(self, name: str, why: str) -> None:
        if name not in self._told:
            self._told.add(name)
            log.left_alone(file=f"spool/archive/new/{name}", why=why)


def check(where: Paths) -> None:
    """Raise owner.Unsafe for a directory that everybody may write to, or a link in place of a spool."""
    for directory in (where.spool, where.state, where.archive):  # whole trees may lie elsewhere, by a link
        owner.check(directory, os.stat(directory).st_mode)
    base = where.spool / "archive"
    for directory in (base, base / "tmp", base / "new", base / "cur"):
        owner.check(directory, os.lstat(directory).st_mode)
