"""What stands in one directory (new/ or cur/), read again only when it can have changed.

    Listing(path)
    .look() -> base names something happened to since the last look; one stat when nothing did
    .same() -> bool      nothing can have changed;   .steady() -> bool      nothing changed while the names were read
    .names, .files       all names, and base name → name;   .twice() -> names whose base name another file has
    .forget()            read again at the next look, whatever the mtime says
    .applied(removed, added) -> base names      what we did here ourselves: nothing is read for it
    doubles(directory, new, cur)     files whose base name another one has, too; part() gives them one of their own
    .surprised(name, there) -> bool             whether an inotify event tells something we do not know

The mtime is taken before the names are read, and it is not trusted while another change within the same tick of the
clock could leave it as it is. After a change of our own the names are taken as known although somebody else may have
changed something in the same moment; so they are read again when a second has passed, or ten times as long as reading
takes. (A mailbox of 100,000 takes 0.2 s to read: nobody wants that after each message he flags.)
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence

from lanmail import atomic, maildir, spool
from lanmail.folders.snapshot import Entry

TRUST = 1.0


class Listing:
    """The names in one directory, and the mtime from before they were read.

    With `optional` a directory that is missing, or something else in its place, is an empty one.
    """

    __slots__ = ("_cost", "_inode", "_mtime", "_reread", "_settled", "files", "names", "optional", "others", "path")

    def __init__(self, path: str, *, optional: bool = False) -> None:
        self.path = path
        self.optional = optional
        self.names: set[str] = set()
        self.others: set[str] = set()  # what is no regular file
        self.files: dict[str, str] = {}
        self._mtime = self._inode = 0
        self._settled = False
        self._reread = 0.0  # until then (monotonic) our own changes are trusted to be the only ones
        self._cost = 0.0

    def same(self) -> bool:
        """True when nothing can have changed since the names were read."""
        if not self._settled and time.monotonic() >= self._reread:
            return False
        return self._stamp() == (self._mtime, self._inode)

    def _stamp(self) -> tuple[int, int]:
        """Time and inode of the directory; FileNotFoundError when it must be there and is not."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            if self.optional:
                return 0, 0
            raise
        return status.st_mtime_ns, status.st_ino

    def look(self) -> Iterable[str]:
        """Read the names when the directory changed; returns the base names something happened to."""
        if self.same():
            return ()
        began = time.monotonic()
        stamp = self._stamp()
        names = self._read()
        self._reread, self._cost = 0.0, time.monotonic() - began
        self._mtime, self._inode = stamp
        # Another change within the clock's grain (a jiffy; on old file systems a second) would not change the mtime.
        grain = 1_100_000_000 if self._mtime % 1_000_000_000 == 0 else 30_000_000
        self._settled = abs(time.time_ns() - self._mtime) > grain
        return self._take(names)

    def _read(self) -> list[str]:
        self.others.clear()
        try:
            return maildir.list_names(self.path, self.others)
        except (FileNotFoundError, NotADirectoryError):
            if self.optional:
                return []
            raise

    def _take(self, listed: list[str]) -> Iterable[str]:
        if not self.names:
            return self._take_first(listed)
        names = set(listed)
        added, removed = names - self.names, self.names - names
        self.names = names
        touched = [name.partition(":")[0] for name in removed]
        for base in touched:
            self.files.pop(base, None)
        self.files.update([(name.partition(":")[0], name) for name in added])
        if len(self.files) != len(names):  # two files with one base name: rare, so the slow way
            self.files = {name.partition(":")[0]: name for name in names}
        touched += [name.partition(":")[0] for name in added]
        return touched

    def _take_first(self, listed: list[str]) -> Iterable[str]:
        """The names of a directory come in no order. They are visited time and again in that of arrival, which is
        nearly this one: so they are made anew in it, and neighbours in the list are neighbours in memory."""
        listed.sort()
        listed = "/".join(listed).split("/") if listed else []
        self.names = set(listed)
        self.files = dict(zip([name.partition(":")[0] for name in listed], listed, strict=True))
        return self.files

    def applied(self, removed: Sequence[str], added: Sequence[str]) -> list[str]:
        """Names that we removed and made under the folder's lock; returns their base names."""
        files = self.files
        self.names.difference_update(removed)
        self.names.update(added)
        touched = [name.partition(":")[0] for name in removed]
        for base, name in zip(touched, removed, strict=True):
            if files.get(base) == name:
                del files[base]
        fresh = [name.partition(":")[0] for name in added]
        files.update(zip(fresh, added, strict=True))
        touched += fresh
        self._changed_by_us()
        return touched

    def renamed(self, pairs: Sequence[tuple[Entry, str]]) -> list[str]:
        """The same for messages that only got other letters: entries of before, and their names now."""
        bases, names = [entry.base for entry, _ in pairs], [name for _, name in pairs]
        self.names.difference_update([entry.name for entry, _ in pairs])
        self.names.update(names)
        self.files.update(zip(bases, names, strict=True))
        self._changed_by_us()
        return bases

    def _changed_by_us(self) -> None:
        self._mtime, self._inode = self._stamp()
        if not self._reread:
            self._reread = time.monotonic() + max(TRUST, 10 * self._cost)
        self._settled = False

    def taken(self, names: set[str]) -> set[str]:
        """Those of the names that are there; what is no file goes out of the way."""
        for name in self.others & names:
            self.others.discard(name)
            atomic.set_aside(f"{self.path}/{name}")
        return self.names & names

    def surprised(self, name: str, *, there: bool) -> bool:
        """Whether it is news to us that a name is there, or is not."""
        return name[:1] != "." and (name in self.names) is not there

    def forget(self) -> None:
        """Read again at the next look."""
        self._settled, self._reread = False, 0.0

    def steady(self) -> bool:
        """True when the directory did not change since just before its names were read."""
        return self._stamp()[0] == self._mtime

    def twice(self) -> list[str]:
        """Names that have the base name of another file here."""
        if len(self.files) == len(self.names):
            return []
        return sorted(name for name in self.names if self.files[name.partition(":")[0]] != name)


def doubles(directory: str, new: Listing, cur: Listing) -> list[tuple[str, str]]:
    """Files whose base name another file of the folder has, too: (sub-directory, name)."""
    found = [("new", new.files[base]) for base in new.files.keys() & cur.files.keys()] if new.files else []
    found += [("new", name) for name in new.twice()] + [("cur", name) for name in cur.twice()]
    return [(sub, name) for sub, name in found if not _is_link(directory, sub, name, new, cur)]


def _is_link(directory: str, sub: str, name: str, new: Listing, cur: Listing) -> bool:
    """True when it is the very same file as the one that counts, or gone already."""
    base = name.partition(":")[0]
    try:
        one = os.lstat(f"{directory}/{sub}/{name}")
        known = f"cur/{cur.files[base]}" if base in cur.files else f"new/{new.files[base]}"
        other = os.lstat(f"{directory}/{known}")
    except FileNotFoundError:
        return True
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def part(directory: str, sub: str, name: str) -> None:
    """Give a second message with the same base name one of its own, as Dovecot does."""
    base, colon, info = name.partition(":")
    comma = base.find(",")
    suffix = base[comma:] if comma >= 0 else ""
    with contextlib.suppress(FileNotFoundError):
        os.rename(f"{directory}/{sub}/{name}", f"{directory}/{sub}/{spool.new_id()}{suffix}{colon}{info}")
