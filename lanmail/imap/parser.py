"""The tokens of IMAP commands (RFC 3501 §9): a cursor over the text of one whole command.

The text is what was on the wire, without the final CRLF; a literal stands in it as `{5}CRLF` and its octets, so CRLF
occurs nowhere else. Total: whatever the text, a method returns or raises ParseError, in time linear in the text; the
session bounds the text, `MAX_DEPTH` the nesting.
"""

import re
from typing import NoReturn

from lanmail.imap import searchkeys

MAX_DEPTH = 64
MAX_NUMBER = 0xFFFFFFFF

Set = tuple[tuple[int, int], ...]
"""A sequence set as written: pairs in any order, `*` as 0."""

TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
LIST_MAILBOX = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
QUOTED = re.compile(rb'"([^"\\\r\n\x00]*+(?:\\["\\][^"\\\r\n\x00]*+)*+)"')
ESCAPE = re.compile(rb'\\(["\\])')
LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\r\n")
MARKER = re.compile(rb"(~?)\{(\d{1,30})(\+?)\}\Z")
NUMBER = re.compile(rb"\d{1,19}")
SAVED = (-1, -1)  # in a set, the messages that the last SEARCH with SAVE found
SET = re.compile(rb"[\d:,*$]+")
FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


class ParseError(Exception):
    """The text breaks the grammar; str() says what was expected, for the client to read."""


class Cursor:
    """Reads tokens from `text`; `position` is always at the first octet not yet taken."""

    __slots__ = ("position", "text")

    def __init__(self, text: bytes, position: int = 0) -> None:
        self.text = text
        self.position = position

    def fail(self, expected: str) -> NoReturn:
        raise ParseError(f"expected {expected} at octet {self.position + 1}")

    def peek(self, token: bytes) -> bool:
        """Whether `token` comes next; it stays."""
        return self.text.startswith(token, self.position)

    def take(self, token: bytes) -> bool:
        """Take `token` if it comes next."""
        if self.text.startswith(token, self.position):
            self.position += len(token)
            return True
        return False

    def expect(self, token: bytes) -> None:
        if not self.take(token):
            self.fail(token.decode("ascii") if token.strip() else "a space")

    def space(self) -> None:
        self.expect(b" ")

    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def end(self) -> None:
        """Nothing may follow; trailing blanks are forgiven, as some clients send one."""
        if self.text[self.position : self.position + 64].strip(b" "):
            self.fail("the end of the command")

    def match(self, pattern: re.Pattern[bytes], expected: str) -> bytes:
        found = pattern.match(self.text, self.position)
        if found is None:
            self.fail(expected)
        self.position = found.end()
        return found.group()

    def tag(self) -> bytes:
        return self.match(TAG, "a tag")

    def atom(self) -> bytes:
        return self.match(ATOM, "an atom")

    def word(self) -> str:
        """An atom that is a keyword of the protocol, in upper case."""
        return self.atom().upper().decode("ascii")

    def number(self) -> int:
        """0 to 2^32-1 (RFC 3501 §9)."""
        value = int(self.match(NUMBER, "a number"))
        if value > MAX_NUMBER:
            self.fail("a number below 4294967296")
        return value

    def number64(self) -> int:
        """0 to 2^63-1 (RFC 7162, RFC 9051)."""
        value = int(self.match(NUMBER, "a number"))
        if value >= 1 << 63:
            self.fail("a number below 9223372036854775808")
        return value

    def modseq(self) -> int:
        """A mod-sequence (RFC 7162 §7); 0 is taken everywhere, as clients that know nothing yet send it."""
        return self.number64()

    def string(self) -> bytes:
        """A quoted string or a literal."""
        if self.peek(b'"'):
            return self._quoted()
        if self.peek(b"{") or self.peek(b"~{"):
            return self._literal()
        return self.fail("a string")

    def astring(self) -> bytes:
        """An atom (`]` allowed), a quoted string or a literal."""
        if self.peek(b'"') or self.peek(b"{"):
            return self.string()
        return self.match(ASTRING, "an atom or a string")

    def nstring(self) -> bytes | None:
        """A string, or None for NIL."""
        if self.text[self.position : self.position + 3].upper() == b"NIL":
            self.position += 3
            return None
        return self.string()

    def pattern(self) -> bytes:
        """A mailbox name of LIST, which may hold wildcards."""
        if self.peek(b'"') or self.peek(b"{"):
            return self.string()
        return self.match(LIST_MAILBOX, "a mailbox pattern")

    def sequence_set(self) -> Set:
        """`2,4:7,9:*`: numbers from 1, `*` given as 0, `$` (RFC 5182) as SAVED."""
        text = self.match(SET, "a message set")
        pairs: list[tuple[int, int]] = []
        for piece in text.split(b","):
            if piece == b"$":
                pairs.append(SAVED)
                continue
            low, colon, high = piece.partition(b":")
            first = self._set_number(low)
            pairs.append((first, self._set_number(high) if colon else first))
        return tuple(pairs)

    def flags(self) -> list[bytes]:
        """A parenthesised list of flags, as written."""
        self.expect(b"(")
        return self._flag_run(closed=True)

    def flags_or_run(self) -> list[bytes]:
        """STORE also takes flags without parentheses (RFC 3501 §9, store-att-flags)."""
        if self.peek(b"("):
            return self.flags()
        return self._flag_run(closed=False)

    def atoms(self) -> list[bytes]:
        """A parenthesised list of astrings, at least one."""
        self.expect(b"(")
        found = [self.astring()]
        while not self.take(b")"):
            self.space()
            found.append(self.astring())
        return found

    def _flag_run(self, *, closed: bool) -> list[bytes]:
        found: list[bytes] = []
        if closed and self.take(b")"):
            return found
        while True:
            found.append(self.match(FLAG, "a flag"))
            if closed and self.take(b")"):
                return found
            if not closed and self.at_end():
                return found
            self.space()

    def _quoted(self) -> bytes:
        found = QUOTED.match(self.text, self.position)
        if found is None:
            self.fail("a quoted string")
        self.position = found.end()
        inside = found.group(1)
        return ESCAPE.sub(rb"\1", inside) if b"\\" in inside else inside

    def _literal(self) -> bytes:
        found = LITERAL.match(self.text, self.position)
        if found is None:
            self.fail("a literal")
        start, size = found.end(), int(found.group(1))
        if size > len(self.text) - start:
            self.fail("a literal of the size it says")
        data = self.text[start : start + size]
        if b"\0" in data:
            # RFC 3501 §9: CHAR8 is %x01-ff; a NUL would cut names and passwords short in C code behind us
            self.fail("a literal without NUL")
        self.position = start + size
        return data

    def _set_number(self, text: bytes) -> int:
        if text == b"*":
            return 0
        if not text.isdigit() or len(text) > 10 or not 0 < int(text) <= MAX_NUMBER:
            self.fail("a message set")
        return int(text)


def resolve(numbers: Set, highest: int) -> searchkeys.Ranges:
    """The set with `*` filled in, sorted and joined; `$` is left out, see `has_saved`."""
    return searchkeys.ranges([(low or highest, high or highest) for low, high in numbers if low >= 0])


def has_saved(numbers: Set) -> bool:
    """Whether `$` is in the set."""
    return SAVED in numbers


def marker(line: bytes) -> tuple[int, bool] | None:
    """Whether a literal follows this line: its size, and whether the client waits for our consent (RFC 7888)."""
    if not line.endswith(b"}"):
        return None
    found = MARKER.search(line, max(0, len(line) - 34))
    if found is None:
        return None
    return int(found.group(2)), not found.group(3)
