"""Which mailboxes there are: LIST, LSUB, NAMESPACE.

RFC 3501 §6.3.8, §6.3.9; RFC 2342 (NAMESPACE); RFC 3348 (CHILDREN); RFC 6154 (SPECIAL-USE);
RFC 5258 (LIST-EXTENDED) and RFC 5819 (LIST-STATUS).
"""

from collections.abc import Callable
from dataclasses import dataclass

from lanmail import maildir, mutf7, subscriptions
from lanmail.imap import names, parser, status
from lanmail.imap.session import Bad, Session

SELECTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
RETURNS = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})
MAX_PATTERN = 4096


@dataclass(frozen=True, slots=True)
class List:
    reference: bytes
    patterns: tuple[bytes, ...]
    select: frozenset[str] = frozenset()
    give: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    extended: bool = False


def parse_list(cursor: parser.Cursor) -> List:
    cursor.space()
    select: frozenset[str] = frozenset()
    extended = cursor.peek(b"(")
    if extended:
        select = frozenset(_options(cursor))
        cursor.space()
    reference = cursor.astring()
    cursor.space()
    patterns = [cursor.pattern()] if not cursor.peek(b"(") else _patterns(cursor)
    extended = extended or len(patterns) != 1
    give: frozenset[str] = frozenset()
    wanted: tuple[str, ...] = ()
    if cursor.take(b" "):
        if cursor.word() != "RETURN":
            cursor.fail("RETURN")
        cursor.space()
        give, wanted = _returns(cursor)
        extended = True
    return List(reference, tuple(patterns), select, give, wanted, extended)


def _options(cursor: parser.Cursor) -> list[str]:
    cursor.expect(b"(")
    found: list[str] = []
    while not cursor.take(b")"):
        if found:
            cursor.space()
        found.append(cursor.word())
    return found


def _patterns(cursor: parser.Cursor) -> list[bytes]:
    cursor.expect(b"(")
    found = [cursor.pattern()]
    while not cursor.take(b")"):
        cursor.space()
        found.append(cursor.pattern())
    return found


def _returns(cursor: parser.Cursor) -> tuple[frozenset[str], tuple[str, ...]]:
    cursor.expect(b"(")
    found: list[str] = []
    wanted: tuple[str, ...] = ()
    while not cursor.take(b")"):
        if found:
            cursor.space()
        found.append(cursor.word())
        if found[-1] == "STATUS":
            cursor.space()
            wanted = status.items(cursor)
    return frozenset(found) - {"STATUS"}, wanted


def parse_lsub(cursor: parser.Cursor) -> List:
    cursor.space()
    reference = cursor.astring()
    cursor.space()
    return List(reference, (cursor.pattern(),))


class _Names:
    """All names that matter to one LIST, and what is to be said about each."""

    def __init__(self, home: names.Home) -> None:
        self.root = home.root
        self.there = maildir.folders(home.root)
        self.special = {name: attribute for attribute, name in maildir.specials(self.there).items()}
        self.subscribed = set(subscriptions.load(home.root))
        self.parents = names.parents(self.there)
        if home.prefix and len(self.there) > 1:
            self.parents.add("INBOX")


async def list_(session: Session, arguments: List) -> str:
    if unknown := (arguments.select - SELECTIONS) | (arguments.give - RETURNS):
        raise Bad(f"Unknown LIST option {min(unknown)}.")
    if arguments.select & {"RECURSIVEMATCH"} and not arguments.select & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise Bad("RECURSIVEMATCH needs another selection option.")
    if arguments.patterns == (b"",) and not arguments.extended:
        # RFC 3501 §6.3.8: an empty name asks for the separator and the root of the reference
        session.untagged(b'LIST (\\Noselect) "." ' + names.wire(_root(session, arguments.reference)))
        return ""
    known = await session.worker.run(_Names, session.home)
    for pattern in arguments.patterns:
        prefix, matches = _pattern(session.home, arguments.reference + pattern)
        said: set[str] = set()
        for name in _candidates(known, arguments):
            shown = session.home.shown(name, prefix=prefix)
            if name not in said and matches(shown) and (text := _describe(known, name, arguments)) is not None:
                said.add(name)
                extra = _extra(known, name, arguments)
                session.untagged(b"LIST (" + text.encode() + b') "." ' + names.wire(shown) + extra)
                if arguments.status and name in known.there:
                    await status.say(session, name, shown, arguments.status)
        await session.room()
    return ""


def _root(session: Session, reference: bytes) -> str:
    prefix = session.home.prefix
    return prefix if reference.upper().startswith(b"INBOX.") and prefix else ""


def _candidates(known: _Names, arguments: List) -> list[str]:
    """Names to look at: folders, their missing parents and, if asked for, subscribed names that are not there."""
    found = set(known.parents)
    if "SUBSCRIBED" in arguments.select:
        found |= known.subscribed | names.parents(known.subscribed)
    return ["INBOX", *sorted(found.union(known.there) - {"INBOX"})]


def _describe(known: _Names, name: str, arguments: List) -> str | None:
    """The attributes of a name, None when it is not selected."""
    there, select = name in known.there, arguments.select
    attributes = []
    if "SUBSCRIBED" in select and name not in known.subscribed and not _below(known, name, arguments):
        return None
    if "SPECIAL-USE" in select and name not in known.special and not _below(known, name, arguments):
        return None
    if not there:
        if name not in known.parents and "SUBSCRIBED" not in select:
            return None
        # RFC 5258 §3: \NonExistent implies \Noselect, but older clients only know the latter
        attributes += ["\\NonExistent", "\\Noselect"] if arguments.extended else ["\\Noselect"]
    attributes.append("\\HasChildren" if name in known.parents else "\\HasNoChildren")
    if name in known.special:
        attributes.append(known.special[name])
    if name in known.subscribed and ("SUBSCRIBED" in select or "SUBSCRIBED" in arguments.give):
        attributes.append("\\Subscribed")
    return " ".join(attributes)


def _below(known: _Names, name: str, arguments: List) -> list[str]:
    """With RECURSIVEMATCH, which selection options match something below this name (RFC 5258 §3.5)."""
    if "RECURSIVEMATCH" not in arguments.select:
        return []
    found = []
    start = name + names.SEPARATOR
    if "SUBSCRIBED" in arguments.select and any(other.startswith(start) for other in known.subscribed):
        found.append("SUBSCRIBED")
    if "SPECIAL-USE" in arguments.select and any(other.startswith(start) for other in known.special):
        found.append("SPECIAL-USE")
    return found


def _extra(known: _Names, name: str, arguments: List) -> bytes:
    below = _below(known, name, arguments)
    if not below:
        return b""
    return b' ("CHILDINFO" (' + b" ".join(b'"%b"' % option.encode() for option in below) + b"))"


def _pattern(home: names.Home, raw: bytes) -> tuple[str, Callable[[str], bool]]:
    """The prefix to show the names with, and the matcher; a pattern that begins with INBOX. is answered in kind."""
    text = raw[:MAX_PATTERN].decode("ascii", "replace")
    try:
        text = mutf7.decode(text)
    except ValueError:
        return home.prefix, lambda _name: False
    prefix = names.ALIAS if text[:6].upper() == names.ALIAS else home.prefix
    return prefix, names.matcher(text)


async def lsub(session: Session, arguments: List) -> str:
    """RFC 3501 §6.3.9: a name that is only a parent of subscribed ones is said, with \\Noselect, if `%` hides them."""
    home = session.home
    subscribed = await session.worker.run(subscriptions.load, home.root)
    prefix, matches = _pattern(home, arguments.reference + arguments.patterns[0])
    hidden: set[str] = set()
    for name in subscribed:
        shown = home.shown(name, prefix=prefix)
        if matches(shown):
            session.untagged(b'LSUB () "." ' + names.wire(shown))
        else:
            hidden |= {parent for parent in names.parents([name]) if matches(home.shown(parent, prefix=prefix))}
    for name in sorted(hidden.difference(subscribed)):
        session.untagged(b'LSUB (\\Noselect) "." ' + names.wire(home.shown(name, prefix=prefix)))
    return ""


async def namespace(session: Session, _arguments: None) -> str:
    session.untagged(b'NAMESPACE (("' + session.home.prefix.encode() + b'" ".")) NIL NIL')
    return ""
