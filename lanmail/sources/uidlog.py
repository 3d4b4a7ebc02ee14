"""What was fetched from a mailbox: a file that only grows, with a line for each mail.

    1763794800 000012a45f3c1b22 9f86d081884c7d65 1763790000     when it was fetched, UID, digest, its Date in seconds
    1763794800 000012a45f3c1b99 large                           the account was told that it stays on the server

Lines are appended and synced once for a batch, after its mails are durable in spool/queue and before anything is
deleted on the server. A torn last line (power cut) is cut off: that mail comes once more. A UID with blanks or other
odd characters in it is quoted. By its digest a mail is known again when the server gives it another UID. All that
touches the file blocks.

    BOX.pending       the same lines with the id of the entry behind them, and `end`

It is written before the mails of a batch are renamed into the queue. Who finds it after a kill looks whether an entry
still lies in tmp/: then its mail comes once more; else it is in the queue, or was, and is written down now.
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
SURE = 30 * 3600  # seconds for which nobody removes what was abandoned in tmp/ (spool.STALE_TMP is longer)
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
        self._pending = path.with_suffix(".pending")
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

    # a batch on its way into the queue

    def promise(self, mails: Iterable[tuple[Seen, str]]) -> None:
        """Write down, durably, what is about to be renamed: mails and the ids of their entries. OSError."""
        now = int(time.time())
        rows = [Seen(one.uid, now, one.digest, one.date).line().rstrip("\n") + f" {entry}\n" for one, entry in mails]
        self._make_directory()
        with _opened(self._pending) as file:
            os.ftruncate(file.fileno(), 0)
            atomic.write_all(file.fileno(), "".join([*rows, "end\n"]).encode("ascii"))
            os.fsync(file.fileno())

    def settle(self) -> None:
        """What was promised is written down, or will not come. OSError."""
        self._pending.unlink(missing_ok=True)

    def recover(self, tmp: int) -> None:
        """After a kill: what became of the last promise. `tmp` is a descriptor of the queue's tmp/. OSError."""
        try:
            lines = atomic.read(self._pending).decode("ascii", "replace").split("\n")
        except FileNotFoundError:
            return
        done, left = [], []
        for words in (line.split(" ") for line in lines if lines[-2:] == ["end", ""]):
            seen = _row(words[:4]) if len(words) == 5 else None
            if seen is None or clean(seen.uid) in self.fetched:
                continue
            if _exists(words[4], tmp):
                left.append(words[4])
            elif 0 <= time.time() - seen.at <= SURE:
                done.append(seen)
        self.add(done)
        self.settle()
        atomic.sync_dir(self.path.parent)
        for entry in left:  # only now, for without the promise nobody looks for them any more
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry, dir_fd=tmp)

    # what is no longer needed

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
        self._make_directory()
        with _opened(self.path) as file:
            os.ftruncate(file.fileno(), self._whole)  # what is behind is a torn line
            os.lseek(file.fileno(), self._whole, os.SEEK_SET)
            atomic.write_all(file.fileno(), raw)
            os.fsync(file.fileno())
        if not self._whole:
            for directory in (self.path.parent, *self.path.parents[1:4]):
                atomic.sync_dir(directory)
        self._whole += len(raw)

    def _make_directory(self) -> None:
        if not self._whole:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)

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
            elif (seen := _row(words)) is not None:
                rows.append(seen)
        self._take(rows)


def _row(words: list[str]) -> Seen | None:
    if len(words) not in (2, 4) or not words[0].isdigit():
        return None
    digest, date = words[2:] or ("-", "0")
    return Seen(unquote(words[1], errors="surrogateescape"), int(words[0]), digest.strip("-"),
                int(date) if date.isdigit() else 0)


def _opened(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | atomic.SAFE, 0o640), "w")


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def clean(uid: str) -> str:
    """A UID as it stands in the file."""
    if uid.isascii() and uid.isprintable() and " " not in uid and "%" not in uid:
        return uid
    return quote(uid, safe="", errors="surrogateescape")
