"""What was fetched from a mailbox: a file that only grows, with a line for each mail.

    1763794800 000012a45f3c1b22 9f86d081884c7d65 1763790000     when it was fetched, UID, digest, its Date in seconds
    1763794800 000012a45f3c1b99 large                           the account was told that it stays on the server

Lines are appended and synced once for a batch, after its mails are durable in spool/queue and before anything is
deleted on the server. A torn last line (power cut) is cut off: that mail comes once more. A UID with blanks or other
odd characters in it is quoted. By its digest a mail is known again when the server gives it another UID. All that
touches the file blocks.
"""

import contextlib
import io
import os
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from lanmail import atomic

LIMIT = 256 << 20
LARGE = "large"
_SMALL = 1000  # lines; a file is only written anew when it has more, and half of them are of no use


@dataclass(frozen=True, slots=True)
class Seen:
    """A mail that was fetched: its UID, when, what it was, and its Date; "" and 0 where that is not known."""

    uid: str
    at: int = 0
    digest: str = ""
    date: int = 0

    def line(self) -> str:
        return f"{self.at} {clean(self.uid)} {self.digest or '-'} {self.date}\n"


class UidLog:
    """The memory of one mailbox; one process works on it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fetched: dict[str, int] = {}  # UID, as `clean` writes it → when, in seconds
        self.told: set[str] = set()
        self._digests: dict[str, str] = {}  # → UID
        self._dates: dict[str, int] = {}  # UID → Date
        self._whole = 0  # octets of whole lines
        self._read()

    def __contains__(self, uid: str) -> bool:
        return clean(uid) in self.fetched

    def since(self, uid: str) -> int | None:
        """When a mail was fetched, in seconds; None when it was not."""
        return self.fetched.get(clean(uid))

    def date(self, uid: str) -> int:
        """The Date of a mail that was fetched, in seconds; 0 where it is not known."""
        return self._dates.get(clean(uid), 0)

    def uid_of(self, digest: str) -> str | None:
        """The UID (as `clean` writes it) under which a mail of this digest was fetched last."""
        return self._digests.get(digest)

    def was_told(self, uid: str) -> bool:
        """Whether the account knows that this mail is too large."""
        return clean(uid) in self.told

    def add(self, mails: Iterable[Seen]) -> None:
        """Write down what was fetched, durably. OSError."""
        now = int(time.time())
        rows = [Seen(one.uid, one.at or now, one.digest, one.date) for one in mails]
        if rows:
            self._append("".join([one.line() for one in rows]).encode("ascii"))
            self._take(rows)

    def carry(self, found: Iterable[tuple[str, int]]) -> None:
        """Take mails over that were fetched before under other UIDs: (UID, when). OSError."""
        self.add([Seen(uid, at) for uid, at in found if clean(uid) not in self.fetched])

    def tell(self, uids: Iterable[str]) -> None:
        """Write down that the account was told of mails that are too large. OSError."""
        names = [clean(uid) for uid in uids]
        if names:
            self._append("".join(f"{int(time.time())} {name} {LARGE}\n" for name in names).encode("ascii"))
            self.told.update(names)

    def reserve(self, mails: Iterable[Seen]) -> None:
        """Make sure that `add` will find room on the disk. OSError."""
        octets = sum(len(clean(one.uid)) + len(one.digest) + 40 for one in mails)
        with self._open() as file:
            os.posix_fallocate(file.fileno(), self._whole, max(1, octets))  # zeros behind the last line count as torn

    def keep_only(self, present: Iterable[str]) -> None:
        """Forget what the server no longer has, once that is most of a long file. `present` must be its whole list."""
        lines = len(self.fetched) + len(self.told)
        names = {clean(uid) for uid in present}
        if lines > _SMALL and len(names) * 2 < lines:
            self._rewrite(names)

    def clear(self) -> None:
        """Forget all."""
        if self.fetched or self.told:
            self._rewrite(set())

    def _rewrite(self, names: Set[str]) -> None:
        digests = {name: digest for digest, name in self._digests.items()}
        kept = [Seen(unquote(name, errors="surrogateescape"), at, digests.get(name, ""), self._dates.get(name, 0))
                for name, at in self.fetched.items() if name in names]
        told = sorted(self.told & names)
        raw = "".join([one.line() for one in kept] + [f"0 {name} {LARGE}\n" for name in told]).encode("ascii")
        atomic.write(self.path, raw)
        self.fetched, self._digests, self._dates, self.told, self._whole = {}, {}, {}, set(told), len(raw)
        self._take(kept)

    def _take(self, rows: Iterable[Seen]) -> None:
        for one in rows:
            name = clean(one.uid)
            self.fetched[name] = one.at
            if one.digest:
                self._digests[one.digest] = name
            if one.date:
                self._dates[name] = one.date

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
        rows = []
        for line in raw[:self._whole].decode("ascii", "replace").split("\n"):
            words = line.split(" ")
            if words[2:] == [LARGE]:
                self.told.add(words[1])
            elif len(words) in (2, 4) and words[0].isdigit():
                digest, date = words[2:] or ("-", "0")
                rows.append(Seen(unquote(words[1], errors="surrogateescape"), int(words[0]), digest.strip("-"),
                                 int(date) if date.isdigit() else 0))
        self._take(rows)


def clean(uid: str) -> str:
    """A UID as it stands in the file."""
    if uid.isascii() and uid.isprintable() and " " not in uid and "%" not in uid:
        return uid
    return quote(uid, safe="", errors="surrogateescape")
