"""What stands in one directory (new/ or cur/), read again only when it can have changed.

    Listing(path)
    .look() -> base names something happened to since the last look; one stat when nothing did
    .same() -> bool      nothing can have changed;   .steady() -> bool      nothing changed while the names were read
    .names, .files       all names, and base name → name;   .twice() -> names whose base name another file has
    .forget()            read again at the next look, whatever the mtime says

The mtime is taken before the names are read, and it is not trusted while another change within the same tick of the
clock could leave it as it is.
"""

import os
import time
from collections.abc import Iterable

from lanmail import maildir


class Listing:
    """The names in one directory, and the mtime from before they were read."""

    __slots__ = ("_inode", "_mtime", "_settled", "files", "names", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: set[str] = set()
        self.files: dict[str, str] = {}
        self._mtime = self._inode = 0
        self._settled = False

    def same(self) -> bool:
        """True when nothing can have changed since the names were read."""
        if not self._settled:
            return False
        status = os.lstat(self.path)
        return status.st_mtime_ns == self._mtime and status.st_ino == self._inode

    def look(self) -> Iterable[str]:
        """Read the names when the directory changed; returns the base names something happened to."""
        if self.same():
            return ()
        status = os.lstat(self.path)
        names = maildir.list_names(self.path)
        self._mtime, self._inode = status.st_mtime_ns, status.st_ino
        # Another change within the clock's grain (a jiffy; on old file systems a second) would not change the mtime.
        grain = 1_100_000_000 if self._mtime % 1_000_000_000 == 0 else 30_000_000
        self._settled = abs(time.time_ns() - self._mtime) > grain
        return self._take(names)

    def _take(self, names: set[str]) -> Iterable[str]:
        if not self.names:
            self.names, self.files = names, {name.partition(":")[0]: name for name in names}
            return self.files
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

    def forget(self) -> None:
        """Read again at the next look."""
        self._settled = False

    def steady(self) -> bool:
        """True when the directory did not change since just before its names were read."""
        return os.lstat(self.path).st_mtime_ns == self._mtime

    def twice(self) -> list[str]:
        """Names that have the base name of another file here."""
        if len(self.files) == len(self.names):
            return []
        return sorted(name for name in self.names if self.files[name.partition(":")[0]] != name)
