"""Dovecot's `dovecot-uidlist`, version 3: the file that says which message of a folder has which UID.

    parse(data: bytes) -> UidList              raises Corrupt; `damaged` is set when part of it had to be left out
    read(path) -> tuple[UidList, Stamp]        raises FileNotFoundError, Corrupt, OSError
    extend(uids: UidList, path, stamp) -> Stamp | None       takes what was appended since `stamp`; None: read it anew
    append(path, uids, [(uid, base), …]) -> Stamp            under the dotlock; durable after flush(path)
    replace(path, uids) -> Stamp                             durable; under the dotlock
    fresh(root) -> UidList                                   an empty one with a new UIDVALIDITY and GUID
    inherit(directory) -> UidList | None                     what Courier left, so that no client starts anew

The format: a header `3 V<uidvalidity> N<uidnext> G<guid>`, then one line per message, UIDs ascending:
`<uid> [<key><value> …] :<base name>`. Records are appended, so that N may be behind: uidnext is the larger of N and
last UID + 1. Records of expunged messages stay until the next rewrite. Keys we do not know are kept. Version 1
(`1 <uidvalidity> <uidnext>`, old Dovecot and Courier's courierimapuiddb) is read, too.
"""

import os
import stat as stat_module
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import lt
from typing import NamedTuple

from lanmail import atomic
from lanmail.folders import uidvalidity

NAME = "dovecot-uidlist"
COURIER = "courierimapuiddb"
_LIMIT = 256 << 20
_HEADER = 4096
MAX = 0xFFFFFFFF


class Corrupt(ValueError):
    """The header cannot be used: the folder needs a new UIDVALIDITY."""


class Stamp(NamedTuple):
    """What changes when the file changes."""

    inode: int
    size: int
    mtime: int


@dataclass(slots=True)
class UidList:
    """The content of one uidlist. `uids` maps base name → UID, ascending; `extras` UID → its keys, as in the file."""

    uidvalidity: int
    uidnext: int
    guid: str = ""
    header: str = ""  # keys of the header that are not ours, as in the file
    uids: dict[str, int] = field(default_factory=dict)
    extras: dict[int, str] = field(default_factory=dict)
    damaged: bool = False

    def key(self, uid: int, letter: str) -> str | None:
        """The value of one key (S size, W size on the wire, P POP3 UIDL, G GUID) of one record."""
        for word in self.extras.get(uid, "").split(" "):
            if word.startswith(letter):
                return word[1:]
        return None

    def size(self, uid: int, letter: str) -> int:
        """The number behind one key of one record; 0 when there is none."""
        value = self.key(uid, letter) or ""
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0


def fresh(root: str) -> UidList:
    """An empty list for a folder of the account whose Maildir is `root`."""
    return UidList(uidvalidity=uidvalidity.allot(root), uidnext=1, guid=os.urandom(16).hex())


def inherit(directory: str) -> UidList | None:
    """The list in Courier's file of a folder, when there is one."""
    try:
        return read(f"{directory}/{COURIER}")[0]
    except (OSError, Corrupt):
        return None


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp in a stat result."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def parse(data: bytes) -> UidList:
    """Read the whole file's content. What cannot be a record is left out and marks the list as damaged."""
    first, newline, rest = data.partition(b"\n")
    result = _header(os.fsdecode(first))
    if not newline:
        result.damaged = True
    _take(result, os.fsdecode(rest))
    return result


def _header(line: str) -> UidList:
    version, _, rest = line.partition(" ")
    words = rest.split()
    if version == "1" and len(words) == 2:
        words = ["V" + words[0], "N" + words[1]]
    elif version != "3":
        raise Corrupt(f"unknown version {version[:20]!r} of the uidlist")
    keys = {word[0]: word[1:] for word in words}
    validity, following = _number(keys.get("V", "")), _number(keys.get("N", ""))
    if not validity or not following:
        raise Corrupt("the uidlist's header has no UIDVALIDITY or no next UID")
    others = " ".join(word for word in words if word[0] not in "VNG")
    # a version 1 file is rewritten as version 3 at the next change
    return UidList(validity, following, keys.get("G", ""), others, damaged=version == "1" or "G" not in keys)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX else 0


def _take(into: UidList, text: str) -> None:
    """Add the records in `text` to the list."""
    if text and not text.endswith("\n"):  # a torn or unfinished append: that record does not count
        into.damaged = True
        text = text[:text.rfind("\n") + 1]
    if text and not _take_plain(into, text):
        _take_any(into, text)
    into.uidnext = max(into.uidnext, next(reversed(into.uids.values()), 0) + 1)


def _take_plain(into: UidList, text: str) -> bool:
    """The quick way for records without keys (100,000 in 20 ms): False when there is anything else in `text`."""
    parts = text[:-1].replace(" :", "\n").split("\n")
    bases = parts[1::2]
    if text.count("\n") * 2 != len(parts) or text.count(" :") != len(bases) or "/" in text:
        return False
    try:
        numbers = list(map(int, parts[0::2]))
    except ValueError:
        return False
    last = next(reversed(into.uids.values()), 0)
    if numbers[0] <= last or numbers[-1] > MAX or not all(map(lt, numbers, numbers[1:])):
        return False
    added = dict(zip(bases, numbers, strict=True))
    if len(added) != len(bases) or "" in added or (into.uids and not into.uids.keys().isdisjoint(added)):
        return False
    into.uids.update(added)
    return True


def _take_any(into: UidList, text: str) -> None:
    last = next(reversed(into.uids.values()), 0)
    for line in text[:-1].split("\n"):
        head, colon, base = line.partition(" :")
        digits, _, keys = head.partition(" ")
        if not colon and " " in line:  # version 1: `<uid> <base name>`
            base, keys = keys, ""
            into.damaged = True
        uid = _number(digits)
        if uid <= last or not base or "/" in base:
            into.damaged = True
            continue
        if into.uids.pop(base, None) is not None:  # twice: the later record counts
            into.damaged = True
        into.uids[base] = last = uid
        if keys:
            into.extras[uid] = keys


def encode(uids: UidList) -> bytes:
    """The file's content for a list."""
    header = f"3 V{uids.uidvalidity} N{uids.uidnext} G{uids.guid or os.urandom(16).hex()}"
    if uids.header:
        header += " " + uids.header
    return os.fsencode(header + "\n" + _records(uids, uids.uids.items()))


def _records(uids: UidList, records: Iterable[tuple[str, int]]) -> str:
    if not uids.extras:
        return "".join([f"{uid} :{base}\n" for base, uid in records])
    extras = uids.extras
    return "".join([f"{uid} {extras[uid]} :{base}\n" if uid in extras else f"{uid} :{base}\n"
                    for base, uid in records])


def read(path: str) -> tuple[UidList, Stamp]:
    """The list in the file at `path` and the stamp it was read at."""
    descriptor = atomic.open_regular(path)
    try:
        status = os.fstat(descriptor)
        _header(os.fsdecode(os.pread(descriptor, _HEADER, 0).partition(b"\n")[0]))  # 100 MB of zeros end here
        data = _read_from(descriptor, 0, status.st_size)
    finally:
        os.close(descriptor)
    return parse(data), Stamp(status.st_ino, len(data), status.st_mtime_ns)


def extend(uids: UidList, path: str, stamp: Stamp) -> Stamp | None:
    """Add what was appended to the file since `stamp`. None when it was not just appended to.

    The inode alone proves nothing: a file that was written anew twice may have that of the first. So what we know as
    the last record must still end where the file ended.
    """
    known = os.fsencode(_records(uids, [(last, uids.uids[last])])) if (last := next(reversed(uids.uids), "")) else b""
    descriptor = atomic.open_regular(path)
    try:
        status = os.fstat(descriptor)
        if not known or status.st_ino != stamp.inode or status.st_size <= stamp.size or uids.damaged:
            return None
        data = _read_from(descriptor, stamp.size - len(known), status.st_size)
    finally:
        os.close(descriptor)
    if not data.startswith(known):
        return None
    data = data[len(known):]
    _take(uids, os.fsdecode(data))
    return None if uids.damaged else Stamp(status.st_ino, stamp.size + len(data), status.st_mtime_ns)


def _read_from(descriptor: int, start: int, end: int) -> bytes:
    if end > _LIMIT:
        raise Corrupt("the uidlist is larger than 256 MiB")
    data = b""
    while start + len(data) < end:
        more = os.pread(descriptor, end - start - len(data), start + len(data))
        if not more:
            break
        data += more
    return data


def append(path: str, uids: UidList, records: Iterable[tuple[str, int]]) -> Stamp:
    """Append records `(base name, UID)`, which must already be in `uids`; the dotlock must be held. No flush."""
    descriptor = atomic.open_regular(path, flags=os.O_WRONLY | os.O_APPEND)
    try:
        atomic.write_all(descriptor, os.fsencode(_records(uids, records)))
        return stamp_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def flush(path: str, *, made: bool = False) -> None:
    """Make what was appended survive a power cut, and a list that was `made` without flushing it."""
    descriptor = atomic.open_regular(path)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if made:
        atomic.sync_dir(os.path.dirname(path))


def replace(path: str, uids: UidList, *, durable: bool = True) -> Stamp:
    """Write the whole list, keeping the file's mode; the dotlock must be held."""
    try:
        mode = stat_module.S_IMODE(os.lstat(path).st_mode)
    except FileNotFoundError:
        mode = 0o660 & stat_module.S_IMODE(os.lstat(os.path.dirname(path)).st_mode)
    atomic.write(path, encode(uids), mode=mode, durable=durable)
    uids.damaged = False
    return stamp_of(os.lstat(path))
