"""Folders made, renamed, removed, subscribed to (RFC 3501 §6.3.3–§6.3.7), made for a use (RFC 6154 §3)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from lanmail import maildir, mutf7
from lanmail.folders import acl, objectids, quota, specialuse, subscriptions
from lanmail.imap import box, copy, names, parser, quotas
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
    home = session.home
    name = home.folder(raw[:-1] if raw.endswith(b".") and len(raw) > 1 else raw)
    if name == "INBOX":
        raise No("INBOX exists always.", "ALREADYEXISTS")
    if home.exists(name) and "l" in home.rights(name):
        raise No("The mailbox exists already.", "ALREADYEXISTS")
    _may_create(session, name)
    uses = _uses(arguments.uses)
    if uses and home.is_foreign(name):
        raise No("Only own mailboxes are used for that.", "USEATTR")
    try:
        await session.worker.run(_create, session, name, uses)
    except FileExistsError:
        raise No("The mailbox exists already.", "ALREADYEXISTS") from None
    except specialuse.Taken:
        raise No("Another mailbox is used for that.", "USEATTR") from None
    try:
        made = await session.worker.open_box(home, name)
    except box.Gone:
        return ""
    return f"[MAILBOXID ({objectids.of_folder(made.now.guid)})] CREATE completed."  # RFC 8474 §4.1


def _uses(raw: tuple[bytes, ...]) -> list[str]:
    """The attributes as we write them."""
    known = {attribute.lower(): attribute for attribute in specialuse.ATTRIBUTES}
    found = [known.get(one.decode("ascii").lower()) for one in raw]
    if None in found:
        raise No("No mailbox is used for that here.", "USEATTR")
    return [attribute for attribute in found if attribute]


def _may_create(session: Session, name: str) -> None:
    limits, levels = session.worker.limits, name.split(names.SEPARATOR)
    if len(levels) > limits.max_folder_depth or max(map(len, map(mutf7.encode, levels))) > limits.max_folder_name:
        raise No("The name has too many levels, or one that is too long.", "LIMIT")
    if not session.home.may_create(name):
        raise No("You have not the right to create mailboxes here.", "NOPERM")


def _create(session: Session, name: str, uses: Sequence[str] = ()) -> None:
    """In a thread: make the folder; it gets the rights of the one above it."""
    home = session.home
    place = home.place(name)
    path = maildir.create(place.root, place.folder, uses)
    _inherit(session, name, path)


def _inherit(session: Session, name: str, path: str) -> None:
    parent = session.home.parent(name)
    if parent and os.path.lexists(f"{session.home.path(parent)}/{acl.NAME}"):
        acl.inherit(path, session.home.path(parent))
        session.worker.shares.renew(session.home.place(name).owner)


async def delete(session: Session, arguments: Name) -> str:
    home = session.home
    name = home.existing(arguments.mailbox, "x")
    place, path = home.place(name), home.path(name)
    if place.folder == "INBOX":
        raise No("INBOX cannot be deleted.", "CANNOT")
    if session.selected is not None and session.selected.box.path == path:
        session.unselect()
    try:
        await session.worker.run(maildir.delete, place.root, place.folder)
    except FileNotFoundError:
        raise No("No such mailbox.", "NONEXISTENT") from None
    _forget(session, path)
    return ""


async def rename(session: Session, arguments: Rename) -> str:
    home = session.home
    old, new = home.folder(arguments.old), home.plain(arguments.new)
    if new == "INBOX" or (home.exists(new) and "l" in home.rights(new)):
        raise No("The new name exists already.", "ALREADYEXISTS")
    _may_move(session, old)
    _may_create(session, new)
    if old == "INBOX":
        return await _rename_inbox(session, new)
    selected = session.selected.box.path if session.selected is not None else ""
    source, target = home.place(old), home.place(new)
    if source.root != target.root:
        size = await session.worker.run(quota.below, source.root, source.folder)
        await quotas.check(session, target.owner, size.octets, size.messages)
    try:
        pairs = await session.worker.run(maildir.rename, source.root, source.folder, target.folder, target.root)
    except FileExistsError:
        raise No("A mailbox with the new name exists already.", "ALREADYEXISTS") from None
    except FileNotFoundError:
        raise No("No such mailbox.", "NONEXISTENT") from None
    except ValueError as error:
        raise No(f"{str(error).capitalize()}.", "CANNOT") from None
    for before, _ in pairs:
        path = maildir.path_of(source.root, before)
        if path == selected:
            session.unselect()
        _forget(session, path)
    await session.worker.run(_moved, session, source, target, [after for _, after in pairs])
    return ""


def _may_move(session: Session, old: str) -> None:
    """RFC 4314 §4: the right x, as if the mailbox were deleted; a mere parent of others needs it in all of them."""
    home = session.home
    place = home.place(old)
    if home.exists(old):
        home.require(old, "x")
        if home.is_foreign(old) and place.folder == "INBOX":
            raise No("INBOX cannot be renamed.", "CANNOT")
    elif home.is_foreign(old):
        below = [name for name in home.foreign() if name.startswith(old + ".")] if place.folder != "INBOX" else []
        if not below:
            raise No("No such mailbox.", "NONEXISTENT")
    if home.is_foreign(old):
        for folder in maildir.folders(place.root):
            if folder.startswith(place.folder + "."):
                home.require(f"{old}{folder[len(place.folder) :]}", "x")


def _moved(session: Session, source: names.Place, target: names.Place, folders: list[str]) -> None:
    """In a thread: a folder that went to somebody else has the rights that folders have there."""
    if source.root != target.root:
        for folder in folders:
            parent = folder.rpartition(".")[0]
            while parent and not maildir.exists(target.root, parent):
                parent = parent.rpartition(".")[0]
            acl.inherit(maildir.path_of(target.root, folder), maildir.path_of(target.root, parent or "INBOX"))
    session.worker.shares.renew(*{source.owner, target.owner})


async def _rename_inbox(session: Session, new: str) -> str:
    """RFC 3501 §6.3.5: the messages move to the new mailbox, INBOX stays and is empty."""
    home = session.home
    if (owner := home.place(new).owner) != home.place("INBOX").owner:
        size = await session.worker.run(quota.inside, home.path("INBOX"))
        await quotas.check(session, owner, size.octets, size.messages)
    await session.worker.run(_create, session, new)
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


