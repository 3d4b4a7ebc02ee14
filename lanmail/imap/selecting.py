"""SELECT, EXAMINE, UNSELECT, CLOSE (RFC 3501 §6.3.1, §6.3.2, §6.4.2; RFC 3691)."""

from dataclasses import dataclass

from lanmail import changes, objectids
from lanmail.imap import box, mailbox, parser, rights
from lanmail.imap.session import No, Session, State


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: bytes


def parse(cursor: parser.Cursor) -> Select:
    cursor.space()
    return Select(cursor.astring())


async def select(session: Session, arguments: Select) -> str:
    return await _open(session, arguments, read_only=False)


async def examine(session: Session, arguments: Select) -> str:
    return await _open(session, arguments, read_only=True)


async def _open(session: Session, arguments: Select, *, read_only: bool) -> str:
    # RFC 3501 §6.3.1: a SELECT that fails leaves nothing selected
    session.unselect()
    name = session.home.existing(arguments.mailbox, "r")
    try:
        found = await session.worker.open_box(session.home, name)
        may = session.home.rights(name)
        # RFC 4314 §5.2: who may change nothing gets the mailbox read-only
        view = mailbox.View(found, name, read_only=read_only or not may & set("istwe"))
        view.uids = view.uids[:0]
        try:
            await view.claim()
        except BaseException:
            view.close()
            raise
    except box.Gone:
        raise No("No such mailbox.", "NONEXISTENT") from None
    view.begin()
    session.selected = view
    session.state = State.SELECTED
    _describe(session, view, may)
    how = "[READ-ONLY]" if view.read_only else "[READ-WRITE]"
    return f"{how} {'EXAMINE' if read_only else 'SELECT'} completed."


def _describe(session: Session, view: mailbox.View, may: frozenset[str]) -> None:
    snapshot = view.box.now
    flags = " ".join((*mailbox.SYSTEM_FLAGS, *snapshot.keywords.names))
    session.untagged(f"FLAGS ({flags})")
    if view.read_only:
        session.untagged("OK [PERMANENTFLAGS ()] Read-only mailbox.")
    else:
        lasting = list(rights.permitted(may, flags.split(" ")))
        if "w" in may and len(snapshot.keywords.names) < session.worker.limits.max_keywords:
            lasting.append("\\*")
        session.untagged(f"OK [PERMANENTFLAGS ({' '.join(lasting)})] Flags permitted.")
    session.untagged(b"%d EXISTS" % len(view.uids))
    session.untagged(b"%d RECENT" % len(view.recent))
    first = view.box.unseen()[1]
    if first and view.number(first):
        session.untagged(f"OK [UNSEEN {view.number(first)}] First unseen.")
    session.untagged(f"OK [UIDVALIDITY {snapshot.uidvalidity}] UIDs valid.")
    session.untagged(f"OK [UIDNEXT {snapshot.uidnext}] Predicted next UID.")
    session.untagged(f"OK [MAILBOXID ({objectids.of_folder(snapshot.guid)})] Lasting id.")


async def unselect(session: Session, _arguments: None) -> str:
    session.unselect()
    return ""


async def close(session: Session, _arguments: None) -> str:
    """Like UNSELECT, after removing what is marked \\Deleted, silently and only if that is permitted."""
    view = session.view
    if not view.read_only and "e" in rights.here(session):
        await session.look()
        doomed = [uid for uid in view.uids if uid in view.box.messages and "T" in view.box.messages[uid].letters]
        if doomed:
            await view.box.change(changes.expunge, doomed, many=len(doomed) > box.MANY)
    session.unselect()
    return ""
