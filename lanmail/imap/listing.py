"""Which mailboxes there are: LIST, LSUB, NAMESPACE.

RFC 3501 §6.3.8, §6.3.9; RFC 2342 (NAMESPACE); RFC 3348 (CHILDREN); RFC 6154 (SPECIAL-USE);
RFC 5258 (LIST-EXTENDED) and RFC 5819 (LIST-STATUS).
"""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from lanmail import maildir
from lanmail.folders import subscriptions
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


class Names:
    """All names that matter to one LIST."""

    def __init__(self, home: names.Home, arguments: List) -> None:
        own = maildir.folders(home.root)
        foreign = home.foreign()
        self.there = frozenset((*map(home.own, own), *foreign))
        self.unreadable = frozenset(name for name, rights in foreign.items() if "r" not in rights)
        self.special: dict[str, list[str]] = {}
        for attribute, name in maildir.specials(home.root, own).items():
            self.special.setdefault(home.own(name), []).append(attribute)
        self.subscribed = frozenset(_subscribed(home, foreign))
        self.parents = names.parents(self.there)
        if home.prefix and len(own) > 1:
            self.parents.add("INBOX")
        self.wanted: list[tuple[str, frozenset[str]]] = []  # selection option → the names that it selects
        if "SUBSCRIBED" in arguments.select:
            self.wanted.append(("SUBSCRIBED", self.subscribed))
        if "SPECIAL-USE" in arguments.select:
            self.wanted.append(("SPECIAL-USE", frozenset(self.special)))

    def candidates(self) -> list[str]:
        """Names to look at: folders, their missing parents and, if asked for, subscribed names that are not there."""
        found = self.there | self.parents
        for _, selected in self.wanted:
            found |= selected | names.parents(selected)
        return ["INBOX", *sorted(found - {"INBOX"})]

    def selected(self, name: str) -> bool:
        if not self.wanted:
            return name in self.there or name in self.parents
        return all(name in chosen for _, chosen in self.wanted)

    def below(self, matching: "dict[str, str]") -> dict[str, list[str]]:
        """Which options select something below a name (RFC 5258 §3.5), for RECURSIVEMATCH.

        A name that is not selected itself is only said for a child that is not said either.
        """
        found: dict[str, list[str]] = {}
        for option, selected in self.wanted:
            hidden = names.parents(name for name in selected if name not in matching)
            for parent in names.parents(selected):
                if self.selected(parent) or parent in hidden:
                    found.setdefault(parent, []).append(option)
        return found

    def attributes(self, name: str, arguments: List) -> str:
        words = []
        if name not in self.there:
            # RFC 5258 §3: \NonExistent implies \Noselect; clients without the extension know only the latter
            words.append("\\NonExistent" if arguments.extended else "\\Noselect")
        words.append("\\HasChildren" if name in self.parents else "\\HasNoChildren")
        words += self.special.get(name, ())
        if name in self.subscribed and "SUBSCRIBED" in arguments.select | arguments.give:
            words.append("\\Subscribed")
        return " ".join(words)


async def list_(session: Session, arguments: List) -> str:
    if unknown := (arguments.select - SELECTIONS) | (arguments.give - RETURNS):
        raise Bad(f"Unknown LIST option {min(unknown)}.")
    if "RECURSIVEMATCH" in arguments.select and not arguments.select & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise Bad("RECURSIVEMATCH needs another selection option.")
    if arguments.patterns == (b"",) and not arguments.extended:
        # RFC 3501 §6.3.8: an empty name asks for the separator and the root of the reference
        session.untagged(b'LIST (\\Noselect) "." ' + session.home.wire(_root(session, arguments.reference)))
        return ""
    session.worker.look_for_shares()
    known = await session.worker.run(Names, session.home, arguments)
    patterns = [_pattern(session.home, arguments.reference + pattern) for pattern in arguments.patterns]
    matching = {name: shown for name in known.candidates() if (shown := _shown(session.home, name, patterns))}
    below = known.below(matching) if "RECURSIVEMATCH" in arguments.select else {}
    for name, shown in matching.items():
        if not known.selected(name) and name not in below:
            continue
        text = f'({known.attributes(name, arguments)}) "." '.encode() + session.home.wire(shown)
        if name in below:
            text += b' ("CHILDINFO" ("' + '" "'.join(below[name]).encode() + b'"))'
        session.untagged(b"LIST " + text)
        if arguments.status and name in known.there and name not in known.unreadable:
            await status.say(session, name, shown, arguments.status)
        await session.room()
    return ""


def _shown(home: names.Home, name: str, patterns: "list[tuple[str, Callable[[str], bool]]]") -> str:
    """The name as the first pattern that it matches shows it, or ""."""
    for prefix, matches in patterns:
        shown = home.shown(name, prefix=prefix)
        if matches(shown):
            return shown
    return ""


def _root(session: Session, reference: bytes) -> str:
    prefix = session.home.prefix
    return prefix if reference.upper().startswith(b"INBOX.") and prefix else ""


def _pattern(home: names.Home, raw: bytes) -> tuple[str, Callable[[str], bool]]:
    """The prefix to show the names with, and the matcher; a pattern that begins with INBOX. is answered in kind."""
    try:
        text = home.text(raw[:MAX_PATTERN])
    except ValueError:
        return home.prefix, lambda _name: False
    prefix = names.ALIAS if text[:6].upper() == names.ALIAS else home.prefix
    return prefix, names.matcher(text)


async def lsub(session: Session, arguments: List) -> str:
    """RFC 3501 §6.3.9: a name that is only a parent of subscribed ones is said, with \\Noselect, if `%` hides them."""
    home = session.home
    session.worker.look_for_shares()
    subscribed = await session.worker.run(_subscribed, home)
    prefix, matches = _pattern(home, arguments.reference + arguments.patterns[0])
    hidden: set[str] = set()
    for name in subscribed:
        shown = home.shown(name, prefix=prefix)
        if matches(shown):
            session.untagged(b'LSUB () "." ' + home.wire(shown))
        else:
            hidden |= {parent for parent in names.parents([name]) if matches(home.shown(parent, prefix=prefix))}
    for name in sorted(hidden.difference(subscribed)):
        session.untagged(b'LSUB (\\Noselect) "." ' + home.wire(home.shown(name, prefix=prefix)))
    return ""


def _subscribed(home: names.Home, foreign: Collection[str] | None = None) -> list[str]:
    """What the account subscribed to; of the folders of others only those that it may see."""
    there = home.foreign() if foreign is None else foreign
    with contextlib.suppress(OSError):  # a full disk: the next look does it
        home.subscribe_to_new(there)
    return [name for name in subscriptions.load(home.root) if not home.is_foreign(name) or name in there]


async def namespace(session: Session, _arguments: None) -> str:
    """RFC 2342 §5: the own folders, those of other users, and shared ones."""
    home = session.home
    others = [b'((%b "."))' % home.quoted(f"{name}.") if name else b"NIL"
              for name in ((home.spaces.users, home.spaces.shared) if home.spaces is not None else ("", ""))]
    session.untagged(b'NAMESPACE (("' + home.prefix.encode() + b'" ".")) ' + b" ".join(others))
    return ""
