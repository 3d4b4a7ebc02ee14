"""SELECT, EXAMINE, UNSELECT, CLOSE (RFC 3501 §6.3.1, §6.3.2, §6.4.2; RFC 3691; RFC 7162 §3.1.8, §3.2.5)."""

from dataclasses import dataclass

from lanmail.folders import objectids
from lanmail.imap import box, expunge, mailbox, parser, quotas, resync, rights
from lanmail.imap.session import Bad, No, Session, State


@dataclass(frozen=True, slots=True)
class Resync:
    """What the client knows: RFC 7162 §3.2.5; `match` are pairs of numbers and UIDs that it thinks belong together."""

    uidvalidity: int
    modseq: int
    known: parser.Set | None
    match: tuple[parser.Set, parser.Set] | None


@dataclass(frozen=True, slots=True)
class Select:
    mailbox: bytes
    condstore: bool = False
    resync: Resync | None = None


def parse(cursor: parser.Cursor) -> Select:
    cursor.space()
    name = cursor.astring()
    return _parameters(cursor, name) if cursor.take(b" (") else Select(name)


def _parameters(cursor: parser.Cursor, name: bytes) -> Select:
    """RFC 4466 §2.1: a list, each parameter once."""
    condstore, known = False, None
    while True:
        word = cursor.word()
        if word == "CONDSTORE" and not condstore:
            condstore = True
        elif word == "QRESYNC" and known is None:
            known = _resync(cursor)
        else:
            cursor.fail("CONDSTORE or QRESYNC")
        if cursor.take(b")"):
            return Select(name, condstore, known)
        cursor.space()


def _resync(cursor: parser.Cursor) -> Resync:
    cursor.expect(b" (")
    uidvalidity = cursor.number()
    cursor.space()
    modseq = cursor.modseq()
    known, match = None, None
    if cursor.peek(b" ") and not cursor.peek(b" ("):
        cursor.space()
        known = _plain_set(cursor)
    if cursor.take(b" ("):
        numbers = _plain_set(cursor)
        cursor.space()
        match = numbers, _plain_set(cursor)
        cursor.expect(b")")
    cursor.expect(b")")
    return Resync(uidvalidity, modseq, known, match)


def _plain_set(cursor: parser.Cursor) -> parser.Set:
    """RFC 7162 §7: `*` is not allowed here."""
    found = cursor.sequence_set()
    if parser.has_saved(found) or any(0 in pair for pair in found):
        cursor.fail("a set of numbers")
    return found


async def select(session: Session, arguments: Select) -> str:
    return await _open(session, arguments, read_only=False)


async def examine(session: Session, arguments: Select) -> str:
    return await _open(session, arguments, read_only=True)


async def _open(session: Session, arguments: Select, *, read_only: bool) -> str:
    if arguments.resync is not None and not session.qresync:
        raise Bad("QRESYNC needs ENABLE QRESYNC.")  # RFC 7162 §3.2.5
    if session.selected is not None:
        session.untagged("OK [CLOSED] Previous mailbox closed.")  # RFC 7162 §3.2.11
    # RFC 3501 §6.3.1: a SELECT that fails leaves nothing selected
    session.unselect()
    if arguments.condstore:
        session.enable("CONDSTORE")
    name = session.home.existing(arguments.mailbox, "r")
    try:
        found = await session.worker.open_box(session.home, name)
        may = session.home.rights(name)
        # RFC 4314 §5.2: who may change nothing gets the mailbox read-only
        view = mailbox.View(found, name, read_only=read_only or not may & set("istwe"), enabled=session.enabled)
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
    if arguments.resync is not None and arguments.resync.uidvalidity == view.uidvalidity:
        await _catch_up(session, arguments.resync)
    quotas.look(session, session.home.place(name).owner)
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
    first = view.box.first_unseen()
    if first and view.number(first):
        session.untagged(f"OK [UNSEEN {view.number(first)}] First unseen.")
    session.untagged(f"OK [UIDVALIDITY {snapshot.uidvalidity}] UIDs valid.")
    session.untagged(f"OK [UIDNEXT {snapshot.uidnext}] Predicted next UID.")
    session.untagged(f"OK [MAILBOXID ({objectids.of_folder(snapshot.guid)})] Lasting id.")
    # always, and never NOMODSEQ: all folders have mod-sequences (RFC 7162 §3.1.2)
    session.untagged(f"OK [HIGHESTMODSEQ {view.known}] Highest.")


async def _catch_up(session: Session, client: Resync) -> None:
    """RFC 7162 §3.2.5.1: who names no UIDs may know all."""
    view = session.view
    known = parser.resolve(client.known, 0) if client.known is not None else ((1, view.box.now.uidnext - 1),)
    resync.vanished(session, client.modseq, resync.unmatched(
        view, known, *(parser.resolve(one, 0) for one in client.match)) if client.match else known)
    await resync.changes(session, client.modseq, known)


async def unselect(session: Session, _arguments: None) -> str:
    session.unselect()
    return ""


async def close(session: Session, _arguments: None) -> str:
    """Like UNSELECT, after removing what is marked \\Deleted, silently and only if that is permitted."""
    view, code = session.view, ""
    if not view.read_only and "e" in rights.here(session):
        await session.look()
        doomed = [uid for uid in view.uids if uid in view.box.messages and "T" in view.box.messages[uid].letters]
        if doomed:
            if session.condstore:
                await session.report(expunges=True)  # the number below may only cover what was told
            await expunge.erase(session, doomed)
            code = expunge.highest(session, set(doomed))
    session.unselect()
    return f"{code}CLOSE completed."
