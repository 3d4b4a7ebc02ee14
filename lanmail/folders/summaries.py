"""What IMAP tells about a message without opening it: one file per folder, `lanmail-cache`, that anybody may delete.

    Cache(path)                             of the folder whose directory that is; costs nothing until it is used
    Cache.news() -> int                     octets added to the file that were not looked at yet; 0: none, or no file
    Cache.follow() -> None                  look at them; blocks (0.1 s for 100,000 messages, next to nothing for a few)
    Cache.reading() -> context manager of Reader: .get(base) -> Record | None, .each(bases), .have(bases, …) for SEARCH
    Cache.write(records) -> None            keep them; blocks, but does not look at what others kept
    Cache.is_wasteful(count), .holds_others(bases), .compact(bases)     write it anew with what these need; blocks
    exists(path) -> bool                    whether anybody ever used the cache of this folder
    latest(path) -> bytes                   the records written last, to see whether one is among them
    make(base, date, …) -> Record           what mime/summary.py finds out; .renamed(base) for a copy of the message

The key is the base name of the message's file, which Maildir never gives to another message. The file is written by
any number of processes: records are added by one write(2) with O_APPEND, the last one of a name counts; who replaces
the file renames a new one over it; what is added to the old one meanwhile is lost, and made again from the message.
Nothing here raises OSError: a cache that cannot be used is none.

A record is not trusted further than its checksum, which starts from a secret of the file: text from a mail that looks
like a record is none. What is torn or damaged is skipped. The file is read with pread(2), not mapped, because a mapped
file that somebody cuts short kills its readers.
"""

import contextlib
import os
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate

from lanmail import atomic

NAME = "lanmail-cache"
MAX_RECORD = 1 << 15  # what would take more is read from the message each time
MAX_FILE = 1 << 31
_VERSION = b"lanmail-cache 1\n"  # the number changes when values would be written differently
_HEAD = len(_VERSION) + 8  # then the mark before each record, and what checksums start from; both random
# mark, checksum of all behind it, INTERNALDATE, which parts there are, where each of them ends
_FIXED = struct.Struct("<4sIqI7I")
_FIRST = _FIXED.size
_BEGINNING = struct.Struct("<4sIqI3I")  # of it, what a look at the texts needs
_LAST = 10  # the place of the last end in what is unpacked
HEADER, SUMMARY, TEXTS, NEVER = 1, 2, 4, 8  # bits of `Record.has`; the last one is in none
_SLICE = 1 << 20
_WINDOW = 1 << 17
_LATEST = 1 << 18
_BATCH = 500
_WASTE = 1 << 20
_crc = zlib.crc32


class Record:
    """What is kept of one message; parts are cut out as they are asked for.

    `header` has the fields that clients ask for by name, with CRLF line ends; None: look into the message. `envelope`,
    `body` (BODY) and `structure` (BODYSTRUCTURE) are ready for the wire; None: only the header was read so far.
    `text` is folded for SEARCH, a line for each form of each value; None: too long to be kept. `has` tells which there
    are.
    """

    __slots__ = ("_ends", "_raw", "date", "has")

    def __init__(self, raw: bytes, date: int, has: int, ends: Sequence[int]) -> None:
        self._raw, self.date, self.has, self._ends = raw, date, has, ends

    def text(self, number: int) -> bytes | None:
        """What is searched in Subject (0) or From (1)."""
        return self._raw[self._ends[number] : self._ends[number + 1]] if self.has & TEXTS else None

    @property
    def envelope(self) -> bytes | None:
        return self._raw[self._ends[2] : self._ends[3]] if self.has & SUMMARY else None

    @property
    def body(self) -> bytes | None:
        return self._raw[self._ends[3] : self._ends[4]] if self.has & SUMMARY else None

    @property
    def structure(self) -> bytes | None:
        return self._raw[self._ends[4] : self._ends[5]] if self.has & SUMMARY else None

    @property
    def header(self) -> bytes | None:
        return self._raw[self._ends[5] :] if self.has & HEADER else None

    @staticmethod
    def parts(records: Iterable["Record | None"], number: int) -> list[bytes | None]:
        """ENVELOPE (2), BODY (3) or BODYSTRUCTURE (4) of each, as the properties have them."""
        return [None if one is None or not one.has & SUMMARY else one._raw[one._ends[number] : one._ends[number + 1]]
                for one in records]

    def renamed(self, base: str) -> "Record":
        """The same for a copy of the message."""
        return _joined(os.fsencode(base), self.date, self.has, [
            self._raw[start:end] for start, end in zip(self._ends, self._ends[1:], strict=False)])

    def sealed(self, of: "_File") -> bytes:
        """As it stands in a file."""
        rest = self._raw[8:]
        return of.mark + zlib.crc32(rest, of.seed).to_bytes(4, "little") + rest

    def __len__(self) -> int:
        return len(self._raw)


def make(
    base: str, date: int, *, header: bytes | None = None, summary: tuple[bytes, bytes, bytes] | None = None,
    texts: tuple[bytes, bytes] | None = None,
) -> Record:
    """A record. `summary`: ENVELOPE, BODY, BODYSTRUCTURE; `texts`: of Subject and From."""
    has = HEADER * (header is not None) | SUMMARY * (summary is not None) | TEXTS * (texts is not None)
    empty = b""
    parts = [*(texts or (empty,) * 2), *(summary or (empty,) * 3), header or empty]
    return _joined(os.fsencode(base), date, has, parts)


def _joined(base: bytes, date: int, has: int, parts: list[bytes]) -> Record:
    ends = list(accumulate(map(len, parts), initial=_FIXED.size + len(base)))
    return Record(_FIXED.pack(b"", 0, date, has, *ends) + base + b"".join(parts), date, has, ends)


class _File:
    """One file, until another takes its place: where in it the records are, as far as it was looked at."""

    def __init__(self, inode: int, secret: bytes) -> None:
        self.inode, self.secret, self.mark = inode, secret, secret[:4]
        self.seed = int.from_bytes(secret[4:], "little")
        self.places: dict[str, int] = {}  # base name → offset and length, in one number because there are many
        self.looked = _HEAD
        self.live = 0  # octets of the records that count

    def look(self, descriptor: int, size: int) -> None:
        """Find the records up to that size."""
        data, at = b"", self.looked
        while at < size and (more := os.pread(descriptor, _SLICE, at)):
            at += len(more)
            data += more
            data = data[self._take(data, at - len(data), last=at >= size) :]
        self.looked = at - len(data)

    def _take(self, data: bytes, offset: int, *, last: bool) -> int:
        """Note the records in `data`, which starts at `offset`; returns how much of it is dealt with."""
        mark, places, unpack, fixed = self.mark, self.places, _FIXED.unpack_from, _FIXED.size
        at, size = 0, len(data)
        while at + fixed <= size:
            found = unpack(data, at)
            length = found[_LAST]
            end = at + length
            if found[0] == mark and fixed < length <= MAX_RECORD:
                if end + len(mark) > size and not (last and end == size):
                    break  # the rest is still to come
                if end == size or data.startswith(mark, end):
                    base = data[at + fixed : at + found[4]].decode("utf-8", "surrogateescape")
                    self.live += length - (places.get(base, 0) & 0xFFFF)
                    places[base] = (offset + at) << 16 | length
                    at = end
                    continue
            following = data.find(mark, at + 1)  # torn, or not ours: go on where the next one starts
            at = following if following >= 0 else size - len(mark) + 1
        return at


class Reader:
    """Records of one file, mostly read in the order in which they were written."""

    def __init__(self, of: _File | None, descriptor: int) -> None:
        self._places, self._seed = (of.places, of.seed) if of else ({}, 0)
        self._descriptor = descriptor
        self._start, self._window = 0, b""

    def get(self, base: str) -> Record | None:
        """What is kept of a message; None when there is nothing, or nothing sound."""
        return next(self.each((base,)))

    def each(self, bases: Iterable[str]) -> Iterator[Record | None]:
        """The same of many messages, one after the other."""
        places, seed, unpack, first, checksum = self._places.get, self._seed, _FIXED.unpack_from, _FIRST, _crc
        for base in bases:
            place = places(base)
            if place is None:
                yield None
                continue
            size = place & 0xFFFF
            start = (place >> 16) - self._start
            if start < 0 or start + size > len(self._window):
                self._move(place >> 16, size)
                start = 0
            raw = self._window[start : start + size]
            if len(raw) < size:
                yield None
                continue
            found = unpack(raw)
            sound = (checksum(raw[8:], seed) == found[1]
                     and raw[first : found[4]] == base.encode("utf-8", "surrogateescape"))
            yield Record(raw, found[2], found[3], found[4:]) if sound else None

    def __len__(self) -> int:
        """Of how many messages there is a record, not all of which need be there any more."""
        return len(self._places)

    def only(self, bases: Iterable[str]) -> bool:
        """Whether there is no record of any other message."""
        return self._places.keys() <= set(bases)

    def __contains__(self, base: str) -> bool:
        return base in self._places

    def have(self, bases: Iterable[str], number: int, text: bytes) -> list[bool | None]:
        """Of each message, whether `Record.text(number)` has this text; None: not kept. As `get`, for many at once."""
        places, seed, unpack, first, checksum = self._places.get, self._seed, _BEGINNING.unpack_from, _FIRST, _crc
        found: list[bool | None] = []
        for base in bases:
            place = places(base)
            if place is None:
                found.append(None)
                continue
            size = place & 0xFFFF
            start = (place >> 16) - self._start
            if start < 0 or start + size > len(self._window):
                self._move(place >> 16, size)
                start = 0
            window, end = self._window, start + size
            if end > len(window):
                found.append(None)
                continue
            _, sum_, _, has, *ends = unpack(window, start)
            sound = (has & TEXTS and checksum(window[start + 8 : end], seed) == sum_
                     and window[start + first : start + ends[0]] == base.encode("utf-8", "surrogateescape"))
            found.append(window.find(text, start + ends[number], start + ends[number + 1]) >= 0 if sound else None)
        return found

    def _move(self, to: int, size: int) -> None:
        """Read the file from there on; much of it only for who goes forwards."""
        forwards = 0 <= to - self._start <= len(self._window) + _WINDOW
        self._start = to
        try:
            self._window = os.pread(self._descriptor, _WINDOW if forwards else size, to)
        except OSError:
            self._window = b""

    def in_order(self, bases: Iterable[str]) -> list[str]:
        """These names as their records stand in the file, without those that have none."""
        places = self._places
        return sorted([base for base in bases if base in places], key=places.__getitem__)


class Cache:
    """What is kept of the messages of one folder; any thread may use it."""

    def __init__(self, path: str) -> None:
        self.path = f"{path}/{NAME}"
        self._tmp = os.path.join(path, "tmp")
        self._file: _File | None = None
        self._guard = threading.Lock()

    def news(self) -> int:
        """How many octets were added to the file since the last look."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return 0
        known = self._file
        return max(0, status.st_size - (known.looked if known and known.inode == status.st_ino else _HEAD))

    def follow(self) -> None:
        """Look at what was added to the file."""
        with self.reading():
            pass

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """A reader of the file as it is now."""
        descriptor = -1
        try:
            with contextlib.suppress(OSError):
                descriptor = atomic.open_regular(self.path)
            yield Reader(self._known(descriptor) if descriptor >= 0 else None, descriptor)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def write(self, records: Sequence[Record]) -> None:
        """Keep records, but for those that are too long. A full file system costs the cache and nothing else."""
        fitting = [record for record in records if len(record) <= MAX_RECORD]
        if not fitting:
            return
        with contextlib.suppress(OSError):
            descriptor, of = self._open_to_write()
            try:
                if os.fstat(descriptor).st_size < MAX_FILE:
                    for start in range(0, len(fitting), _BATCH):
                        os.write(descriptor, b"".join([one.sealed(of) for one in fitting[start : start + _BATCH]]))
            finally:
                os.close(descriptor)

    def is_wasteful(self, messages: int) -> bool:
        """Whether `compact` would be worth while, as far as that can be told from the number of messages."""
        of = self._file
        return of is not None and of.looked > _WASTE and (
            of.live * 2 < of.looked or len(of.places) > 2 * messages)

    def holds_others(self, bases: Iterable[str]) -> bool:
        """Whether there are records of other messages than these; blocks like `follow`."""
        with self.reading() as reader:
            return not reader.only(bases)

    def compact(self, bases: Collection[str]) -> None:
        """Write the file anew with the records of these messages and no others."""
        with contextlib.suppress(OSError), self.reading() as reader:
            self._put_in_place([record for base in reader.in_order(bases) if (record := reader.get(base))], os.rename)

    def _open_to_write(self) -> tuple[int, _File]:
        """A descriptor on a file that is a cache; whatever else is there is replaced by one."""
        for _ in range(3):
            try:
                descriptor = atomic.open_regular(self.path, flags=os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                self._put_in_place([], os.link)  # and not rename: another process may be first
                continue
            except atomic.NotRegular:
                atomic.set_aside(self.path)
                continue
            of = _head(descriptor) if os.fstat(descriptor).st_nlink == 1 else None
            if of is not None:
                return descriptor, of
            os.close(descriptor)
            self._put_in_place([], os.rename)
        raise OSError(f"{self.path} cannot be written")

    def _known(self, descriptor: int) -> _File | None:
        """The file behind this descriptor, looked at to its end; None when it is no cache."""
        with contextlib.suppress(OSError), self._guard:
            found, size = _head(descriptor), os.fstat(descriptor).st_size
            if found is None:
                return None
            known = self._file
            if known is None or known.inode != found.inode or known.secret != found.secret or known.looked > size:
                known = self._file = found
            if size > known.looked:
                known.look(descriptor, size)
            return known
        return None

    def _put_in_place(self, records: list[Record], put: Callable[[str, str], None]) -> None:
        """Make a new file and rename or link it to where it belongs."""
        fresh = _File(0, os.urandom(8))
        temporary = f"{self._tmp}/{NAME}.{os.getpid()}.{os.urandom(4).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)
        try:
            try:
                atomic.write_all(descriptor, _VERSION + fresh.secret + b"".join([one.sealed(fresh) for one in records]))
            finally:
                os.close(descriptor)
            with contextlib.suppress(FileExistsError):
                put(temporary, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _head(descriptor: int) -> _File | None:
    """The file behind this descriptor, not looked at yet; None when it is no cache. OSError."""
    head = os.pread(descriptor, _HEAD, 0)
    if len(head) < _HEAD or not head.startswith(_VERSION):
        return None
    return _File(os.fstat(descriptor).st_ino, head[len(_VERSION) :])


def latest(path: str) -> bytes:
    """The end of the file, where the records written last have the base names of their messages."""
    with contextlib.suppress(OSError):
        descriptor = atomic.open_regular(f"{path}/{NAME}")
        try:
            return os.pread(descriptor, _LATEST, max(0, os.fstat(descriptor).st_size - _LATEST))
        finally:
            os.close(descriptor)
    return b""


def exists(path: str) -> bool:
    """Whether the folder at that path has a cache."""
    return os.path.exists(f"{path}/{NAME}")
