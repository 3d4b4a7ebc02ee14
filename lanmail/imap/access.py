"""Who may do what in a mailbox: GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314).

Identifiers are written as with Dovecot: an account's name, `anyone`, `authenticated`, `owner`, `$group`, and each with
`-` in front for rights that are taken away. What is set goes into the folder's `dovecot-acl` (folders/acl.py).
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lanmail.folders import acl
from lanmail.imap import parser
from lanmail.imap.session import Bad, No, Session

_NOTHING = '""'
# RFC 4314 §4: MYRIGHTS is for whoever has one of these
_ANY = frozenset("lrikxa")


@dataclass(frozen=True, slots=True)
class Mailbox:
    mailbox: bytes


@dataclass(frozen=True, slots=True)
class Change:
    mailbox: bytes
    whose: acl.Entry
    mode: str
    rights: frozenset[str]


def parse_mailbox(cursor: parser.Cursor) -> Mailbox:
    cursor.space()
    return Mailbox(cursor.astring())


def parse_identifier(cursor: parser.Cursor) -> Change:
    """Mailbox and identifier, as DELETEACL and LISTRIGHTS have them."""
    cursor.space()
    mailbox = cursor.astring()
    cursor.space()
    try:
        return Change(mailbox, acl.identifier(cursor.astring().decode("utf-8")), "=", acl.NONE)
    except ValueError:
        cursor.fail("an identifier")


def parse_set(cursor: parser.Cursor) -> Change:
    """RFC 4314 §3.1: rights with + or - in front are added or taken away; a letter that there is not is BAD."""
    named = parse_identifier(cursor)
    cursor.space()
    text = cursor.astring().decode("ascii", "replace")
    mode = text[:1] if text[:1] in ("+", "-") else "="
    try:
        return Change(named.mailbox, named.whose, mode, acl.letters(text.removeprefix(mode)))
    except ValueError as error:
        raise Bad(f"{str(error).capitalize()}.") from None


async def get(session: Session, arguments: Mailbox) -> str:
    name = session.home.existing(arguments.mailbox, "a")
    text = b"ACL " + session.home.wire(session.home.spelled(name, arguments.mailbox))
    for entry in _entries(session, name):
        text += b" " + _astring(acl.written(entry)) + b" " + _shown(entry.rights)
    session.untagged(text)
    return ""


def _entries(session: Session, name: str) -> Iterable[acl.Entry]:
    """All that have rights; the owner under his name, also where no line speaks of him."""
    place, found = session.home.place(name), session.worker.shares
    account = found.account(place.owner)
    entries = found.entries(account, place.folder) if account is not None else ()
    if account is None or account.shared:
        return [entry for entry in entries if entry.rights]
    own = acl.Entry("user", place.owner)
    said = [entry for entry in entries if entry.key not in (own.key, ("owner", "", False)) and entry.rights]
    rights = acl.allowed([entry for entry in entries if not entry.negative], acl.Who(place.owner, owner=True))
    return [acl.Entry(own.kind, own.name, rights), *said]


async def set_(session: Session, arguments: Change) -> str:
    await _change(session, arguments, functools.partial(
        session.worker.shares.grant, rights=arguments.rights, mode=arguments.mode))
    return ""


async def delete(session: Session, arguments: Change) -> str:
    """RFC 4314 §3.2: takes the identifier's rights, whatever they are."""
    await _change(session, arguments, session.worker.shares.revoke)
    return ""


async def _change(session: Session, arguments: Change, change: Callable[[str, str, acl.Entry], None]) -> None:
    name = session.home.existing(arguments.mailbox, "a")
    place = session.home.place(name)
    try:
        await session.worker.run(change, place.owner, place.folder, arguments.whose)
    except acl.Broken as error:
        raise No(f"The rights of this mailbox must be mended by hand: {error}.", "CANNOT") from None


async def list_(session: Session, arguments: Change) -> str:
    """RFC 4314 §3.7: what an identifier has always, and what can be given to it, each right by itself."""
    name = session.home.existing(arguments.mailbox, "a")
    owner = session.home.place(name).owner
    always = acl.KEPT_BY_OWNER if arguments.whose.kind == "owner" or arguments.whose.name == owner else acl.NONE
    if arguments.whose.negative:
        always = acl.NONE
    others = " ".join([*acl.ordered(acl.ALL - always), "c", "d"])
    shown = session.home.wire(session.home.spelled(name, arguments.mailbox))
    rights = f"{acl.ordered(always) or _NOTHING} {others}".encode()
    session.untagged(b"LISTRIGHTS " + shown + b" " + _astring(acl.written(arguments.whose)) + b" " + rights)
    return ""


async def mine(session: Session, arguments: Mailbox) -> str:
    home = session.home
    name = home.folder(arguments.mailbox)
    rights = home.rights(name)
    if not rights & _ANY or not home.exists(name):
        raise No("No such mailbox.", "NONEXISTENT")
    session.untagged(b"MYRIGHTS " + home.wire(home.spelled(name, arguments.mailbox)) + b" " + _shown(rights))
    return ""


def _shown(rights: frozenset[str]) -> bytes:
    """Rights with the obsolete ones that clients of RFC 2086 look for (RFC 4314 §2.1.1)."""
    old = "".join(letter for letter, new in acl.OBSOLETE.items() if rights & set(new))
    return (acl.ordered(rights) + old or _NOTHING).encode()


def _astring(text: str) -> bytes:
    raw = text.encode("utf-8")
    if parser.ASTRING.fullmatch(raw):
        return raw
    if raw.isascii() and b'"' not in raw and b"\\" not in raw:
        return b'"' + raw + b'"'
    return b"{%d}\r\n" % len(raw) + raw
