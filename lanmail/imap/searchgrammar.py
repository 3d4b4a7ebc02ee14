"""The grammar of SEARCH (RFC 3501 §6.4.4, RFC 4466 for RETURN, RFC 5032 for WITHIN, RFC 5182 for SAVE and `$`).

The tree that comes out still has sets as the client wrote them (`*` as 0); `resolved` fills in the mailbox's numbers.
"""

import codecs
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lanmail.imap import dates, parser, searchkeys

RETURNS = ("MIN", "MAX", "ALL", "COUNT", "SAVE", "RELEVANCY")
FLAGS = {"ANSWERED": "R", "DELETED": "T", "DRAFT": "D", "FLAGGED": "F", "SEEN": "S"}
FIELDS = ("BCC", "CC", "FROM", "SUBJECT", "TO")
OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
MAX_KEYS = 4000
MAX_SECONDS = 1 << 32


@dataclass(frozen=True, slots=True)
class Search:
    """`returns` is None for the plain answer; `charset` is None when we know no such charset."""

    key: searchkeys.Key
    returns: tuple[str, ...] | None
    charset: str | None
    uid: bool
    tag: str
    names_charset: bool = False


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Search:
    found = parser.TAG.match(cursor.text)
    tag = found.group().decode("ascii") if found else ""
    cursor.space()
    returns = None
    if _word(cursor, b"RETURN "):
        returns = _returns(cursor)
        cursor.space()
    charset: str | None = "us-ascii"
    names_charset = _word(cursor, b"CHARSET ")
    if names_charset:
        charset = _charset(cursor.astring())
        cursor.space()
    return Search(keys(cursor, charset), returns, charset, uid, tag, names_charset)


def charset_and_keys(cursor: parser.Cursor) -> tuple[str | None, searchkeys.Key]:
    """What SORT and THREAD have instead (RFC 5256 §5): the charset is never left out."""
    charset = _charset(cursor.astring())
    cursor.space()
    return charset, keys(cursor, charset)


def keys(cursor: parser.Cursor, charset: str | None) -> searchkeys.Key:
    """All keys up to the end of the command; None is a charset that we do not know."""
    return _Keys(cursor, charset or "latin-1").run(0)


def _word(cursor: parser.Cursor, word: bytes) -> bool:
    if cursor.text[cursor.position : cursor.position + len(word)].upper() != word:
        return False
    cursor.position += len(word)
    return True


def _returns(cursor: parser.Cursor) -> tuple[str, ...]:
    cursor.expect(b"(")
    found: list[str] = []
    while not cursor.take(b")"):
        if found:
            cursor.space()
        word = cursor.word()
        if word not in RETURNS:
            cursor.fail("MIN, MAX, ALL, COUNT, SAVE or RELEVANCY")
        found.append(word)
    return tuple(dict.fromkeys(found)) or ("ALL",)


def _charset(name: bytes) -> str | None:
    try:
        found = codecs.lookup(name.decode("ascii"))
    except (LookupError, ValueError):  # ValueError: not ASCII, or NUL in it
        return None
    # codecs has rot13, zlib and the like, too
    return found.name if getattr(found, "_is_text_encoding", True) else None


class _Keys:
    """Reads search keys; counts them, because each costs time for each message."""

    def __init__(self, cursor: parser.Cursor, charset: str) -> None:
        self._cursor = cursor
        self._charset = charset
        self._count = 0

    def run(self, depth: int) -> searchkeys.Key:
        """Keys side by side, to the end or to the closing parenthesis."""
        found = [self._key(depth)]
        while not self._cursor.peek(b")") and self._cursor.text[self._cursor.position :].strip(b" "):
            self._cursor.space()
            found.append(self._key(depth))
        return found[0] if len(found) == 1 else searchkeys.And(tuple(found))

    def _key(self, depth: int) -> searchkeys.Key:
        cursor = self._cursor
        self._count += 1
        if depth > parser.MAX_DEPTH or self._count > MAX_KEYS:
            cursor.fail("fewer search keys")
        if cursor.take(b"("):
            inside = self.run(depth + 1)
            cursor.expect(b")")
            return inside
        if parser.SET.match(cursor.text, cursor.position):
            return searchkeys.Numbers(cursor.sequence_set())
        name = cursor.word()
        if name in FLAGS:
            return searchkeys.Flag(FLAGS[name])
        if name[:2] == "UN" and name[2:] in FLAGS:
            return searchkeys.Flag(FLAGS[name[2:]], False)
        reader = self._READERS.get(name)
        if reader is None:
            cursor.fail("a search key")
        return reader(self, name, depth)

    def _text(self) -> str:
        self._cursor.space()
        raw = self._cursor.astring()
        try:
            return raw.decode(self._charset)
        except UnicodeDecodeError:
            if self._charset == "ascii" or self._charset == "us-ascii":
                # clients that forget CHARSET mean UTF-8
                return raw.decode("utf-8", "replace")
            return self._cursor.fail(f"text in {self._charset}")

    def _field(self, name: str, _depth: int) -> searchkeys.Key:
        return searchkeys.Header(name.lower(), self._text())

    def _header(self, _name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        field = self._cursor.astring().decode("ascii", "replace")
        return searchkeys.Header(field.lower(), self._text())

    def _body(self, _name: str, _depth: int) -> searchkeys.Key:
        return searchkeys.Body(self._text())

    def _whole(self, _name: str, _depth: int) -> searchkeys.Key:
        return searchkeys.Text(self._text())

    def _keyword(self, name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        return searchkeys.Keyword(self._cursor.atom().decode("ascii"), name == "KEYWORD")

    def _day(self, name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        day = dates.date(self._cursor)
        relation = next(one for one in ("before", "since", "on") if name.endswith(one.upper()))
        kind: Callable[..., searchkeys.Key] = (
            searchkeys.Sent if name.startswith("SENT")
            else searchkeys.Saved if name.startswith("SAVED")
            else searchkeys.Arrived
        )
        return kind(relation, day)

    def _size(self, name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        return searchkeys.Size(self._cursor.number64(), name == "SMALLER")

    def _within(self, name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        seconds = self._cursor.number()
        if not seconds:
            self._cursor.fail("a number above zero")
        return searchkeys.Within(time.time() - seconds, name == "OLDER")

    def _object(self, name: str, _depth: int) -> searchkeys.Key:
        """RFC 8474 §6: nobody's thread has an id here."""
        self._cursor.space()
        asked = self._cursor.match(OBJECT_ID, "an object id").decode("ascii")
        return searchkeys.EmailId(asked) if name == "EMAILID" else searchkeys.Not(searchkeys.And(()))

    def _modseq(self, _name: str, _depth: int) -> searchkeys.Key:
        """RFC 7162 §3.1.5: an entry name and type may stand before the number; all flags share one mod-sequence."""
        cursor = self._cursor
        cursor.space()
        if cursor.peek(b'"'):
            cursor.string()
            cursor.space()
            if cursor.word() not in ("PRIV", "SHARED", "ALL"):
                cursor.fail("priv, shared or all")
            cursor.space()
        return searchkeys.ModSeq(cursor.modseq())

    def _uid(self, _name: str, _depth: int) -> searchkeys.Key:
        self._cursor.space()
        return searchkeys.Uids(self._cursor.sequence_set())

    def _fuzzy(self, _name: str, depth: int) -> searchkeys.Key:
        self._cursor.space()
        return searchkeys.fuzzily(self._key(depth + 1))

    def _not(self, _name: str, depth: int) -> searchkeys.Key:
        self._cursor.space()
        return searchkeys.Not(self._key(depth + 1))

    def _or(self, _name: str, depth: int) -> searchkeys.Key:
        self._cursor.space()
        first = self._key(depth + 1)
        self._cursor.space()
        return searchkeys.Or((first, self._key(depth + 1)))

    def _simple(self, name: str, _depth: int) -> searchkeys.Key:
        if name in ("ALL", "SAVEDATESUPPORTED"):
            return searchkeys.And(())
        if name == "NEW":
            return searchkeys.And((searchkeys.Recent(), searchkeys.Flag("S", False)))
        return searchkeys.Recent(name == "RECENT")

    _READERS: ClassVar[dict[str, "Callable[[_Keys, str, int], searchkeys.Key]"]] = {
        **dict.fromkeys(FIELDS, _field),
        **dict.fromkeys(("ALL", "NEW", "OLD", "RECENT", "SAVEDATESUPPORTED"), _simple),
        **dict.fromkeys(("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE",
                        "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE"), _day),
        **dict.fromkeys(("EMAILID", "THREADID"), _object),
        **dict.fromkeys(("KEYWORD", "UNKEYWORD"), _keyword),
        **dict.fromkeys(("LARGER", "SMALLER"), _size),
        **dict.fromkeys(("OLDER", "YOUNGER"), _within),
        "BODY": _body, "FUZZY": _fuzzy, "HEADER": _header, "MODSEQ": _modseq, "NOT": _not, "OR": _or, "TEXT": _whole,
        "UID": _uid,
    }


def resolved(key: searchkeys.Key, count: int, highest: int, saved: Sequence[int] = ()) -> searchkeys.Key:
    """The tree with every set in terms of the mailbox: `count` messages, `highest` the largest UID, `saved` is `$`."""
    if isinstance(key, searchkeys.Numbers | searchkeys.Uids):
        found = type(key)(parser.resolve(key.ranges, count if isinstance(key, searchkeys.Numbers) else highest))
        if not parser.has_saved(key.ranges):
            return found
        last = searchkeys.Uids(searchkeys.ranges([(uid, uid) for uid in saved]))
        return searchkeys.Or((found, last)) if found.ranges else last
    if isinstance(key, searchkeys.Not):
        return searchkeys.Not(resolved(key.key, count, highest, saved))
    if isinstance(key, searchkeys.And | searchkeys.Or):
        return type(key)(tuple(resolved(one, count, highest, saved) for one in key.keys))
    return key
