"""The grammar of FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4 for CHANGEDSINCE): which items, and how each is named."""

import contextlib
import functools
import re
from dataclasses import dataclass, replace

from lanmail.imap import items, parser, section
from lanmail.imap.items import Item

MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
OLD = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}
MAX_ITEMS = 200
SHORT = 500  # octets of what is remembered
LAZY = b" (LAZY)"  # RFC 8970 §3.1

NAME = re.compile(rb"[A-Za-z0-9.]+")
PART = re.compile(rb"(?:[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*)?")
SECTION = re.compile(rb"[0-9A-Za-z.]*")


@dataclass(frozen=True, slots=True)
class Fetch:
    numbers: parser.Set
    items: tuple[Item, ...]
    uid: bool
    since: int | None = None  # only what changed after this mod-sequence
    vanished: bool = False


Wanted = tuple[tuple[Item, ...], bool, int | None, bool]


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Fetch:
    cursor.space()
    numbers = cursor.sequence_set()
    cursor.space()
    rest = cursor.text[cursor.position :]
    if len(rest) <= SHORT:
        with contextlib.suppress(parser.ParseError):  # what is wrong with it, and where, is told below
            wanted, length = _known(rest, uid)
            cursor.position += length
            return Fetch(numbers, *wanted)
    return Fetch(numbers, *_wanted(cursor, uid))


@functools.lru_cache(maxsize=256)
def _known(rest: bytes, uid: bool) -> tuple[Wanted, int]:
    """The same for many messages is parsed once: programs ask for the parts of one after the other."""
    cursor = parser.Cursor(rest)
    return _wanted(cursor, uid), cursor.position


def _wanted(cursor: parser.Cursor, uid: bool) -> Wanted:
    """All that stands behind the numbers, as `Fetch` has it."""
    found = several(cursor) if cursor.peek(b"(") else _item(cursor, macros=True)
    since, vanished = _modifiers(cursor) if cursor.peek(b" (") else (None, False)
    if vanished and (since is None or not uid):
        cursor.fail("VANISHED with CHANGEDSINCE in UID FETCH")
    if since is not None:
        found.append(Item("MODSEQ", b"MODSEQ"))
    unique = dict.fromkeys(found)
    if uid:
        unique = dict.fromkeys([Item("UID", b"UID"), *unique])
    return tuple(unique), uid, since, vanished


def several(cursor: parser.Cursor) -> list[Item]:
    """Items in parentheses, where no macro may stand."""
    cursor.expect(b"(")
    found = _item(cursor, macros=False)
    while not cursor.take(b")"):
        cursor.space()
        found += _item(cursor, macros=False)
        if len(found) > MAX_ITEMS:
            cursor.fail("at most 200 items")
    return found


def _modifiers(cursor: parser.Cursor) -> tuple[int | None, bool]:
    """RFC 4466 §2.1: the list behind the items, each modifier once."""
    cursor.expect(b" (")
    since, vanished = None, False
    while True:
        word = cursor.word()
        if word == "CHANGEDSINCE" and since is None:
            cursor.space()
            since = cursor.modseq()
        elif word == "VANISHED" and not vanished:
            vanished = True
        else:
            cursor.fail("CHANGEDSINCE or VANISHED")
        if cursor.take(b")"):
            return since, vanished
        cursor.space()


def _item(cursor: parser.Cursor, *, macros: bool) -> list[Item]:
    name = cursor.match(NAME, "a FETCH item").upper().decode("ascii")
    if macros and name in MACROS:
        return [Item(one, one.encode()) for one in MACROS[name]]
    if name == "PREVIEW" and cursor.text[cursor.position : cursor.position + len(LAZY)].upper() == LAZY:
        cursor.position += len(LAZY)
    if name in items.SIMPLE and not (name == "BODY" and cursor.peek(b"[")):
        return [Item(name, name.encode())]
    if name in OLD:
        cut = section.Section((), OLD[name])
        return [Item("SECTION", name.encode(), cut, marks=name != "RFC822.HEADER")]
    if name in ("BODY", "BODY.PEEK") and cursor.take(b"["):
        return [_section(cursor, marks=name == "BODY")]
    if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE") and cursor.take(b"["):
        return [_binary(cursor, name)]
    return cursor.fail("a FETCH item")


def _section(cursor: parser.Cursor, *, marks: bool) -> Item:
    text = cursor.match(SECTION, "a section").decode("ascii").upper()
    try:
        cut = section.parse(text)
    except ValueError as error:
        raise parser.ParseError(str(error)) from None
    if cut.what.startswith("HEADER.FIELDS"):
        cursor.space()
        cut = replace(cut, fields=tuple(cursor.atoms()))
    cursor.expect(b"]")
    partial, suffix = _partial(cursor)
    return Item("SECTION", b"BODY[" + cut.wire() + b"]" + suffix, cut, partial, marks)


def _binary(cursor: parser.Cursor, name: str) -> Item:
    """RFC 3516 §4.2: only whole parts, and the size of the whole."""
    cut = section.parse(cursor.match(PART, "a part's number").decode("ascii"))
    cursor.expect(b"]")
    if name == "BINARY.SIZE":
        return Item(name, b"BINARY.SIZE[" + cut.wire() + b"]", cut)
    partial, suffix = _partial(cursor)
    return Item("BINARY", b"BINARY[" + cut.wire() + b"]" + suffix, cut, partial, marks=name == "BINARY")


def _partial(cursor: parser.Cursor) -> tuple[tuple[int, int] | None, bytes]:
    """`<offset.length>`, if it follows, and how the answer repeats it."""
    if not cursor.take(b"<"):
        return None, b""
    offset = cursor.number64()
    cursor.expect(b".")
    length = cursor.number64()
    cursor.expect(b">")
    if not length:
        cursor.fail("a length above zero")
    return (offset, length), b"<%d>" % offset
