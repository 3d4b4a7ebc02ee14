"""FETCH: parts of messages (RFC 3501 §6.4.5, §7.4.2).

The items are prepared once per command. What the file name tells (UID, FLAGS, RFC822.SIZE) costs no file access; a
message is read once for all items that need it; a large one is sent in pieces and never lies in memory as a whole.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lanmail import atomic, changes, snapshot
from lanmail.imap import mailbox, parser, section, structure
from lanmail.imap.session import EXPUNGED, No, Session

MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
SIMPLE = frozenset({"UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE"})
OLD = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}
STREAMED = 1 << 20
PIECE = 1 << 16
BATCH = 200  # messages that are marked \Seen at a time
MAX_ITEMS = 200

NAME = re.compile(rb"[A-Za-z0-9.]+")
SECTION = re.compile(rb"[0-9A-Za-z.]*")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to fetch; `label` is how it is named in the answer. `cut` is for sections only."""

    name: str
    label: bytes
    cut: section.Section | None = None
    partial: tuple[int, int] | None = None
    marks: bool = False  # sets \Seen


@dataclass(frozen=True, slots=True)
class Fetch:
    numbers: parser.Set
    items: tuple[Item, ...]
    uid: bool


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Fetch:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    items: list[Item] = []
    if cursor.take(b"("):
        while True:
            items += _item(cursor, macros=False)
            if cursor.take(b")"):
                break
            cursor.space()
            if len(items) > MAX_ITEMS:
                cursor.fail("at most 200 items")
    else:
        items = _item(cursor, macros=True)
    unique = dict.fromkeys(items)
    if uid:
        unique = dict.fromkeys([Item("UID", b"UID"), *unique])
    return Fetch(numbers, tuple(unique), uid)


def _item(cursor: parser.Cursor, *, macros: bool) -> list[Item]:
    name = cursor.match(NAME, "a FETCH item").upper().decode("ascii")
    if macros and name in MACROS:
        return [Item(one, one.encode()) for one in MACROS[name]]
    if name in SIMPLE:
        return [Item(name, name.encode())]
    if name in OLD:
        cut = section.Section((), OLD[name])
        return [Item("SECTION", name.encode(), cut, marks=name != "RFC822.HEADER")]
    if name == "BODY" and not cursor.peek(b"["):
        return [Item("BODY", b"BODY")]
    if name in ("BODY", "BODY.PEEK") and cursor.take(b"["):
        return [_section(cursor, marks=name == "BODY")]
    return cursor.fail("a FETCH item")


def _section(cursor: parser.Cursor, *, marks: bool) -> Item:
    text = cursor.match(SECTION, "a section").decode("ascii").upper()
    try:
        cut = section.parse(text)
    except ValueError as error:
        raise parser.ParseError(str(error)) from None
    if cut.what.startswith("HEADER.FIELDS"):
        cursor.space()
        cut = replace(cut, fields=tuple(cursor.atoms()))
    cursor.expect(b"]")
    label = b"BODY[" + cut.wire() + b"]"
    partial = None
    if cursor.take(b"<"):
        offset = cursor.number64()
        cursor.expect(b".")
        length = cursor.number64()
        cursor.expect(b">")
        if not length:
            cursor.fail("a length above zero")
        partial = (offset, length)
        label += b"<%d>" % offset
    return Item("SECTION", label, cut, partial, marks)


async def fetch(session: Session, arguments: Fetch) -> str:
    view = session.view
    uids = view.select(arguments.numbers, uid=arguments.uid)
    marks = not view.read_only and any(item.marks for item in arguments.items)
    work = _Work(session, arguments.items)
    if any(item.name == "RFC822.SIZE" for item in arguments.items):
        await _find_sizes(session, uids)
    for start in range(0, len(uids), BATCH if marks else len(uids) or 1):
        batch = uids[start : start + BATCH] if marks else uids
        seen = await _mark_seen(view, batch) if marks else frozenset()
        for uid in batch:
            await work.one(uid, also_flags=uid in seen)
    if work.unreadable:
        raise No("Some of the messages cannot be read.", "UNAVAILABLE")
    return EXPUNGED if work.missing and not arguments.uid else ""


async def _find_sizes(session: Session, uids: list[int]) -> None:
    """Files from elsewhere may not have their size in the name; it is found once and noted."""
    found = session.view.box
    unknown = [entry for uid in uids if (entry := found.messages.get(uid)) and entry.wire_size is None]
    if unknown:
        await session.worker.run(found.folder.fill_sizes, unknown)


async def _mark_seen(view: mailbox.View, uids: list[int]) -> frozenset[int]:
    """Set \\Seen on those that do not have it; returns their UIDs, whose new flags the answer must tell."""
    messages = view.box.messages
    unseen = [uid for uid in uids if uid in messages and "S" not in messages[uid].letters]
    if unseen:
        await view.box.change(changes.store, unseen, "+", ["\\Seen"])
        view.knows(unseen)
    return frozenset(unseen)


class _Work:
    """One FETCH command on its way through the messages."""

    def __init__(self, session: Session, items: tuple[Item, ...]) -> None:
        self.session = session
        self.view = session.view
        self.items = items
        self.missing = self.unreadable = 0
        names = {item.name for item in items}
        self._reads = bool(names & {"SECTION", "ENVELOPE", "BODY", "BODYSTRUCTURE"})
        self._dates = "INTERNALDATE" in names
        self._summarizes = bool(names & {"ENVELOPE", "BODY", "BODYSTRUCTURE"})
        self._simple = self._plan() if not self._reads else None

    def _plan(self) -> Callable[[int, int, snapshot.Entry], bytes] | None:
        """A short cut for the commonest question, (UID FLAGS): no loop over the items for each message."""
        names = [item.name for item in self.items]
        view = self.view
        if names == ["UID", "FLAGS"]:
            return lambda number, uid, _entry: b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (number, uid, view.flags(uid))
        if names == ["FLAGS"]:
            return lambda number, uid, _entry: b"* %d FETCH (FLAGS (%b))\r\n" % (number, view.flags(uid))
        return None

    async def one(self, uid: int, *, also_flags: bool) -> None:
        """Answer for one message."""
        entry = self.view.box.messages.get(uid)
        number = self.view.number(uid)
        if entry is None:
            self.missing += 1
            return
        if self._simple is not None:
            self.session.connection.write(self._simple(number, uid, entry))
            await self.session.room()
            return
        try:
            await self._answer(number, uid, entry, also_flags=also_flags)
        except FileNotFoundError:
            self.missing += 1
        except OSError:
            self.unreadable += 1
        await self.session.room()

    async def _answer(self, number: int, uid: int, entry: snapshot.Entry, *, also_flags: bool) -> None:
        descriptor = await self._open(entry) if self._reads else -1
        try:
            status = os.fstat(descriptor) if self._reads else await self._stat(entry) if self._dates else None
            large = status is not None and status.st_size > STREAMED
            source = section.Source(fd=descriptor) if self._reads else None
            summary = structure.summary(source.data) if source is not None and self._summarizes else None
            parts: list[bytes] = []
            for item in self.items:
                if item.name == "SECTION" and large and source is not None and _whole(item):
                    parts.append(item.label)
                    await self._stream(number, parts, descriptor)
                    parts = [b""]
                    continue
                parts.append(item.label + b" " + self._value(item, uid, entry, status, source, summary))
            if also_flags and not any(item.name == "FLAGS" for item in self.items):
                parts.append(b"FLAGS (" + self.view.flags(uid) + b")")
            self._say(number, parts)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    async def _open(self, entry: snapshot.Entry) -> int:
        """A descriptor; the usual case is one system call, a file that was renamed is searched for in a thread."""
        try:
            return atomic.open_regular(f"{self.view.box.path}/{entry.path}")
        except FileNotFoundError:
            return await self.session.worker.run(self.view.box.folder.open, entry)

    async def _stat(self, entry: snapshot.Entry) -> os.stat_result:
        try:
            return os.stat(f"{self.view.box.path}/{entry.path}", follow_symlinks=False)
        except FileNotFoundError:
            descriptor = await self._open(entry)
            try:
                return os.fstat(descriptor)
            finally:
                os.close(descriptor)

    def _value(self, item: Item, uid: int, entry: snapshot.Entry, status: os.stat_result | None,
               source: section.Source | None, summary: structure.Summary | None) -> bytes:
        if item.name == "UID":
            return b"%d" % uid
        if item.name == "FLAGS":
            return b"(" + self.view.flags(uid) + b")"
        if item.name == "INTERNALDATE":
            return internal_date(status.st_mtime if status else 0)
        if item.name == "RFC822.SIZE":
            return b"%d" % (entry.wire_size or 0)
        if summary is not None and item.name != "SECTION":
            return {"ENVELOPE": summary.envelope, "BODY": summary.body}.get(item.name, summary.bodystructure)
        assert source is not None
        assert item.cut is not None
        data = section.cut(source, item.cut, item.partial)
        return b"NIL" if data is None else b"{%d}\r\n" % len(data) + data

    def _say(self, number: int, parts: list[bytes]) -> None:
        """A whole answer, or what remains of one whose beginning `_stream` has sent."""
        if parts and not parts[0]:
            self.session.connection.write(b" ".join(parts) + b")\r\n")
        else:
            self.session.connection.write(b"* %d FETCH (" % number + b" ".join(parts) + b")\r\n")

    async def _stream(self, number: int, parts: list[bytes], descriptor: int) -> None:
        """Send the whole of a large message in pieces, line ends made CRLF on the way."""
        size = await self.session.worker.run(_measure, descriptor)
        head = b" ".join(parts) + b" {%d}\r\n" % size
        self.session.connection.write((b"" if parts[0] == b"" else b"* %d FETCH (" % number) + head)
        last = b""
        offset = sent = 0
        while piece := os.pread(descriptor, PIECE, offset):
            offset += len(piece)
            data = _crlf(piece, last)
            last = piece[-1:]
            sent += len(data)
            if sent > size:
                break
            self.session.connection.write(data)
            await self.session.room()
        if sent != size:
            # somebody changes a delivered file while we read it: no way to keep the literal's promise
            self.session.connection.abort()
            raise OSError("the message changed while it was sent")


def _whole(item: Item) -> bool:
    return item.cut == section.Section() and item.partial is None


def _crlf(data: bytes, last: bytes) -> bytes:
    """LF and CRLF both become CRLF, NUL becomes 0x80 (no literal can hold it); `last` is the octet before."""
    data = data.replace(b"\0", b"\x80") if b"\0" in data else data
    if b"\r\n" in data or (last == b"\r" and data[:1] == b"\n"):
        kept = data[:1] == b"\n" and last == b"\r"
        body = data[1:] if kept else data
        return (b"\n" if kept else b"") + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data.replace(b"\n", b"\r\n")


def _measure(descriptor: int) -> int:
    """How many octets a file is with CRLF line ends; the name may tell a lie, and a literal must not."""
    size = 0
    last = b""
    offset = 0
    while piece := os.pread(descriptor, STREAMED, offset):
        offset += len(piece)
        size += len(_crlf(piece, last))
        last = piece[-1:]
    return size


def internal_date(moment: float) -> bytes:
    """A date-time in quotes (RFC 3501 §9), in the server's zone."""
    local = time.localtime(moment)
    sign, offset = ("-", -local.tm_gmtoff) if local.tm_gmtoff < 0 else ("+", local.tm_gmtoff)
    day = f"{local.tm_mday:2d}-{MONTHS[local.tm_mon - 1]}-{local.tm_year:04d}"
    clock = f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
    return f'"{day} {clock} {sign}{offset // 3600:02d}{offset % 3600 // 60:02d}"'.encode()
