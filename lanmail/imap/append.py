"""APPEND: store a message (RFC 3501 §6.3.11), also several at once (RFC 3502), with APPENDUID (RFC 4315 §3).

A literal8 may hold NUL and parts that are binary (RFC 3516 §4.4), and its headers UTF-8 (RFC 6855 §4).

The message goes from the socket into tmp/ piece by piece, its line ends made LF; it gets its name and its UID when
all is there and on disk. A connection that breaks off leaves nothing. Several messages are stored all or none.
"""

import contextlib
import functools
import os
import re
from dataclasses import dataclass, field

from lanmail import atomic, errors, maildir, sequenceset
from lanmail.folders import changes, keywords
from lanmail.imap import binary, dates, destination, filling, parser, quotas, section, store, wire
from lanmail.imap.session import Bad, No, Session

MAX_MESSAGES = 1000
UTF8 = b"UTF8 ("
PIECE = 1 << 18
_COMMAND = rb"[^ ]+ +(?:APPEND|(?:UID +)?REPLACE +[^ ]+) +"
_MAILBOX_LITERAL = re.compile(_COMMAND + rb"\{\d+\+?\}\Z", re.IGNORECASE)
_APPEND = re.compile(_COMMAND, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """What stands before a message: flags and date, then the literal's size and whether it waits for our consent."""

    flags: tuple[str, ...]
    date: float | None
    size: int
    waits: bool
    binary: bool = False
    closes: bytes = b""  # what follows the literal


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: bytes
    first: Message


def message_follows(text: bytes | bytearray) -> bool:
    """Whether the literal that this text announces is a message, which is not read into memory."""
    return _APPEND.match(text) is not None and _MAILBOX_LITERAL.match(text) is None


def swallow_limit(session: Session) -> int:
    """How much of an unasked literal is read just to throw it away; more ends the connection (RFC 7888 §4)."""
    return 2 * session.worker.limits.max_append


async def swallow_announced(session: Session, text: bytes) -> None:
    """A message that comes unasked behind a command that is refused: its lines must not be taken for commands."""
    literal = parser.marker(text)
    if literal is not None and message_follows(text):
        await refuse(session, Message((), None, *literal))


async def swallow(session: Session, size: int) -> None:
    """Read a literal, and whatever follows it to the end of the command, and forget it all."""
    connection = session.connection
    while True:
        await connection.skip(size, session.timeout)
        try:
            line = await connection.line(session.worker.limits.max_command, session.timeout)
        except wire.TooLong:
            await connection.skip_line(session.timeout)
            return
        literal = parser.marker(line)
        if literal is None or literal[1]:
            return
        size = literal[0]
        if size > swallow_limit(session):
            session.bye("[TOOBIG] Literal too large.")
            return


def parse(cursor: parser.Cursor) -> Append:
    cursor.space()
    mailbox = cursor.astring()
    cursor.space()
    return Append(mailbox, _message(cursor))


def _message(cursor: parser.Cursor) -> Message:
    flags: tuple[str, ...] = ()
    date = None
    if cursor.peek(b"("):
        flags = store.flag_names(cursor, cursor.flags(), drop_recent=True)
        cursor.space()
    if cursor.peek(b'"'):
        date = dates.date_time(cursor)
        cursor.space()
    closes = b""
    if cursor.text[cursor.position : cursor.position + len(UTF8)].upper() == UTF8:
        cursor.position += len(UTF8)
        closes = b")"
    found = parser.MARKER.match(cursor.text, cursor.position)
    if found is None or (closes and not found.group(1)):
        cursor.fail("the message as a literal")
    cursor.position = len(cursor.text)
    return Message(flags, date, int(found.group(2)), not found.group(3), bool(found.group(1)), closes)


@dataclass(slots=True)
class _Batch:
    """The messages of one command on their way into a folder."""

    into: destination.Destination
    sources: list[changes.Source] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    @property
    def octets(self) -> int:
        """What the messages take on disk."""
        return sum(source.sizes[0] or 0 for source in self.sources)

    def drop(self) -> None:
        """Close the files, and remove those that are still in tmp/."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        for source in self.sources:
            with contextlib.suppress(OSError):
                os.unlink(source.path)


async def append(session: Session, arguments: Append) -> str:
    message = arguments.first
    async with announced(session, message):
        found = await destination.find(session, arguments.mailbox)
    uids = await take(session, found, message)
    return f"[APPENDUID {found.box.now.uidvalidity} {sequenceset.text(uids)}] APPEND completed."


async def take(session: Session, into: destination.Destination, message: Message,
               limit: int = MAX_MESSAGES) -> list[int]:
    """Take in the message that was announced, and those that follow it; their UIDs."""
    batch = _Batch(into)
    try:
        while True:
            async with announced(session, message):
                await _check(session, message, batch, limit)
                descriptor = _open(batch, message)
            await _receive(session, batch, message, descriptor)
            following = await _next(session, message.closes)
            if following is None:
                break
            message = following
        uids, octets = await _commit(session, batch), batch.octets
        batch.sources.clear()
    finally:
        batch.drop()
    session.stored(into.box, uids)
    filling.stored(into.box, uids)
    session.worker.stored(into.owner, octets, len(uids))
    return uids


class announced:
    """What is done before the message is read. When it fails, a message that comes all the same is thrown away."""

    __slots__ = ("_message", "_session")

    def __init__(self, session: Session, message: Message) -> None:
        self._session, self._message = session, message

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, _kind: object, problem: BaseException | None, _where: object) -> None:
        if isinstance(problem, (No, Bad, OSError, errors.MailError)):
            await refuse(self._session, self._message)


async def refuse(session: Session, message: Message) -> None:
    """A literal that the client sends without asking comes, whether we want it or not."""
    if not message.waits:
        if message.size > swallow_limit(session):
            session.bye("[TOOBIG] Message too large.")
        else:
            await swallow(session, message.size)


async def _check(session: Session, message: Message, batch: _Batch, limit: int) -> None:
    count = len(batch.sources)
    if message.size > session.worker.limits.max_append:
        raise No("Message too large.", "TOOBIG")
    if count >= limit:
        raise No("Too many messages at once.", "LIMIT")
    if not message.size:
        # RFC 3502 §6.3.11: an empty literal cancels the command
        raise No("An empty message is not stored.")
    await quotas.check(session, batch.into.owner, batch.octets + message.size, count + 1)


def _open(batch: _Batch, message: Message) -> int:
    """A new file in tmp/."""
    path = os.path.join(batch.into.box.path, "tmp", maildir.name_for(0, message.size))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o660)
    batch.descriptors.append(descriptor)
    batch.sources.append(changes.Source(path))
    return descriptor


async def _receive(session: Session, batch: _Batch, message: Message, descriptor: int) -> None:
    """Read the literal into the file, which is complete afterwards, but not yet flushed."""
    if message.waits:
        session.connection.write(b"+ OK\r\n")
    if message.binary:
        await _copy_raw(session, descriptor, message.size)
        sizes = await session.worker.run(_made_lines, descriptor)
    else:
        sizes = await _copy_in(session, descriptor, message.size)
    if message.date is not None:
        os.utime(descriptor, (message.date, message.date))
    path = batch.sources[-1].path
    name = maildir.name_for(*sizes, of=os.path.basename(path))
    batch.sources[-1] = changes.Source(path, batch.into.flags(message.flags), sizes, name=name)


async def _copy_in(session: Session, descriptor: int, size: int) -> tuple[int, int]:
    """Octets on disk, and octets on the wire when it is read again.

    NUL, which RFC 3501 §9 permits in no literal, becomes 0x80: refusing the message would stop a migration.
    """
    written = lines = 0
    left, held = size, b""
    while left:
        piece = await session.connection.some(min(left, PIECE), session.timeout)
        left -= len(piece)
        data = held + piece
        held = b"\r" if left and data.endswith(b"\r") else b""  # its LF may come with the next piece
        data = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\0", b"\x80")
        lines += data.count(b"\n")
        written += len(data)
        await _write(session, descriptor, data, left)
    return written, written + lines


async def _copy_raw(session: Session, descriptor: int, size: int) -> None:
    while size:
        piece = await session.connection.some(min(size, PIECE), session.timeout)
        size -= len(piece)
        await _write(session, descriptor, piece, size)


async def _write(session: Session, descriptor: int, data: bytes, left: int) -> None:
    """Write a piece; when that fails, what is left of the literal is still read, lest it be taken for commands."""
    try:
        atomic.write_all(descriptor, data)
    except OSError:
        await swallow(session, left)
        raise


def _made_lines(descriptor: int) -> tuple[int, int]:
    """In a thread: what was received becomes a message as Maildirs hold them; the sizes are those of `_copy_in`."""
    data = binary.as_lines(section.Source(fd=descriptor).data)
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    atomic.write_all(descriptor, data)
    return len(data), len(data) + data.count(b"\n")


async def _next(session: Session, closes: bytes) -> Message | None:
    """What follows the message: the end of the command, or the next message."""
    connection = session.connection
    try:
        line = await connection.line(session.worker.limits.max_command, session.timeout)
    except wire.TooLong:
        await connection.skip_line(session.timeout)
        raise Bad("Command too long.") from None
    if line == closes:
        return None
    cursor = parser.Cursor(line)
    try:
        cursor.expect(closes)
        cursor.space()
        return _message(cursor)
    except parser.ParseError as problem:
        literal = parser.marker(line)
        if literal is not None and not literal[1]:
            await refuse(session, Message((), None, *literal))
        raise Bad(f"{problem}.") from None


async def _commit(session: Session, batch: _Batch) -> list[int]:
    """Names and UIDs for the messages; all of it is on disk when this returns. The kernel joins the two flushes."""
    found = batch.into.box
    try:
        uids = await found.adopt(batch.sources)
    except keywords.TooMany as error:
        raise No(f"{error}.", "LIMIT") from error
    try:
        await session.worker.together(functools.partial(changes.secure, found.folder, batch.descriptors),
                                      found.folder.flush)
    except OSError:
        await found.change(changes.expunge, uids)  # what was not acknowledged must not stay
        raise
    return uids


