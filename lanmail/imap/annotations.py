"""Notes on mailboxes and on the server: GETMETADATA, SETMETADATA (RFC 5464).

/private/… is for the account alone, /shared/… for all who see the mailbox. On the server ("" as the mailbox) only
private entries can be set; /shared/comment and /shared/admin say what this is and who looks after it. A mailbox's
/private/specialuse is its special use (RFC 6154 §5.4).
"""

import re
from dataclasses import dataclass

import lanmail
from lanmail import maildir
from lanmail.folders import metadata, specialuse
from lanmail.imap import parser
from lanmail.imap.session import No, Session

# RFC 5464 §3.2: printable ASCII, parts between single slashes, no wildcards
ENTRY = re.compile(rb"(?:/[!-$&-)+-.0-~ ][!-$&-)+-.0-~ ]*+)++\Z")
MAX_NAME = 1024
MAX_PARTS = 16
SPECIAL_USE = "/private/specialuse"
_DEPTHS = {"0": 0, "1": 1, "INFINITY": MAX_PARTS}
_QUOTABLE = re.compile(rb'[ !#-\[\]-~]{0,1000}\Z')


@dataclass(frozen=True, slots=True)
class Get:
    mailbox: bytes
    entries: tuple[str, ...]
    depth: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Set:
    mailbox: bytes
    values: dict[str, bytes | None]


def parse_get(cursor: parser.Cursor) -> Get:
    """The options stand before the mailbox (the grammar) or behind it (the examples of RFC 5464)."""
    cursor.space()
    depth, most = 0, None
    if cursor.peek(b"("):
        depth, most = _options(cursor)
        cursor.space()
    mailbox = cursor.astring()
    cursor.space()
    if re.compile(rb"\((?:DEPTH|MAXSIZE) ", re.IGNORECASE).match(cursor.text, cursor.position):
        depth, most = _options(cursor)
        cursor.space()
    if not cursor.peek(b"("):
        return Get(mailbox, (_entry(cursor),), depth, most)
    cursor.expect(b"(")
    entries = [_entry(cursor)]
    while not cursor.take(b")"):
        cursor.space()
        entries.append(_entry(cursor))
    return Get(mailbox, tuple(dict.fromkeys(entries)), depth, most)


def _options(cursor: parser.Cursor) -> tuple[int, int | None]:
    cursor.expect(b"(")
    depth, most = 0, None
    while True:
        word = cursor.word()
        cursor.space()
        if word == "DEPTH":
            name = cursor.word()
            if name not in _DEPTHS:
                cursor.fail("0, 1 or infinity")
            depth = _DEPTHS[name]
        elif word == "MAXSIZE":
            most = cursor.number()
        else:
            cursor.fail("DEPTH or MAXSIZE")
        if cursor.take(b")"):
            return depth, most
        cursor.space()


def _entry(cursor: parser.Cursor) -> str:
    """The name of an entry; names have no case."""
    raw = cursor.astring()
    if len(raw) > MAX_NAME or not ENTRY.match(raw) or raw.count(b"/") > MAX_PARTS:
        cursor.fail("the name of an entry")
    name = raw.decode("ascii").lower()
    if name.split("/")[1] not in ("private", "shared"):
        cursor.fail("an entry below /private or /shared")
    return name


def parse_set(cursor: parser.Cursor) -> Set:
    cursor.space()
    mailbox = cursor.astring()
    cursor.space()
    cursor.expect(b"(")
    values: dict[str, bytes | None] = {}
    while True:
        name = _entry(cursor)
        if name.count("/") < 2:
            cursor.fail("an entry below /private or /shared")
        cursor.space()
        values[name] = cursor.nstring()
        if cursor.take(b")"):
            return Set(mailbox, values)
        cursor.space()


async def get(session: Session, arguments: Get) -> str:
    name = _mailbox(session, arguments.mailbox)
    known = await session.worker.run(_known, session, name)
    found: dict[str, bytes | None] = {}
    for entry in arguments.entries:
        if arguments.depth == 0:
            found[entry] = known.get(entry)
        else:
            found.update((one, value) for one, value in known.items() if _below(entry, one, arguments.depth))
    sizes = [len(value) for value in found.values() if value is not None]
    longest = max(sizes, default=0)
    if arguments.most is not None:
        found = {one: value for one, value in found.items() if value is None or len(value) <= arguments.most}
    if found:
        shown = session.home.wire(session.home.spelled(name, arguments.mailbox)) if name else b'""'
        said = b" ".join(one.encode() + b" " + _string(value) for one, value in found.items())
        session.untagged(b"METADATA " + shown + b" (" + said + b")")
    if arguments.most is not None and longest > arguments.most:
        return f"[METADATA LONGENTRIES {longest}] GETMETADATA completed."
    return ""


def _below(entry: str, one: str, depth: int) -> bool:
    """RFC 5464 §4.2.2: the entry itself, and what is at most so many levels below it."""
    return one == entry or (one.startswith(entry + "/") and one[len(entry) :].count("/") <= depth)


def _string(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return b'"' + value + b'"' if _QUOTABLE.match(value) else b"{%d}\r\n" % len(value) + value


def _mailbox(session: Session, raw: bytes, needs: str = "rswip") -> str:
    """The mailbox, "" for the server. RFC 5464 §3.3: for who can see it, and has one of the rights."""
    if not raw:
        return ""
    name = session.home.existing(raw)
    if not session.home.rights(name) & set(needs):
        raise No("You have not the right to do that here.", "NOPERM")
    return name


def file_of(session: Session, name: str) -> str:
    """Where the entries of a mailbox are, or those of the server."""
    home = session.home
    return f"{home.path(name)}/{metadata.FOLDER}" if name else f"{home.root}/{metadata.SERVER}"


def _known(session: Session, name: str) -> dict[str, bytes]:
    """In a thread: all entries that this account sees."""
    own = session.account.name if session.account is not None else ""
    found = {entry: value for (whose, entry), value in metadata.load(file_of(session, name)).items()
             if whose in ("", own)}
    if not name:
        domain = session.worker.config.server.domain
        found |= {"/shared/admin": f"mailto:postmaster@{domain}".encode(),
                  "/shared/comment": f"lanmail {lanmail.__version__} of {domain}".encode()}
    elif not session.home.is_foreign(name):
        root, folder = session.home.root, session.home.place(name).folder
        uses = [attribute for attribute, one in maildir.specials(root, maildir.folders(root)).items() if one == folder]
        if uses:
            found[SPECIAL_USE] = " ".join(sorted(uses)).encode()
    return found


async def set_(session: Session, arguments: Set) -> str:
    name = _mailbox(session, arguments.mailbox)
    values = dict(arguments.values)
    if any(entry.startswith("/shared/") for entry in values) and (not name or "w" not in session.home.rights(name)):
        raise No("You have not the right to change what all share.", "NOPERM")
    use = values.pop(SPECIAL_USE, b"-") if name else b"-"
    own = session.account.name if session.account is not None else ""
    try:
        if use != b"-":
            await session.worker.run(_assign, session, name, use)
        if values:
            await session.worker.run(metadata.change, file_of(session, name), own, values)
    except metadata.TooLarge:
        raise No("A value is too large.", f"METADATA MAXSIZE {metadata.MAX_VALUE}") from None
    except metadata.TooMany:
        raise No("There are too many entries.", "METADATA TOOMANY") from None
    return ""


def _assign(session: Session, name: str, use: bytes | None) -> None:
    """In a thread: a mailbox gets a special use, or loses those that it was given."""
    home = session.home
    place = home.place(name)
    known = {attribute.lower(): attribute for attribute in specialuse.ATTRIBUTES}
    wanted = [known.get(word.lower()) for word in (use or b"").decode("ascii", "replace").split()]
    if None in wanted or home.is_foreign(name):
        raise No("No mailbox is used for that here.", "USEATTR")
    try:
        specialuse.removed(place.root, place.folder)
        if wanted:
            specialuse.assign(place.root, place.folder, [one for one in wanted if one],
                              lambda other: maildir.exists(place.root, other))
    except specialuse.Taken:
        raise No("Another mailbox is used for that.", "USEATTR") from None
