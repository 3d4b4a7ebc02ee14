"""EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1). The untagged answers are said by `View.report`."""

from lanmail import changes
from lanmail.imap import box, parser, rights
from lanmail.imap.session import No, Session


async def expunge(session: Session, _arguments: None) -> str:
    await session.look()
    await remove(session, list(session.view.box.messages))
    return ""


def parse_uid(cursor: parser.Cursor) -> parser.Set:
    cursor.space()
    return cursor.sequence_set()


async def uid_expunge(session: Session, arguments: parser.Set) -> str:
    await remove(session, session.view.select(arguments, uid=True))
    return ""


async def remove(session: Session, candidates: list[int]) -> None:
    """Remove those that are marked \\Deleted."""
    view = session.view
    if view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    rights.need(session, "e")
    messages = view.box.messages
    doomed = [uid for uid in candidates if uid in messages and "T" in messages[uid].letters]
    if doomed:
        await view.box.change(changes.expunge, doomed, many=len(doomed) > box.MANY)
