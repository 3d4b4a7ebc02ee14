"""Mod-sequences of a folder (RFC 7162): `lanmail-modseqs`, a log of which message has which flags since when.

    Log(directory)                      reads nothing yet
    .same() -> bool                     nothing was appended since the last look; one stat
    .catch_up(uidvalidity) -> None      takes in what was appended; `usable` is False when the log must be made anew
    .said, .gone                        what was taken in: key → mod-sequence, UIDs that went
    .said_gone(uid) -> bool             the log says that this message went
    .settled()                          all that was taken in has been used
    .append(keys, gone) -> int          one new mod-sequence for these messages; the folder's dotlock must be held
    .replace(uidvalidity, keys, modseqs) -> None      the whole log anew, with all that live; under the dotlock, too
    .claim(uid), .claimed               up to which UID sessions were told of messages first, which makes them \\Recent
    .highest                            the last mod-sequence given
    .remembers(modseq) -> bool          False: take it for 0
    .expunged_since(modseq) -> list of UIDs | None    None: that is longer ago than the log remembers
    key(uid, name) -> int               UID and flag letters of a file name in one number; keys(entries) for many

A record is 16 octets: UID, a bit for each flag letter (D F P R S T a-z), the mod-sequence with a bit for "expunged".
The Maildir stays the truth: a file whose letters differ from its last record was changed by somebody who does not
write here, at a time we learn by looking, and gets a new mod-sequence from whoever looks first.

Nothing is flushed. Every number is larger than all before it *and* not less than the microseconds since 1970, so a log
that is lost, in part or whole, never makes a number come twice. Each boot of the machine starts with a number of its
own: who knows one from between the last that survived and that was told something a power cut undid.
"""

import contextlib
import os
import struct
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from lanmail import atomic, maildir
from lanmail.folders.snapshot import Entry

NAME = "lanmail-modseqs"
MAX_KEPT = 20_000  # expunges that are remembered
UID = 0xFFFFFFFF
_LETTERS = "DFPRSTabcdefghijklmnopqrstuvwxyz"
_BITS = {letter: 1 << 32 + number for number, letter in enumerate(_LETTERS)}
_EXPUNGED = 1 << 63
_HIGHEST = 1 << 62
_FILE_LIMIT = 1 << 30
_MAX_BREAKS = 32
_MAGIC = int.from_bytes(b"lanmods1", "little")
_HEADER = struct.Struct("=8Q")  # magic, UIDVALIDITY, floor, highest, boot, how many breaks, expunged, alive
_RECORD = struct.Struct("=2Q")
_BOOT = "/proc/sys/kernel/random/boot_id"
_RETRY = 30.0  # seconds after which a file that could not be written is tried again


class _Letters(dict[str, int]):
    """Flag bits by what stands behind `:2,` in a file name."""

    def __missing__(self, letters: str) -> int:
        if len(self) > 10_000:  # names can be anything
            self.clear()
        bits = self[letters] = sum({_BITS.get(letter, 0) for letter in letters.partition(",")[0]})
        return bits


BITS = _Letters()


def key(uid: int, name: str) -> int:
    """UID and flag letters of a file name in one number."""
    return BITS[name.partition(maildir.INFO)[2]] | uid


def keys(entries: Iterable[Entry]) -> list[int]:
    """The same for many messages."""
    bits, mark = BITS, maildir.INFO
    return [bits[entry.name.partition(mark)[2]] | entry.uid for entry in entries]


class Log:
    """The log of one folder; see the module's text. Not thread-safe: the folder has a mutex."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/{NAME}"
        self.usable = False
        self.anew = False  # what was taken in is all of it, not only what was appended
        self.highest = self.floor = 0
        self.claimed = 0
        self.said: dict[int, int] = {}
        self.gone: set[int] = set()
        self._uidvalidity = self._boot = 0
        self._expunged = array("I")
        self._since = array("Q")  # the mod-sequences of `_expunged`, ascending
        self._breaks: list[tuple[int, int]] = []  # numbers between these may have been told before a power cut
        self._stamp: tuple[int, int, int] | None = None
        self._head = b""  # no two files of a folder have the same, but an inode may come again
        self._offset = self._appended = self._sorted = 0
        self._retry = 0.0  # until then (monotonic) there is no file, only memory

    # reading

    def same(self) -> bool:
        """True when nothing was written since the last look."""
        if self._retry:
            return time.monotonic() < self._retry
        try:
            return _stamp(os.lstat(self.path)) == self._stamp
        except FileNotFoundError:
            return False

    def again(self) -> None:
        """Take in everything at the next look."""
        self.usable = False
        self._stamp = None

    def catch_up(self, uidvalidity: int) -> None:
        """Take in what was written since the last look, everything when it is another file."""
        if uidvalidity == self._uidvalidity and self.usable and self.same():
            return
        self._retry = 0.0
        try:
            descriptor = atomic.open_regular(self.path)
        except OSError:
            self.usable = False
            return
        try:
            status = os.fstat(descriptor)
            head = os.pread(descriptor, _HEADER.size, 0)
            grown = (self.usable and uidvalidity == self._uidvalidity and self._stamp is not None
                     and status.st_ino == self._stamp[0] and head == self._head and status.st_size >= self._offset)
            start = self._offset if grown else 0
            data = os.pread(descriptor, min(status.st_size, _FILE_LIMIT) - start, start)
        finally:
            os.close(descriptor)
        self.anew = self.anew or not grown
        self.usable = self._take(memoryview(data), self.highest) if grown else self._begin(data, uidvalidity)
        self._stamp = _stamp(status) if self.usable else None
        if not self.usable:  # what is missing may have taken back what is there
            self.said, self.gone = {}, set()

    def _begin(self, data: bytes, uidvalidity: int) -> bool:
        """Read the whole file; False when it is not what it should be."""
        self.said, self.gone = {}, set()
        if len(data) < _HEADER.size:
            return False
        magic, validity, floor, highest, boot_word, breaks, gone, alive = _HEADER.unpack_from(data)
        start = _HEADER.size + _RECORD.size * breaks
        end = start + _RECORD.size * (gone + alive)
        if (magic != _MAGIC or validity != uidvalidity or not 0 < highest < _HIGHEST or floor > highest
                or breaks > _MAX_BREAKS or end > len(data)):
            return False
        numbers = array("Q", data[start:end])
        keys, modseqs = numbers[0::2], numbers[1::2]
        if (gone or alive) and not 0 < min(modseqs) <= max(modseqs) <= highest:
            return False
        self._head, self._uidvalidity, self._boot, self.floor = data[: _HEADER.size], validity, boot_word, floor
        self._breaks = list(_RECORD.iter_unpack(data[_HEADER.size : start]))
        self._expunged, self._since = array("I", [one & UID for one in keys[:gone]]), modseqs[:gone]
        self.gone = set(self._expunged)
        self.said = dict(zip(keys[gone:], modseqs[gone:], strict=True))
        self._offset, self._appended, self._sorted = end, 0, alive
        self.claimed = keys[-1] & UID if alive else 0
        return self._take(memoryview(data)[end:], highest)

    def _take(self, data: memoryview, last: int) -> bool:
        """Take in appended records; False when one makes no sense. A torn one at the end is left for later."""
        data = data[: len(data) // _RECORD.size * _RECORD.size]
        touched = {word & UID for word in array("Q", bytes(data))[0::2]} if self.said else ()
        latest = {one & UID: one for one in self.said if one & UID in touched} if touched else {}
        for word, value in _RECORD.iter_unpack(data):
            number, uid = value & ~_EXPUNGED, word & UID
            if not last <= number < _HIGHEST:
                return False
            if not uid and value & _EXPUNGED:
                self.claimed = word >> 32
            elif not uid:
                self._break(word, last, number)
            else:
                self.said.pop(latest.pop(uid, 0), None)
                if value & _EXPUNGED:
                    self._lose((uid,), number)
                    self.gone.add(uid)
                else:
                    self.said[word] = number
                    latest[uid] = word
            last = number
        self.highest = max(self.highest, last)
        self._offset += len(data)
        self._appended += len(data) // _RECORD.size
        return True

    def _break(self, boot_word: int, last: int, number: int) -> None:
        """From here on another run of the machine writes."""
        if self._boot and self._boot != boot_word:
            self._breaks.append((last, number))
            if len(self._breaks) > _MAX_BREAKS:
                self._breaks[:2] = [(self._breaks[0][0], self._breaks[1][1])]
        self._boot = boot_word

    def said_gone(self, uid: int) -> bool:
        """Whether the log says that this message went; in a log read anew it may long be forgotten."""
        return uid in self.gone or (self.anew and uid not in {key & UID for key in self.said})

    def settled(self) -> None:
        """All that was taken in has been used."""
        self.said, self.gone, self.anew = {}, set(), False

    def _lose(self, uids: Sequence[int], modseq: int) -> None:
        self._expunged.extend(uids)
        self._since.extend([modseq] * len(uids))
        if len(self._since) > 2 * MAX_KEPT:
            self._shorten()

    def _shorten(self) -> None:
        excess = len(self._since) - MAX_KEPT
        if excess > 0:
            self.floor = self._since[excess - 1]
            self._expunged, self._since = self._expunged[excess:], self._since[excess:]

    # writing

    def next(self) -> int:
        """A number larger than all that were given; the dotlock is held and the log is caught up with."""
        return max(self.highest + 1, time.time_ns() // 1000)

    def append(self, keys: Sequence[int], gone: Sequence[int]) -> int:
        """Give messages with these keys one new mod-sequence, and note that others are gone; returns it."""
        number = self.next()
        words = array("Q")
        if self._boot != boot():
            self._break(boot(), self.highest, number)
            words.extend((self._boot, number))
        words += _records(keys, number)
        words += _records(gone, number | _EXPUNGED)
        self._lose(gone, number)
        self.highest = number
        try:
            self._write(words.tobytes())
        except OSError:
            self._do_without()
        return number

    def claim(self, uid: int) -> None:
        """Note that all messages up to this UID are known to a session; the dotlock is held."""
        self.claimed = uid
        try:
            self._write(self._mark())
        except OSError:
            self._do_without()

    def _mark(self) -> bytes:
        return _RECORD.pack(self.claimed << 32, self.highest | _EXPUNGED)

    def _write(self, data: bytes) -> None:
        descriptor = atomic.open_regular(self.path, flags=os.O_WRONLY | os.O_APPEND)
        try:
            if os.fstat(descriptor).st_size != self._offset:  # a crash tore the last record
                os.ftruncate(descriptor, self._offset)
            atomic.write_all(descriptor, data)
            self._offset += len(data)
            self._appended += len(data) // _RECORD.size
            self._stamp = _stamp(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _do_without(self) -> None:
        """The file is a memory of what the Maildir says: what it lacks is found by looking, next time."""
        self._retry = time.monotonic() + _RETRY

    def long_with(self, more: int) -> bool:
        """Whether with so many more records, and one for a new boot, the log should be written anew."""
        return self._appended + more + bool(more) > 1000 + self._sorted // 8

    def replace(self, uidvalidity: int, keys: Sequence[int], modseqs: Sequence[int]) -> None:
        """Write the whole log; these are all messages that live. The dotlock is held."""
        if not self.usable:  # who went before is not known
            self.floor = self.highest = max(self.highest, *modseqs, 0) or self.next()
            self._expunged, self._since, self._breaks, self._boot = array("I"), array("Q"), [], boot()
            self.claimed = keys[-1] & UID if keys else 0
        if self._boot != boot():
            number = self.next()
            self._break(boot(), self.highest, number)
            self.highest = number
        self._shorten()
        words = array("Q", bytes(_RECORD.size * (len(self._since) + len(keys))))
        words[0::2] = array("Q", [*self._expunged, *keys])
        words[1::2] = array("Q", [*self._since, *modseqs])
        self._head = _HEADER.pack(_MAGIC, uidvalidity, self.floor, self.highest, self._boot, len(self._breaks),
                                  len(self._since), len(keys))
        data = self._head + b"".join(_RECORD.pack(*pair) for pair in self._breaks) + words.tobytes() + self._mark()
        self.usable = True
        self.settled()
        self._uidvalidity, self._offset, self._appended, self._sorted = uidvalidity, len(data), 1, len(keys)
        try:
            self._stamp = _stamp(_put(self.path, data))
        except OSError:
            self._do_without()

    # asking

    def remembers(self, modseq: int) -> bool:
        """False for a number that may have been told before a power cut undid what it stood for."""
        if modseq > self.highest:
            return self._boot == boot()
        return not any(low < modseq < high for low, high in self._breaks)

    def expunged_since(self, modseq: int) -> list[int] | None:
        """UIDs of messages that went after `modseq`; None when that is longer ago than the log remembers."""
        if modseq < self.floor or not self.remembers(modseq):
            return None
        return self._expunged[bisect_right(self._since, modseq) :].tolist()


def _records(keys: Sequence[int], number: int) -> "array[int]":
    words = array("Q", [number]) * (2 * len(keys))
    words[0::2] = array("Q", keys)
    return words


def _put(path: str, data: bytes) -> os.stat_result:
    """Replace the file in one step, without any flush."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | atomic.SAFE, 0o660)
    try:
        atomic.write_all(descriptor, data)
        status = os.fstat(descriptor)
        atomic.set_aside(path)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    return status


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


_boots: list[int] = []


def boot() -> int:
    """A number for the present run of the machine, in the place of the flag bits."""
    if not _boots:
        try:
            with open(_BOOT, encoding="ascii") as stream:
                _boots.append((int(stream.read(8), 16) or 1) << 32)
        except (OSError, ValueError):  # no Linux: all runs are one
            _boots.append(1 << 32)
    return _boots[0]
