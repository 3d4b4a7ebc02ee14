"""IDLE (RFC 2177): what happens to the mailbox is said at once, until the client says DONE."""

from lanmail.imap import wire
from lanmail.imap.session import Bad, Session

MAX_LINE = 8192


async def idle(session: Session, _arguments: None) -> str:
    """DONE and the next commands may come in one packet with IDLE, as iOS 18 writes them."""
    connection = session.connection
    connection.write(b"+ idling\r\n")
    if session.selected is not None:
        session.selected.attend(connection.wake)
    connection.interruptible = True
    try:
        while not connection.pending:
            if session.selected is not None:
                session.selected.news = False  # before the look: what happens during it may be too late for it
            await session.look()
            await session.report(expunges=True)
            if connection.full:
                await session.room()
            if not connection.pending and not (session.selected is not None and session.selected.news):
                await connection.activity(session.timeout)
        line = await connection.line(MAX_LINE, session.timeout)
    except wire.TooLong:
        session.bye("DONE expected.")
        raise Bad("DONE expected.") from None
    finally:
        connection.interruptible = False
        if session.selected is not None:
            session.selected.attend(None)
    if line.strip().upper() != b"DONE":
        raise Bad("DONE expected.")
    return ""
