"""FETCH: parts of messages (RFC 3501 §6.4.5, §7.4.2).

What the file name tells (UID, FLAGS, RFC822.SIZE) costs no file access and is said many messages at a time. A message
is opened and read once for all items that need it.
"""

import os
import time
from collections.abc import Iterator

from lanmail import atomic, changes, maildir, snapshot
from lanmail.imap import fetchgrammar, mailbox, section, streaming, structure
from lanmail.imap.fetchgrammar import Fetch, Item
from lanmail.imap.session import EXPUNGED, No, Session

BATCH = 200  # messages that are marked \Seen at a time
CHUNK = 500  # messages answered from file names between two looks at the clock
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CHEAP = {"UID": "UID {1}", "FLAGS": "FLAGS ({2})", "RFC822.SIZE": "RFC822.SIZE {3}"}
SUMMARIES = frozenset({"ENVELOPE", "BODY", "BODYSTRUCTURE"})

parse = fetchgrammar.parse


async def fetch(session: Session, arguments: Fetch) -> str:
    view, items = session.view, arguments.items
    spans = view.spans(arguments.numbers, uid=arguments.uid)
    names = [item.name for item in items]
    if "RFC822.SIZE" in names:
        await _find_sizes(session, spans)
    if CHEAP.keys() >= set(names):
        missing, unreadable = await _from_names(session, names, spans), 0
    else:
        missing, unreadable = await _from_files(session, items, spans)
    if unreadable:
        raise No("Some of the messages cannot be read.", "UNAVAILABLE")
    return EXPUNGED if missing and not arguments.uid else ""


async def _find_sizes(session: Session, spans: list[range]) -> None:
    """Files from elsewhere may not have their size in the name; it is found once and noted."""
    view = session.view
    messages = view.box.messages
    unknown = [entry for span in spans for uid in view.uids[span.start : span.stop]
               if (entry := messages.get(uid)) and entry.wire_size is None]
    if unknown:
        await session.worker.run(view.box.folder.fill_sizes, unknown)


async def _from_names(session: Session, names: list[str], spans: list[range]) -> int:
    """Answers made of file names alone; returns how many messages are gone."""
    view = session.view
    answer = ("* {0} FETCH (" + " ".join(CHEAP[name] for name in names) + ")\r\n").format
    sized, missing = "RFC822.SIZE" in names, 0
    for span in _pieces(spans):
        messages, recent, texts = view.box.messages, view.recent, view.box.flag_texts()
        lines = []
        for number, uid in enumerate(view.uids[span.start : span.stop], span.start + 1):
            entry = messages.get(uid)
            if entry is None:
                missing += 1
                continue
            text = texts.get(entry.name.partition(maildir.INFO)[2])
            if text is None or uid in recent:
                text = view.flags(entry)
            lines.append(answer(number, uid, text, entry.wire_size if sized else 0))
        session.connection.write("".join(lines).encode("ascii", "replace"))
        await session.room()
    return missing


def _pieces(spans: list[range]) -> Iterator[range]:
    """The same messages, at most CHUNK at a time."""
    for span in spans:
        for start in range(span.start, span.stop, CHUNK):
            yield range(start, min(start + CHUNK, span.stop))


async def _from_files(session: Session, items: tuple[Item, ...], spans: list[range]) -> tuple[int, int]:
    """Answers that need the messages; returns how many are gone and how many cannot be read."""
    view = session.view
    marks = not view.read_only and any(item.marks for item in items)
    reader = _Reader(session, items)
    for span in spans:
        for start in range(span.start, span.stop, BATCH):
            batch = view.uids[start : min(start + BATCH, span.stop)]
            seen = await _mark_seen(view, list(batch)) if marks else frozenset()
            for number, uid in enumerate(batch, start + 1):
                await reader.one(number, uid, also_flags=uid in seen)
    return reader.missing, reader.unreadable


async def _mark_seen(view: mailbox.View, uids: list[int]) -> frozenset[int]:
    """Set \\Seen on those that do not have it; returns their UIDs, whose new flags the answer must tell."""
    messages = view.box.messages
    unseen = [uid for uid in uids if uid in messages and "S" not in messages[uid].letters]
    if unseen:
        await view.box.change(changes.store, unseen, "+", ["\\Seen"])
        view.knows(unseen)
    return frozenset(unseen)


class _Reader:
    """One FETCH command on its way through the messages that it opens."""

    def __init__(self, session: Session, items: tuple[Item, ...]) -> None:
        self._session = session
        self._view = session.view
        self._items = items
        self.missing = self.unreadable = 0
        names = {item.name for item in items}
        self._reads = bool(names & (SUMMARIES | {"SECTION"}))
        self._summarizes = bool(names & SUMMARIES)
        self._sections = "SECTION" in names
        self._flags_asked = "FLAGS" in names

    async def one(self, number: int, uid: int, *, also_flags: bool) -> None:
        """Answer for one message."""
        entry = self._view.box.messages.get(uid)
        if entry is None:
            self.missing += 1
            return
        try:
            await self._answer(number, uid, entry, also_flags=also_flags and not self._flags_asked)
        except FileNotFoundError:
            self.missing += 1
        except OSError:
            self.unreadable += 1
        await self._session.room()

    async def _answer(self, number: int, uid: int, entry: snapshot.Entry, *, also_flags: bool) -> None:
        cached = self._view.box.summaries.get(uid) if self._summarizes and not self._sections else None
        if cached is not None or not self._reads:
            status = await self._stat(entry)
            self._say(number, [self._value(item, uid, entry, status, summary=cached) for item in self._items])
            return
        descriptor = await self._open(entry)
        try:
            status = os.fstat(descriptor)
            large = status.st_size > streaming.LARGE
            source = await self._large(uid, descriptor, status) if large else section.Source(fd=descriptor)
            summary = self._view.box.summary(uid, source) if self._summarizes else None
            said = b"* %d FETCH (" % number
            parts: list[bytes] = []
            for item in self._items:
                if large and item.whole:
                    said += b" ".join([*parts, item.label + b" "])
                    await streaming.send(self._session, descriptor, said)
                    said, parts = b" ", []
                else:
                    parts.append(self._value(item, uid, entry, status, source, summary))
            if also_flags:
                parts.append(b"FLAGS (" + self._view.flags(entry).encode() + b")")
            self._session.connection.write((said if parts else b"") + b" ".join(parts) + b")\r\n")
        finally:
            os.close(descriptor)

    async def _large(self, uid: int, descriptor: int, status: os.stat_result) -> section.Source:
        """A large message is read and parsed in a thread, and kept for the next piece of it."""
        if all(item.whole or item.cut is None for item in self._items) and not self._summarizes:
            return section.Source(fd=descriptor)
        held, key = self._session.worker.held, (self._view.box.path, uid)
        source = held.get(key)
        if source is None:
            source = section.Source(fd=descriptor)
            await self._session.worker.run(_digest, source)
            held.put(key, source, status.st_size)
        return source

    def _say(self, number: int, parts: list[bytes]) -> None:
        self._session.connection.write(b"* %d FETCH (%b)\r\n" % (number, b" ".join(parts)))

    async def _open(self, entry: snapshot.Entry) -> int:
        """A descriptor; the usual case is one system call, a file that was renamed is searched for in a thread."""
        try:
            return atomic.open_regular(f"{self._view.box.path}/{entry.path}")
        except FileNotFoundError:
            return await self._session.worker.run(self._view.box.folder.open, entry)

    async def _stat(self, entry: snapshot.Entry) -> os.stat_result:
        try:
            return os.stat(f"{self._view.box.path}/{entry.path}", follow_symlinks=False)
        except FileNotFoundError:
            descriptor = await self._open(entry)
            try:
                return os.fstat(descriptor)
            finally:
                os.close(descriptor)

    def _value(self, item: Item, uid: int, entry: snapshot.Entry, status: os.stat_result,
               source: section.Source | None = None, summary: structure.Summary | None = None) -> bytes:
        """An item with its name."""
        if item.cut is not None and source is not None:
            data = section.cut(source, item.cut, item.partial)
            return item.label + (b" NIL" if data is None else b" {%d}\r\n%b" % (len(data), data))
        if item.name == "INTERNALDATE":
            return b"INTERNALDATE " + internal_date(status.st_mtime)
        if item.name in SUMMARIES and summary is not None:
            return item.label + b" " + {"ENVELOPE": summary.envelope, "BODY": summary.body}.get(
                item.name, summary.bodystructure)
        return CHEAP[item.name].format(0, uid, self._view.flags(entry), entry.wire_size or 0).encode()


def _digest(source: section.Source) -> None:
    """In a thread: read the message and find its parts, which the source remembers."""
    _ = source.data, source.tree


def internal_date(moment: float) -> bytes:
    """A date-time in quotes (RFC 3501 §9), in the server's zone."""
    local = time.localtime(moment)
    sign, offset = ("-", -local.tm_gmtoff) if local.tm_gmtoff < 0 else ("+", local.tm_gmtoff)
    day = f"{local.tm_mday:2d}-{MONTHS[local.tm_mon - 1]}-{local.tm_year:04d}"
    clock = f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"
    return f'"{day} {clock} {sign}{offset // 3600:02d}{offset % 3600 // 60:02d}"'.encode()
