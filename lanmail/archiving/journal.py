"""The journal of the archive, archive/journal.jsonl: append-only lines of JSON, each with the hash of the one before.

Every line is one JSON object and LF. The first keys are the same in all of them:

    seq    1, 2, 3 …
    prev   SHA-256 (hex) of the line before, without its LF; 64 zeros in the first line
    kind   begin, mail, purged, hold, torn, broken
    time   when the line was written, "2026-11-22T08:15:01.123Z"; always UTC

    begin   the first line: version (1), archive (a random name, so that two archives never look the same)
    mail    a message came into the store:
            id          of the mail, the one in every log line
            form        "accepted": as it came in; "sent": as it went out, where relay had to change it (same id)
            file        below archive/, "2026-11/cur/NAME"
            sha256      of the whole file; size: its octets
            arrived     when the mail came in, like time
            direction   in, out, both
            submitter   the archived account that handed it in with a log-in, or ""
            receivers   the archived accounts that it reached, sorted
            how         how it came in: mx, submission, lan, lmtp, pickup, fetch, local
            sender      of the envelope, "" is the null sender
            recipients  of the envelope, all of them, in their order, blind copies too
            message_id  "<…>" as the header says, or ""
    purged  a message left the store, and its mail line stays: of (its seq), id, form, file, sha256; why ("retention" or
            "erased"), reason (a sentence), by (who)
    hold    a legal hold was set or ended: hold (its name), action ("add" or "remove"), accounts (names), ids (of
            mails), query (as it was searched for, or ""), reason, by
    torn    what a power cut left half written was never promised and does not count: from (offset), octets, sha256
    broken  the journal did not end as it had ended before (expected: seq and hash; found: the same): somebody cut it
            off or put another in its place. archived goes on, but `verify` says so for ever

Unknown keys and kinds are to be left alone by readers. What was done to a message is always a line of its own: no line
is ever changed, and so the hash of the last one stands for all before it.

`scan` reads it, from the start or from where somebody stopped (`Place`), and checks the chain on the way. `Journal`
writes it. Several processes may append (archived, `lanmail archive`): each holds a lock on the file for as long.
"""

import contextlib
import errno
import fcntl
import getpass
import hashlib
import json
import mmap
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lanmail import atomic
from lanmail.paths import Paths

NAME = "journal.jsonl"
VERSION = 1
ZERO = "0" * 64
LONGEST = 32 << 20  # octets of a line; one with 10,000 recipients has less than 3 MB

BEGIN, MAIL, PURGED, HOLD, TORN, BROKEN = "begin", "mail", "purged", "hold", "torn", "broken"


@dataclass(frozen=True, slots=True)
class Place:
    """Between two lines: the number and hash of the one before, and the offset of the next."""

    seq: int = 0
    hash: str = ZERO
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is part of the chain; `place` is behind it."""

    seq: int
    kind: str
    data: dict[str, Any]
    offset: int
    place: Place


@dataclass(frozen=True, slots=True)
class Damage:
    """Something is wrong with the chain at `offset`. `torn`: it was explained by a later line and does no harm."""

    offset: int
    text: str
    torn: bool = False


def path(where: Paths) -> Path:
    """Where the journal lies."""
    return where.archive / NAME


def stamp(moment: float) -> str:
    """Seconds since 1970 as lines have them."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def moment(text: str) -> float:
    """Seconds since 1970 of a time in a line. ValueError."""
    return datetime.fromisoformat(text).timestamp()


def scan(file: Path, after: Place | None = None) -> Iterator[Line | Damage]:
    """The lines behind `after` (None: all), and what is wrong with the chain. FileNotFoundError, OSError.

    A line that is only half written yet is not there. After damage it goes on with the next line that can be read.
    """
    at = after or Place()
    descriptor = atomic.open_regular(file)
    with open(descriptor, "rb", buffering=1 << 20) as stream:
        voids = _voids(stream.fileno(), at.offset)
        stream.seek(at.offset)
        while raw := stream.readline(LONGEST):
            if not raw.endswith(b"\n"):
                return
            offset = at.offset
            if (octets := voids.get(offset)) is not None and _explains(stream.fileno(), at, octets):
                yield Damage(offset, f"{octets} octets, half written before a power cut, do not count", torn=True)
                at = Place(at.seq, at.hash, offset + octets)
                stream.seek(at.offset)
                continue
            found = parse(raw)
            if found is None:
                yield Damage(offset, f"the line behind number {at.seq} cannot be read: it was changed or added")
                at = Place(at.seq, at.hash, offset + len(raw))
                continue
            seq, prev = found["seq"], found["prev"]
            if seq != at.seq + 1 or prev != at.hash:
                yield Damage(offset, _what(at, seq))
            at = Place(seq, _hash(raw), offset + len(raw))
            yield Line(seq, found["kind"], found, offset, at)


def lines(file: Path, after: Place | None = None) -> Iterator[Line]:
    """The same without what is wrong; nothing when there is no journal yet."""
    with contextlib.suppress(FileNotFoundError):
        yield from (one for one in scan(file, after) if isinstance(one, Line))


def parse(raw: bytes) -> dict[str, Any] | None:
    """What a line says; None when it is none of ours."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(found.get("seq")) is not int:
        return None
    return found if all(isinstance(found.get(key), str) for key in ("prev", "kind", "time")) else None


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw.rstrip(b"\n")).hexdigest()


def _what(at: Place, seq: int) -> str:
    """What is wrong when line `seq` does not follow."""
    if seq == at.seq + 1:
        return f"line {at.seq} was changed, or line {seq}: their hashes do not match" if at.seq else \
            "line 1 does not begin the chain"
    if seq > at.seq + 1:
        gone = str(at.seq + 1) if seq == at.seq + 2 else f"{at.seq + 1} to {seq - 1}"
        return f"line {gone} is missing: {seq} follows {at.seq}"
    return f"line {seq} follows {at.seq}: it was moved or added"


def _voids(descriptor: int, start: int) -> dict[int, int]:
    """Where torn lines say that something half written begins, and how long it is."""
    found: dict[int, int] = {}
    if os.fstat(descriptor).st_size <= start:
        return found
    mark = f'"kind":"{TORN}"'.encode()
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as memory:
        where = memory.find(mark, start)
        while where >= 0:
            begin = memory.rfind(b"\n", 0, where) + 1
            end = memory.find(b"\n", where)
            line = parse(memory[begin : end + 1]) if 0 <= end - begin < LONGEST else None
            if line and isinstance(line.get("from"), int) and line.get("octets") == begin - line["from"] > 0:
                found[line["from"]] = line["octets"]
            where = memory.find(mark, where + 1)
    return found


def _explains(descriptor: int, at: Place, octets: int) -> bool:
    """Whether the torn line behind the next `octets` follows `at` and means exactly them."""
    void = os.pread(descriptor, octets, at.offset)
    raw = os.pread(descriptor, 4096, at.offset + octets).partition(b"\n")[0]
    line = parse(raw)
    return (line is not None and line["kind"] == TORN and line["seq"] == at.seq + 1 and line["prev"] == at.hash
            and line.get("sha256") == hashlib.sha256(void).hexdigest())


# the end of it


def load_head(where: Paths) -> Place | None:
    """Where the journal ended when we last wrote to it; None when nobody knows."""
    try:
        found = json.loads(atomic.read(where.state / "archive" / "head.json"))
        return Place(int(found["seq"]), str(found["hash"]), int(found["offset"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _save_head(where: Paths, at: Place) -> None:
    """It may lag behind after a power cut; it is never ahead."""
    directory = where.state / "archive"
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    text = json.dumps({"seq": at.seq, "hash": at.hash, "offset": at.offset, "time": stamp(time.time())})
    atomic.write(directory / "head.json", text + "\n", durable=False)


def ends_at(descriptor: int, known: Place) -> bool:
    """Whether the line of the open journal that ends there still is that one. OSError."""
    for most in (1 << 16, LONGEST):
        window = min(known.offset, most)
        raw = os.pread(descriptor, window, known.offset - window)
        if len(raw) == window and raw.endswith(b"\n") and _hash(raw[raw.rfind(b"\n", 0, -1) + 1 :]) == known.hash:
            return True
    return not known.seq


def who() -> str:
    """Who does something by hand, for `by`: the log-in name, behind sudo, too."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class Journal:
    """The journal, open to be appended to."""

    def __init__(self, where: Paths) -> None:
        self._where = where
        self.path = path(where)
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._fd = self._open()
        self._at: Place | None = None  # None: nobody looked yet
        self.broken = ""  # what was found wrong with the end, a sentence

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | atomic.SAFE, 0o640)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise atomic.NotRegular(errno.EINVAL, "not a regular file", str(self.path))
        return descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else appends meanwhile; to the file that has the name now, should somebody have replaced it."""
        while True:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), os.lstat(self.path)):
                    break
            opened = self._open()
            os.close(self._fd)
            self._fd = opened
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def append(self, bodies: Sequence[dict[str, Any]], now: float | None = None) -> list[Line]:
        """Add lines, durably; each body has a `kind` and what belongs to it. OSError: then none of them counts."""
        with self._locked():
            moment = time.time() if now is None else now
            self._look(moment)
            return self._append(bodies, moment)

    def place(self) -> Place:
        """Where it ends, after what was half written was dealt with. OSError."""
        with self._locked():
            return self._look(time.time())

    def _append(self, bodies: Sequence[dict[str, Any]], now: float) -> list[Line]:
        assert self._at is not None
        at = self._at
        made, block = [], []
        for body in bodies:
            data = {"seq": at.seq + 1, "prev": at.hash, "kind": body["kind"], "time": stamp(now), **body}
            raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
            offset, at = at.offset, Place(at.seq + 1, _hash(raw), at.offset + len(raw))
            made.append(Line(at.seq, body["kind"], data, offset, at))
            block.append(raw)
        self._write(b"".join(block))
        self._at = at
        with contextlib.suppress(OSError):  # the lines are safe; a head that lags behind is caught up with
            _save_head(self._where, at)
        return made

    def _write(self, data: bytes) -> None:
        """Durably; on an error nothing of it is left, if the file may become shorter."""
        start, known, self._at = os.fstat(self._fd).st_size, self._at, None
        try:
            atomic.write_all(self._fd, data)
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):  # where it may only grow (chattr +a), a torn line will tell
                os.ftruncate(self._fd, start)
                self._at = known
            raise

    def _look(self, now: float) -> Place:
        """Catch up with what others appended, and with what a crash left; we hold the lock."""
        size = os.fstat(self._fd).st_size
        if self._at is not None and self._at.offset == size:
            return self._at
        known = self._at or load_head(self._where)
        cut = known is not None and not ends_at(self._fd, known)
        if size:
            self._at = self._last(None if cut else known, size, now)
        else:
            atomic.sync_dir(self.path.parent)
            self._at = Place()
            self._append([{"kind": BEGIN, "version": VERSION, "archive": os.urandom(16).hex()}], now)
        if cut and known is not None:
            self.broken = f"{self.path} does not hold line {known.seq} any more, with which it ended before"
            found = {"seq": self._at.seq, "hash": self._at.hash}
            self._append([{"kind": BROKEN, "expected": {"seq": known.seq, "hash": known.hash}, "found": found}], now)
        return self._at

    def _last(self, known: Place | None, size: int, now: float) -> Place:
        """The end of the chain behind `known`; what lies behind it is marked as torn."""
        at = known or Place()
        for one in scan(self.path, at):
            if isinstance(one, Line):
                at = one.place
            elif known is not None and not one.torn:
                break  # behind a place that we know everything is chained, or was never promised
        return at if at.offset == size else self._torn(at, size, now)

    def _torn(self, at: Place, size: int, now: float) -> Place:
        """Say that what lies behind `at` does not count."""
        void = os.pread(self._fd, size - at.offset, at.offset)
        if not void.endswith(b"\n"):
            void += b"\n"
            self._write(b"\n")
        body = {"seq": at.seq + 1, "prev": at.hash, "kind": TORN, "time": stamp(now), "from": at.offset,
                "octets": len(void), "sha256": hashlib.sha256(void).hexdigest()}
        raw = json.dumps(body, separators=(",", ":")).encode() + b"\n"
        self._write(raw)
        return Place(at.seq + 1, _hash(raw), at.offset + len(void) + len(raw))
