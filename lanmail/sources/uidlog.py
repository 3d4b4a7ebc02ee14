"""What was fetched from a mailbox: a file that only grows, with a line for each mail.

    1763794800 000012a45f3c1b22           seconds, UID: it was fetched then
    1763794800 000012a45f3c1b99 large     the account was told that this one stays on the server

Lines are appended and synced once for a batch, after its mails are durable in spool/queue and before anything is
deleted on the server. A torn last line (power cut) is cut off: that mail comes once more. A UID with blanks or other
odd characters in it is quoted. All functions block.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterable, Set
from pathlib import Path
from urllib.parse import quote

from lanmail import atomic

LIMIT = 256 << 20
FETCHED, LARGE = "", "large"
_SMALL = 1000  # lines; a file is only written anew when it has more, and half of them are of no use


class UidLog:
    """The memory of one mailbox; one process works on it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fetched: dict[str, int] = {}  # UID → when
        self.told: set[str] = set()
        self._whole = 0  # octets of whole lines
        self._read()

    def __contains__(self, uid: str) -> bool:
        return clean(uid) in self.fetched

    def since(self, uid: str) -> int | None:
        """When a mail was fetched, in seconds; None when it was not."""
        return self.fetched.get(clean(uid))

    def was_told(self, uid: str) -> bool:
        """Whether the account knows that this mail is too large."""
        return clean(uid) in self.told

    def add(self, uids: Iterable[str], mark: str = FETCHED) -> None:
        """Write down, durably. OSError."""
        now = int(time.time())
        names = [clean(uid) for uid in uids]
        if not names:
            return
        self._append("".join(f"{now} {name}{' ' + mark if mark else ''}\n" for name in names).encode("ascii"))
        if mark == LARGE:
            self.told.update(names)
        else:
            self.fetched.update(dict.fromkeys(names, now))

    def carry(self, found: Iterable[tuple[str, int]]) -> None:
        """Take mails over that were fetched before under other UIDs: (UID, when). OSError."""
        fresh = {name: at for uid, at in found if (name := clean(uid)) not in self.fetched}
        if fresh:
            self._append("".join(f"{at} {name}\n" for name, at in fresh.items()).encode("ascii"))
            self.fetched.update(fresh)

    def reserve(self, uids: Iterable[str]) -> None:
        """Make sure that `add` will find room on the disk. OSError."""
        octets = sum(len(clean(uid)) + 32 for uid in uids)
        with self._open() as file:
            os.posix_fallocate(file.fileno(), self._whole, max(1, octets))  # zeros behind the last line count as torn

    def keep_only(self, present: Set[str]) -> None:
        """Forget what the server no longer has, once that is most of the file. `present` must be its whole list."""
        lines = len(self.fetched) + len(self.told)
        names = {clean(uid) for uid in present}
        if lines <= _SMALL or len(names) * 2 > lines:
            return
        self.fetched = {name: at for name, at in self.fetched.items() if name in names}
        self.told &= names
        rows = [f"{at} {name}\n" for name, at in self.fetched.items()] + [f"0 {name} large\n" for name in self.told]
        raw = "".join(rows).encode("ascii")
        atomic.write(self.path, raw)
        self._whole = len(raw)

    def _append(self, raw: bytes) -> None:
        with self._open() as file:
            os.ftruncate(file.fileno(), self._whole)  # what is behind is a torn line, or room that was reserved
            os.lseek(file.fileno(), self._whole, os.SEEK_SET)
            atomic.write_all(file.fileno(), raw)
            os.fsync(file.fileno())
        if not self._whole:
            for directory in (self.path.parent, *self.path.parents[1:4]):
                atomic.sync_dir(directory)
        self._whole += len(raw)

    def _open(self) -> io.FileIO:
        if not self._whole:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return io.FileIO(os.open(self.path, os.O_WRONLY | os.O_CREAT | atomic.SAFE, 0o640), "w")

    def _read(self) -> None:
        raw = b""
        with contextlib.suppress(FileNotFoundError):
            raw = atomic.read(self.path, LIMIT)
        self._whole = raw.rfind(b"\n") + 1
        for line in raw[:self._whole].decode("ascii", "replace").split("\n"):
            words = line.split(" ")
            if len(words) >= 2 and words[0].isdigit():
                if words[2:] == [LARGE]:
                    self.told.add(words[1])
                else:
                    self.fetched[words[1]] = int(words[0])


def clean(uid: str) -> str:
    """A UID as it stands in the file."""
    if uid.isascii() and uid.isprintable() and " " not in uid and "%" not in uid:
        return uid
    return quote(uid, safe="", errors="surrogateescape")
