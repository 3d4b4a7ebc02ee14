"""FETCH: parts of messages (RFC 3501 §6.4.5, §7.4.2).

What the file name tells (UID, FLAGS, RFC822.SIZE) costs no file access and is said many messages at a time. A message
is opened and read once for all items that need it.
"""

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from lanmail import atomic
from lanmail.folders import changes, snapshot, summaries
from lanmail.imap import (
    binary,
    fetchgrammar,
    held,
    items,
    mailbox,
    parser,
    readahead,
    resync,
    rights,
    section,
    streaming,
)
from lanmail.imap.fetchgrammar import Fetch
from lanmail.imap.items import Cost, Item
from lanmail.imap.session import EXPUNGED, Bad, No, Session
from lanmail.mime import source, summary

MANY = 8  # messages answered from small files between two looks at the clock
BATCH = 200  # messages that are marked \Seen at a time
SLOW = 1 << 15  # octets; what is larger may take long to parse, and is parsed in a thread
CHUNK = 500  # messages answered from file names between two looks at the clock

parse = fetchgrammar.parse


async def fetch(session: Session, arguments: Fetch) -> str:
    view, wanted = session.view, arguments.items
    if arguments.vanished and not session.qresync:
        raise Bad("VANISHED needs ENABLE QRESYNC.")
    spans = view.spans(arguments.numbers, uid=arguments.uid)
    if any(item.name == "MODSEQ" for item in wanted):
        session.enable("CONDSTORE")
    elif arguments.uid and session.qresync and any(item.name == "FLAGS" for item in wanted):
        wanted = (*wanted, Item("MODSEQ", b"MODSEQ"))  # RFC 7162 §3.2.6: who synchronizes must know how far he is
    if arguments.since is not None:
        since = view.box.numbers.since(arguments.since)
        if arguments.vanished:
            resync.vanished(session, arguments.since, parser.resolve(arguments.numbers, view.box.now.uidnext - 1))
        spans = resync.changed(view, spans, since)
    if any(item.name == "RFC822.SIZE" for item in wanted):
        await _find_sizes(session, spans)
    columns = [kind for item in wanted if isinstance(kind := items.TABLE[item.name], items.Column)]
    if len(columns) == len(wanted):
        missing, unreadable = await _from_names(session, columns, spans), 0
    else:
        missing, unreadable = await _from_files(session, wanted, spans)
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


async def _from_names(session: Session, columns: list[items.Column], spans: list[range]) -> int:
    """Answers made of file names alone; returns how many messages are gone."""
    view, missing = session.view, 0
    answer = ("* %s FETCH (" + " ".join(column.form for column in columns) + ")\r\n").__mod__
    for span in _pieces(spans):
        found = list(map(view.box.messages.get, view.uids[span.start : span.stop]))
        entries = [entry for entry in found if entry is not None]
        numbers: Iterable[int] = range(span.start + 1, span.stop + 1)
        if len(entries) < len(found):
            missing += len(found) - len(entries)
            numbers = [number for number, entry in zip(numbers, found, strict=True) if entry is not None]
        values = zip(numbers, *[column.values(view, entries) for column in columns], strict=True)
        session.connection.write("".join(map(answer, values)).encode("ascii", "replace"))
        await session.room()
    return missing


def _pieces(spans: list[range], most: int = CHUNK) -> Iterator[range]:
    """The same messages, so many at a time."""
    for span in spans:
        for start in range(span.start, span.stop, most):
            yield range(start, min(start + most, span.stop))


async def _from_files(session: Session, wanted: tuple[Item, ...], spans: list[range]) -> tuple[int, int]:
    """Answers that need the messages; returns how many are gone and how many cannot be read."""
    view = session.view
    marks = not view.read_only and any(item.marks for item in wanted) and "s" in rights.here(session)
    reader = _Reader(session, wanted)
    if reader.summarizes:
        await view.box.follow_cache()
    pieces = list(_pieces(spans, BATCH))
    ahead = reader.ahead(pieces)
    for piece in pieces:
        batch = view.uids[piece.start : piece.stop]
        seen = await _mark_seen(view, list(batch)) if marks else frozenset()
        await ahead.step()
        with reader.inside() as kept:
            await reader.batch(piece.start + 1, batch, kept, seen)
        view.box.keep(reader.fresh)
        reader.fresh = []
    if reader.undecoded:
        raise No("A part is in an encoding that is not known here.", "UNKNOWN-CTE")  # RFC 3516 §4.3
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

    def __init__(self, session: Session, wanted: tuple[Item, ...]) -> None:
        self._session = session
        self._view = session.view
        self._items = wanted
        self._form = b"* %d FETCH (" + b" ".join([item.form for item in wanted]) + b")\r\n"
        self.missing = self.unreadable = self.undecoded = 0
        self.fresh: list[summaries.Record] = []
        costs = {item.cost for item in wanted}
        self._cost = max(costs)
        self.summarizes = Cost.SUMMARY in costs
        self._structures = any(item.cost == Cost.SUMMARY and not item.cut for item in wanted)
        self._enough = self._kept_of_it()  # of a record to answer all that is asked for
        self._parts = any(item.cut is not None and item.cut.part for item in wanted)
        whole = [item.whole for item in wanted]
        self._plain = any(whole) and all(one or item.cost < Cost.SUMMARY
                                         for one, item in zip(whole, wanted, strict=True))
        self._directory = -1
        self._flags_asked = any(item.name == "FLAGS" for item in wanted)
        self._modseq_asked = any(item.name == "MODSEQ" for item in wanted)

    def _kept_of_it(self) -> int:
        sections = any(item.cost == Cost.SUMMARY and item.cut for item in self._items)
        if self._cost > Cost.SUMMARY:
            return summaries.NEVER
        return summaries.SUMMARY * self._structures | summaries.HEADER * sections

    def ahead(self, pieces: list[range]) -> readahead.Ahead:
        """Have read by others what is not kept, if that is what the answers are made of."""
        wanted = [self._view.uids[one.start : one.stop] for one in pieces] if self._cost == Cost.SUMMARY else []
        return readahead.Ahead(self._session.worker.readers, self._view.box, wanted, structures=self._structures)

    def inside(self) -> contextlib.AbstractContextManager[summaries.Reader | None]:
        """Have open what the items need: what is kept of messages, or the folder's directory.

        From there the way to each of many messages is not searched for again.
        """
        return self._inside() if self._plain or self.summarizes else contextlib.nullcontext()

    @contextlib.contextmanager
    def _inside(self) -> Iterator[summaries.Reader | None]:
        with contextlib.ExitStack() as stack:
            self._directory = -1
            if self._plain:
                with contextlib.suppress(OSError):
                    self._directory = os.open(self._view.box.path, os.O_RDONLY | os.O_DIRECTORY)
                    stack.callback(os.close, self._directory)
            yield stack.enter_context(self._view.box.cache.reading()) if self.summarizes else None

    async def batch(self, first: int, uids: Sequence[int], kept: summaries.Reader | None, seen: frozenset[int]) -> None:
        """Answer for messages that follow one another, as many at a time as are kept; `seen`: their flags, too."""
        if self._directory >= 0:
            await self._wholes(first, uids, seen)
            return
        run: list[tuple[int, items.Message]] = []
        messages, enough = self._view.box.messages, self._enough
        # a name is asked for when its turn has come, as messages may change while another one is read
        bases = (entry.base if (entry := messages.get(uid)) else "" for uid in uids)
        records = kept.each(bases) if kept is not None else repeat(None)
        for number, (uid, record) in enumerate(zip(uids, records, strict=False), first):
            entry = messages.get(uid)
            if entry is None:
                self.missing += 1
                continue
            message = items.Message(self._view, entry, record)
            if record is not None and record.has & enough == enough and uid not in seen:
                run.append((number, message))
                continue
            self._say(run)
            run = []
            await self._one(number, message, changed=uid in seen)
        self._say(run)
        await self._session.room()

    async def _wholes(self, first: int, uids: Sequence[int], seen: frozenset[int]) -> None:
        """Answer with messages as they are; most are small and where they should be."""
        messages, connection = self._view.box.messages, self._session.connection
        for number, uid in enumerate(uids, first):
            entry = messages.get(uid)
            if entry is None:
                self.missing += 1
                continue
            message = items.Message(self._view, entry)
            if not self._at_once(number, message, changed=uid in seen):
                await self._one(number, message, changed=uid in seen)
            elif connection.full or not number % MANY:
                await self._session.room()
        await self._session.room()

    def _say(self, run: list[tuple[int, items.Message]]) -> None:
        """Answer for messages without opening them."""
        if run:
            numbers, messages = zip(*run, strict=True)
            columns = [item.values(messages) for item in self._items]
            answers = map(self._form.__mod__, zip(numbers, *columns, strict=True))
            self._session.connection.write(b"".join(answers))

    def _at_once(self, number: int, message: items.Message, *, changed: bool) -> bool:
        """Answer with the whole of a small message; False, and nothing is said, when that is not so simple."""
        data = self._small(message)
        if data is None:
            return False
        before = b"* %d FETCH (" % number
        on_wire = source.on_wire(data, 0, len(data))
        said: list[bytes] = []
        for item in self._items:
            if item.name == "SECTION":
                said += (b"%b%b {%d}\r\n" % (before, item.label, len(on_wire)), on_wire)
            else:
                said.append(before + item.said([message])[0])
            before = b" "
        for news in self._news(message) if changed else ():
            said.append(b" " + news)
        said.append(b")\r\n")
        self._session.connection.write_all(said)
        return True

    def _small(self, message: items.Message) -> bytes | None:
        """The whole file, and its status noted; None when it is large, or not there, or no plain file."""
        entry = message.entry
        try:
            descriptor = os.open(f"{entry.sub}/{entry.name}", os.O_RDONLY | atomic.SAFE, dir_fd=self._directory)
        except OSError:
            return None
        try:
            message.status = status = os.fstat(descriptor)
            size = status.st_size
            if not stat.S_ISREG(status.st_mode) or not 0 < size <= streaming.LARGE:
                return None
            data = os.read(descriptor, size)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return data if len(data) == size else None

    async def _one(self, number: int, message: items.Message, *, changed: bool) -> None:
        try:
            if self._cost == Cost.STATUS:
                message.status = await self._stat(message.entry)
                self._say([(number, message)])
            else:
                descriptor = await self._open(message.entry)
                try:
                    await self._answer_from(descriptor, number, message, changed=changed)
                finally:
                    os.close(descriptor)
        except FileNotFoundError:
            self.missing += 1
        except OSError:
            self.unreadable += 1
        except binary.UnknownEncoding:
            self.undecoded += 1
        await self._session.room()

    async def _answer_from(self, descriptor: int, number: int, message: items.Message, *, changed: bool) -> None:
        """Answer with the message open."""
        message.status = status = os.fstat(descriptor)
        large = status.st_size > streaming.LARGE
        message.source = (await self._large(descriptor, status) if large
                          else await self._small_source(descriptor, status))
        if (large and self._structures) or (self.summarizes and status.st_size > SLOW):
            await self._session.worker.run(self._learn, message, message.source, status)
        elif self.summarizes:
            self._learn(message, message.source, status)
        said = b"* %d FETCH (" % number
        parts: list[bytes] = []
        for item in self._items:
            if large and item.whole:
                said += b" ".join([*parts, item.label + b" "])
                await streaming.send(self._session, descriptor, said)
                said, parts = b" ", []
            elif large and item.name.startswith("BINARY"):  # decoding it takes its time, too
                parts += await self._session.worker.run(item.said, [message])
            else:
                parts += item.said([message])
        if changed:
            parts += self._news(message)
        self._session.connection.write((said if parts else b"") + b" ".join(parts) + b")\r\n")

    def _learn(self, message: items.Message, source: section.Source, status: os.stat_result) -> None:
        """Make the record of a message that was opened, unless there is one that is as good."""
        known, entry = message.record, message.entry
        if known is None or (self._structures and known.envelope is None):
            of = summary.of if self._structures else summary.of_header
            message.record = of(source, entry.base, status.st_mtime)
            if summary.is_complete(entry.size, status, time.time()):
                self.fresh.append(message.record)

    def _news(self, message: items.Message) -> list[bytes]:
        """What a client must know of a message whose flags changed, and did not ask for."""
        said = [] if self._flags_asked else [b"FLAGS (" + self._view.flags(message.entry).encode() + b")"]
        if self._session.condstore and not self._modseq_asked:
            said.append(b"MODSEQ (%d)" % message.entry.modseq)
        return said

    async def _small_source(self, descriptor: int, status: os.stat_result) -> section.Source:
        """A message of which parts are asked for stays in memory, parsed, for the next of its parts."""
        if not self._parts:
            return section.Source(fd=descriptor, size=status.st_size)
        known, key = self._session.worker.held_small, held.key_of(status)
        source = known.get(key)
        if source is None:
            source = section.Source(fd=descriptor, size=status.st_size)
            if status.st_size > SLOW:
                await self._session.worker.run(_digest, source)
            else:
                _digest(source)
            known.put(key, source, status.st_size)
        return source

    async def _large(self, descriptor: int, status: os.stat_result) -> section.Source:
        """A large message is read and parsed in a thread, and kept for the next piece of it."""
        if all(item.whole or item.cut is None for item in self._items) and not self._structures:
            return section.Source(fd=descriptor)
        known, key = self._session.worker.held, held.key_of(status)
        source = known.get(key)
        if source is None:
            source = section.Source(fd=descriptor)
            await self._session.worker.run(_digest, source)
            known.put(key, source, status.st_size)
        return source

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


def _digest(source: section.Source) -> None:
    """Read the message and find its parts, which the source remembers."""
    _ = source.data, source.tree
