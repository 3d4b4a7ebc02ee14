"""Folders made, renamed, removed, subscribed to (RFC 3501 §6.3.3–§6.3.7), made for a use (RFC 6154 §3)."""

from dataclasses import dataclass

from lanmail import maildir, specialuse, subscriptions
from lanmail.imap import copy, parser
from lanmail.imap.session import No, Session


@dataclass(frozen=True, slots=True)
class Name:
    mailbox: bytes


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: bytes
    uses: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    old: bytes
    new: bytes


def parse_name(cursor: parser.Cursor) -> Name:
    cursor.space()
    return Name(cursor.astring())


def parse_create(cursor: parser.Cursor) -> Create:
    """RFC 4466 §2.2: parameters in parentheses, of which USE (RFC 6154) is the one that there is."""
    name = parse_name(cursor).mailbox
    uses: tuple[bytes, ...] = ()
    if cursor.take(b" ("):
        if cursor.word() != "USE":
            cursor.fail("USE")
        cursor.space()
        uses = tuple(cursor.flags())
        cursor.expect(b")")
    return Create(name, uses)


def parse_rename(cursor: parser.Cursor) -> Rename:
    cursor.space()
    old = cursor.astring()
    cursor.space()
    return Rename(old, cursor.astring())


async def create(session: Session, arguments: Create) -> str:
    # RFC 3501 §6.3.3: a separator at the end only says that names below are intended
    raw = arguments.mailbox
    name = session.home.folder(raw[:-1] if raw.endswith(b".") and len(raw) > 1 else raw)
    if name == "INBOX":
        raise No("INBOX exists always.", "ALREADYEXISTS")
    try:
        await session.worker.run(maildir.create, session.home.root, name, _uses(arguments.uses))
    except FileExistsError:
        raise No("The mailbox exists already.", "ALREADYEXISTS") from None
    except specialuse.Taken:
        raise No("Another mailbox is used for that.", "USEATTR") from None
    return ""


def _uses(raw: tuple[bytes, ...]) -> list[str]:
    """The attributes as we write them."""
    known = {attribute.lower(): attribute for attribute in specialuse.ATTRIBUTES}
    found = [known.get(one.decode("ascii").lower()) for one in raw]
    if None in found:
        raise No("No mailbox is used for that here.", "USEATTR")
    return [attribute for attribute in found if attribute]


async def delete(session: Session, arguments: Name) -> str:
    name = session.home.existing(arguments.mailbox)
    if name == "INBOX":
        raise No("INBOX cannot be deleted.", "CANNOT")
    path = session.home.path(name)
    if session.selected is not None and session.selected.box.path == path:
        session.unselect()
    try:
        await session.worker.run(maildir.delete, session.home.root, name)
    except FileNotFoundError:
        raise No("No such mailbox.", "NONEXISTENT") from None
    _forget(session, path)
    return ""


async def rename(session: Session, arguments: Rename) -> str:
    home = session.home
    old, new = home.folder(arguments.old), home.plain(arguments.new)
    if new == "INBOX" or home.exists(new):
        raise No("The new name exists already.", "ALREADYEXISTS")
    if old == "INBOX":
        return await _rename_inbox(session, new)
    selected = session.selected.box.path if session.selected is not None else ""
    try:
        pairs = await session.worker.run(maildir.rename, home.root, old, new)
    except FileExistsError:
        raise No("A mailbox with the new name exists already.", "ALREADYEXISTS") from None
    except FileNotFoundError:
        raise No("No such mailbox.", "NONEXISTENT") from None
    except ValueError as error:
        raise No(f"{str(error).capitalize()}.", "CANNOT") from None
    for before, _ in pairs:
        path = home.path(before)
        if path == selected:
            session.unselect()
        _forget(session, path)
    return ""


async def _rename_inbox(session: Session, new: str) -> str:
    """RFC 3501 §6.3.5: the messages move to the new mailbox, INBOX stays and is empty."""
    home = session.home
    await session.worker.run(maildir.create, home.root, new)
    source, target = await session.worker.open_box(home, "INBOX"), await session.worker.open_box(home, new)
    uids = list(source.uids)
    if uids:
        await session.worker.run(copy.transfer, source.folder, target.folder, uids, True, True)
    return ""


def _forget(session: Session, path: str) -> None:
    """Whoever has a folder selected that is no more hears of it at once."""
    found = session.worker.opened(path)
    if found is not None:
        found.die()


async def subscribe(session: Session, arguments: Name) -> str:
    """RFC 3501 §6.3.6 lets us check that the mailbox exists; a typing error is told rather than kept."""
    name = session.home.existing(arguments.mailbox)
    await session.worker.run(subscriptions.add, session.home.root, name)
    return ""


async def unsubscribe(session: Session, arguments: Name) -> str:
    name = session.home.folder(arguments.mailbox)
    await session.worker.run(subscriptions.remove, session.home.root, name)
    return ""


