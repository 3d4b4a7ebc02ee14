"""EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1, RFC 7162 §3.2.7). `View.report` says what is gone."""

from collections.abc import Set

from lanmail.folders import changes
from lanmail.imap import box, parser, rights
from lanmail.imap.session import No, Session


async def expunge(session: Session, _arguments: None) -> str:
    await session.look()
    return await remove(session, list(session.view.box.messages)) + "EXPUNGE completed."


def parse_uid(cursor: parser.Cursor) -> parser.Set:
    cursor.space()
    return cursor.sequence_set()


async def uid_expunge(session: Session, arguments: parser.Set) -> str:
    return await remove(session, session.view.select(arguments, uid=True)) + "UID EXPUNGE completed."


async def remove(session: Session, candidates: list[int]) -> str:
    """Remove those that are marked \\Deleted; returns the response code with a blank, or nothing."""
    view = session.view
    if view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    rights.need(session, "e")
    messages = view.box.messages
    doomed = [uid for uid in candidates if uid in messages and "T" in messages[uid].letters]
    if not doomed:
        return ""
    await erase(session, doomed)
    await view.report(session, expunges=True, modseq=False)
    return highest(session)


async def erase(session: Session, doomed: list[int]) -> None:
    """Remove messages of the selected mailbox."""
    view = session.view
    octets = sum(entry.size or 0 for uid in doomed if (entry := view.box.messages.get(uid)))
    await view.box.change(changes.expunge, doomed, many=len(doomed) > box.MANY)
    session.worker.stored(session.home.place(view.name).owner, -octets, -len(doomed))


def highest(session: Session, removed: Set[int] = frozenset()) -> str:
    """The code that says up to where the client knows all, when it knows of all but that these are gone."""
    view = session.view
    if not session.condstore or not view.up_to_date(removed):
        return ""
    return f"[HIGHESTMODSEQ {view.box.modseq}] "
