"""Commands: read one with its literals, look it up, run it, answer; until the session is over.

The table at the end names for each command the states it is allowed in, the function that reads its arguments, the
function that runs it, and what may be said about the mailbox before its tagged answer.
"""

import enum
import errno
import functools
import re
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from lanmail import errors, log
from lanmail.imap import (
    access,
    annotations,
    append,
    box,
    capabilities,
    copy,
    expunge,
    fetch,
    folders,
    idle,
    listing,
    login,
    notifying,
    ordering,
    parser,
    quotas,
    replacing,
    searching,
    selecting,
    status,
    store,
    wire,
)
from lanmail.imap.session import ANY, INSIDE, Bad, No, Session, State

IS_ID = re.compile(rb"[^ ]+ ID ", re.IGNORECASE)
MAX_ID = 48 * 1024  # RFC 2971 §3.3: thirty fields of up to 30 and 1,024 octets, even before log-in
MAX_BAD_BEFORE_LOGIN = 10
MAX_BAD = 50
CONSENT = b"+ OK\r\n"
GONE = "[UNAVAILABLE] The selected mailbox is no more, select another."


class Report(enum.Enum):
    """What may be said about the selected mailbox when a command is done (RFC 3501 §7.4.1)."""

    ALL = enum.auto()
    NO_EXPUNGES = enum.auto()  # the client may already have sent sequence numbers that an EXPUNGE would shift
    NOTHING = enum.auto()


class Command(NamedTuple):
    states: State
    parse: Callable[[parser.Cursor], Any]
    run: Callable[[Session, Any], Awaitable[str]]
    report: Report = Report.ALL


class _Refused(Exception):
    """A command that could not be read whole; `kind` and `text` are the answer."""

    def __init__(self, tag: bytes, kind: str, text: str) -> None:
        super().__init__()
        self.tag, self.kind, self.text = tag, kind, text


async def serve(session: Session) -> None:
    """The whole session, from the greeting to the hang-up. Raises wire.Closed when the client went away."""
    session.untagged(f"OK [CAPABILITY {capabilities.text(session)}] lanmail ready.")
    while session.state is not State.OVER:
        try:
            await _one(session, await _read(session))
        except _Refused as refused:
            _bad(session)
            session.tagged(refused.tag, refused.kind, refused.text)
        except box.Gone:
            session.bye(GONE)
        except wire.TimedOut:
            session.bye("Too long without a command." if session.state is not State.FRESH else "Too slow to log in.")
        except wire.Interrupted as interrupted:
            session.bye(str(interrupted))


async def _read(session: Session) -> bytes:
    """The text of the next command with its literals; for APPEND up to the marker of the message."""
    connection, limits = session.connection, session.worker.limits
    fresh = session.state is State.FRESH
    room = limits.max_line_before_login if fresh else limits.max_command
    literal_room = min(room, limits.max_literal_before_login) if fresh else room
    text = bytearray()
    while True:
        try:
            connection.interruptible = not text
            if session.notices is not None and not text:
                await idle.listen(session, expunges=session.notices.immediate)
            line = await connection.line(room - len(text), session.timeout)
        except wire.TooLong as long:
            tag = _tag(bytes(text) or long.start)
            if not text and room < MAX_ID and IS_ID.match(long.start):
                room = MAX_ID
                continue
            if fresh:
                session.bye("Command line too long.")
                raise _Refused(tag, "BAD", "Command line too long.") from None
            await connection.skip_line(session.timeout)
            raise _Refused(tag, "BAD", "Command too long.") from None
        finally:
            connection.interruptible = False
        text += line
        literal = parser.marker(line)
        if literal is None or (not fresh and append.message_follows(text)):
            return bytes(text)
        size, waits = literal
        if size > literal_room or len(text) + size > room:
            await _swallow(session, bytes(text), size, waits)
        if waits:
            connection.write(CONSENT)
        text += b"\r\n"
        text += await connection.exactly(size, session.timeout)


async def _swallow(session: Session, text: bytes, size: int, waits: bool) -> None:
    """Refuse a literal that is too large; one that comes unasked (RFC 7888) is read and forgotten, within reason."""
    tag = _tag(text)
    if not waits:
        if session.state is State.FRESH or size > append.swallow_limit(session):
            session.bye("[TOOBIG] Literal too large.")
        else:
            await append.swallow(session, size)
    raise _Refused(tag, "BAD", "[TOOBIG] Literal too large.")


async def _one(session: Session, text: bytes) -> None:
    """Run one command and say its tagged answer."""
    cursor = parser.Cursor(text)
    tag = b"*"
    try:
        session.tag = tag = cursor.tag()
        cursor.space()
        verb = cursor.word()
        if verb == "UID":
            cursor.space()
            verb = f"UID {cursor.word()}"
        command = TABLE.get(verb)
        if command is None:
            raise Bad("Unknown command.")
        if not command.states & session.state:
            raise Bad(f"{verb} is not possible in this state.")
        arguments = command.parse(cursor)
        cursor.end()
    except (parser.ParseError, Bad) as problem:
        _bad(session)
        if session.state is not State.FRESH:
            await append.swallow_announced(session, text)
        if text.strip():
            session.tagged(tag, "BAD", f"{problem}".rstrip(".") + ".")
        return
    session.bad_commands = 0
    try:
        kind, answer = await _run(session, verb, command, arguments)
    except login.Upgrade as upgrade:
        session.tagged(tag, "OK", "Begin TLS now.")
        await session.connection.start_tls(upgrade.context, session.timeout)
        return
    except box.Gone:
        session.bye(GONE)
        return
    session.tagged(tag, kind, answer)


async def _run(session: Session, verb: str, command: Command, arguments: Any) -> tuple[str, str]:
    kind, answer = "OK", ""
    try:
        if verb.startswith("UID "):
            # a UID may have been learned in another session: what is new must be known before it is used
            await session.look()
            await session.report(expunges=True)
        answer = await command.run(session, arguments)
        if session.notices is not None and verb in NAMING:
            await session.notices.did(verb, arguments)
    except No as refusal:
        kind, answer = "NO", f"[{refusal.code}] {refusal.text}" if refusal.code else refusal.text
    except Bad as problem:
        kind, answer = "BAD", str(problem)
    except (wire.Closed, wire.Interrupted, login.Upgrade, box.Gone):
        raise
    except errors.MailError as error:
        kind, answer = "NO", f"[UNAVAILABLE] {error.text}"
    except OSError as error:
        kind, answer = "NO", _os_error(error)
        log.event("imap-failed", command=verb, account=session.account and session.account.name, error=str(error))
    except Exception as error:  # the one place: a bug costs the client this command, not the mailbox
        log.crashed(error=repr(error), where=traceback.format_exc())
        kind, answer = "NO", "[SERVERBUG] Internal error, see the server's log."
    if command.report is not Report.NOTHING and session.selected is not None:
        await session.look()
        await session.report(expunges=command.report is Report.ALL)
    return kind, answer or f"{verb} completed."


def _os_error(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "[OVERQUOTA] No space left."
    return "[UNAVAILABLE] The mailbox cannot be used now."


def _bad(session: Session) -> None:
    session.bad_commands += 1
    if session.bad_commands >= (MAX_BAD_BEFORE_LOGIN if session.state is State.FRESH else MAX_BAD):
        session.bye("Too many bad commands.")


def _tag(text: bytes) -> bytes:
    found = parser.TAG.match(text)
    return found.group()[:64] if found else b"*"


def _nothing(_cursor: parser.Cursor) -> None:
    return None


async def _noop(_session: Session, _arguments: None) -> str:
    return ""


NAMING = frozenset({"CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "SETMETADATA"})  # what others hear of

TABLE: dict[str, Command] = {
    "CAPABILITY": Command(ANY, _nothing, login.capability),
    "NOOP": Command(ANY, _nothing, _noop),
    "ID": Command(ANY, login.parse_id, login.identify),
    "LOGOUT": Command(ANY, _nothing, login.logout, Report.NOTHING),
    "STARTTLS": Command(State.FRESH, _nothing, login.starttls),
    "LOGIN": Command(State.FRESH, login.parse_login, login.login),
    "AUTHENTICATE": Command(State.FRESH, login.parse_authenticate, login.authenticate),
    "ENABLE": Command(INSIDE, login.parse_enable, login.enable),
    "SELECT": Command(INSIDE, selecting.parse, selecting.select, Report.NOTHING),
    "EXAMINE": Command(INSIDE, selecting.parse, selecting.examine, Report.NOTHING),
    "UNSELECT": Command(State.SELECTED, _nothing, selecting.unselect, Report.NOTHING),
    "CLOSE": Command(State.SELECTED, _nothing, selecting.close, Report.NOTHING),
    "CHECK": Command(State.SELECTED, _nothing, _noop),
    "NAMESPACE": Command(INSIDE, _nothing, listing.namespace),
    "LIST": Command(INSIDE, listing.parse_list, listing.list_),
    "LSUB": Command(INSIDE, listing.parse_lsub, listing.lsub),
    "CREATE": Command(INSIDE, folders.parse_create, folders.create),
    "DELETE": Command(INSIDE, folders.parse_name, folders.delete),
    "RENAME": Command(INSIDE, folders.parse_rename, folders.rename),
    "GETMETADATA": Command(INSIDE, annotations.parse_get, annotations.get),
    "SETMETADATA": Command(INSIDE, annotations.parse_set, annotations.set_),
    "GETQUOTA": Command(INSIDE, quotas.parse, quotas.get),
    "GETQUOTAROOT": Command(INSIDE, quotas.parse, quotas.of_mailbox),
    "SETQUOTA": Command(INSIDE, quotas.parse_set, quotas.set_),
    "GETACL": Command(INSIDE, access.parse_mailbox, access.get),
    "SETACL": Command(INSIDE, access.parse_set, access.set_),
    "DELETEACL": Command(INSIDE, access.parse_identifier, access.delete),
    "LISTRIGHTS": Command(INSIDE, access.parse_identifier, access.list_),
    "MYRIGHTS": Command(INSIDE, access.parse_mailbox, access.mine),
    "SUBSCRIBE": Command(INSIDE, folders.parse_name, folders.subscribe),
    "UNSUBSCRIBE": Command(INSIDE, folders.parse_name, folders.unsubscribe),
    "STATUS": Command(INSIDE, status.parse, status.status),
    "APPEND": Command(INSIDE, append.parse, append.append),
    "IDLE": Command(INSIDE, _nothing, idle.idle),
    "NOTIFY": Command(INSIDE, notifying.parse, notifying.notify),
    "FETCH": Command(State.SELECTED, fetch.parse, fetch.fetch, Report.NO_EXPUNGES),
    "STORE": Command(State.SELECTED, store.parse, store.store, Report.NO_EXPUNGES),
    "SEARCH": Command(State.SELECTED, searching.parse, searching.run, Report.NO_EXPUNGES),
    "SORT": Command(State.SELECTED, ordering.parse_sort, ordering.sort, Report.NO_EXPUNGES),
    "THREAD": Command(State.SELECTED, ordering.parse_thread, ordering.thread, Report.NO_EXPUNGES),
    "COPY": Command(State.SELECTED, copy.parse, copy.copy),
    "MOVE": Command(State.SELECTED, copy.parse, copy.move),
    "EXPUNGE": Command(State.SELECTED, _nothing, expunge.expunge),
    "UID FETCH": Command(State.SELECTED, functools.partial(fetch.parse, uid=True), fetch.fetch),
    "UID STORE": Command(State.SELECTED, functools.partial(store.parse, uid=True), store.store),
    "UID SEARCH": Command(State.SELECTED, functools.partial(searching.parse, uid=True), searching.run),
    "UID SORT": Command(State.SELECTED, functools.partial(ordering.parse_sort, uid=True), ordering.sort),
    "UID THREAD": Command(State.SELECTED, functools.partial(ordering.parse_thread, uid=True), ordering.thread),
    "UID COPY": Command(State.SELECTED, functools.partial(copy.parse, uid=True), copy.copy),
    "UID MOVE": Command(State.SELECTED, functools.partial(copy.parse, uid=True), copy.move),
    "REPLACE": Command(State.SELECTED, replacing.parse, replacing.replace),
    "UID REPLACE": Command(State.SELECTED, functools.partial(replacing.parse, uid=True), replacing.replace),
    "UID EXPUNGE": Command(State.SELECTED, expunge.parse_uid, expunge.uid_expunge),
}
