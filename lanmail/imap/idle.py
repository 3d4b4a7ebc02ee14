"""IDLE (RFC 2177), and what NOTIFY makes of the time between two commands (RFC 5465): what happens is said at once."""

from collections.abc import Callable

from lanmail import log
from lanmail.imap import notices, wire
from lanmail.imap.session import Bad, Session

MAX_LINE = 8192


async def idle(session: Session, _arguments: None) -> str:
    """DONE and the next commands may come in one packet with IDLE, as iOS 18 writes them."""
    connection = session.connection
    connection.write(b"+ idling\r\n")
    connection.interruptible = True
    try:
        await listen(session, expunges=True)
        line = await connection.line(MAX_LINE, session.timeout)
    except wire.TooLong:
        session.bye("DONE expected.")
        raise Bad("DONE expected.") from None
    finally:
        connection.interruptible = False
    if line.strip().upper() != b"DONE":
        raise Bad("DONE expected.")
    return ""


async def listen(session: Session, *, expunges: bool) -> None:
    """Say what happens until the client says something."""
    connection = session.connection
    _attend(session, connection.wake)
    try:
        while not connection.pending:
            _begin(session)  # before the look: what happens during it may be too late for it
            if session.selected is not None and (session.wants("MESSAGENEW") or session.wants("FLAGCHANGE")):
                await session.look()
                await session.report(expunges=expunges)
            if session.notices is not None:
                await _tell(session)
            if connection.full:
                await session.room()
            if not connection.pending and not _is_news(session):
                await connection.activity(session.timeout)
    finally:
        _attend(session, None)


def _attend(session: Session, callback: Callable[[], None] | None) -> None:
    if session.selected is not None:
        session.selected.attend(callback)
    if session.notices is not None:
        session.notices.attend(callback)


def _begin(session: Session) -> None:
    for one in (session.selected, session.notices):
        if one is not None:
            one.news = False


def _is_news(session: Session) -> bool:
    return any(one is not None and one.news for one in (session.selected, session.notices))


async def _tell(session: Session) -> None:
    """News of other mailboxes. When that is too much the client is told so, and then nothing more (RFC 5465 §5.8)."""
    assert session.notices is not None
    try:
        await session.notices.tell()
    except notices.Overflow as overflow:
        session.untagged(f"OK [NOTIFICATIONOVERFLOW] Nothing is told any more: {overflow}.")
        session.heed(notices.Notices(session, ()))
    except OSError as error:
        log.event("imap-failed", command="NOTIFY", account=session.account and session.account.name, error=str(error))
