"""Address lists of From, To and the like, as ENVELOPE shows them: lenient, linear, and nothing silently mended.

What cannot be read is shown as such (MISSING_MAILBOX, MISSING_DOMAIN, SYNTAX_ERROR, INVALID_ROUTE: the words that
clients know from Dovecot), so that nobody takes half an address for a whole one. A list ends where its syntax breaks.
Groups are given as in RFC 3501 §7.4.2: an address with only a mailbox opens one, an address of four NILs closes it.
"""

import functools
import re
from typing import NamedTuple

from lanmail.mime import strings, values, words

MAX_ADDRESSES = 10_000
SHORT = 400


class Mailbox(NamedTuple):
    """One address; each of the four may be None (NIL)."""

    name: bytes | None
    route: bytes | None
    local: bytes | None
    domain: bytes | None


_END_OF_GROUP = Mailbox(None, None, None, None)

# The addresses that most mail has, up to the next one: plain ASCII, a name of plain or quoted words, nothing unusual.
_ATEXT = values.ATEXT.replace(rb"\x80-\xff", b"")
_DOTTED = _ATEXT.replace(b"[", b"[.", 1)
_ADDRESS = rb"(%b++)@(%b++(?:\.%b++)*+)" % (_DOTTED, _ATEXT, _ATEXT)
_NAME = rb'(?:"([^"\\\n\0]*+)"|(%b%b*+(?: %b++)*+))[ \t\r\n]*+' % (_ATEXT, _DOTTED, _DOTTED)
_common = re.compile(
    rb"[ \t\r\n]*+(?:(?:%b)?<%b>|%b)[ \t\r\n]*+(?:,|\Z)" % (_NAME, _ADDRESS, _ADDRESS)
).match

_QUOTE, _COMMA, _COLON, _SEMICOLON, _LESS, _GREATER, _AT = b'",:;<>@'


def parse(value: bytes, limit: int = MAX_ADDRESSES) -> list[Mailbox]:
    """The addresses of a field's value as `headers` cuts it, at most `limit`."""
    found: list[Mailbox] = []
    at = 0
    while common := _common(value, at):
        quoted, plain, local, domain, bare_local, bare_domain = common.groups()
        found.append(Mailbox(quoted or plain or None, None, local or bare_local, domain or bare_domain))
        at = common.end()
        if len(found) >= limit:
            return found
    return found if at and at >= len(value) else _Parser(value, at, found, limit).addresses()


def written(value: bytes, limit: int = MAX_ADDRESSES) -> list[bytes]:
    """The same as ENVELOPE shows them, `(name route local domain)` each."""
    if len(value) <= SHORT and limit >= SHORT:
        return _written_short(value)
    return _written(value, limit)


@functools.lru_cache(maxsize=1024)
def _written_short(value: bytes) -> list[bytes]:
    """The same people stand in most mail of a folder."""
    return _written(value, MAX_ADDRESSES)


def _written(value: bytes, limit: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while common := _common(value, at):
        quoted, plain, local, domain, bare_local, bare_domain = common.groups()
        if plain:
            found.append(b'("%b" NIL "%b" "%b")' % (plain, local, domain))
        elif quoted:
            found.append(b'(%b NIL "%b" "%b")' % (strings.text(quoted), local, domain))
        else:
            found.append(b'(NIL NIL "%b" "%b")' % (local or bare_local, domain or bare_domain))
        at = common.end()
        if len(found) >= limit:
            return found
    if at and at >= len(value):
        return found
    text, nstring = strings.text, strings.nstring
    for name, route, local, domain in _Parser(value, at, [], limit - len(found)).addresses():
        found.append(b"(%b %b %b %b)" % (text(name), nstring(route), nstring(local), nstring(domain)))
    return found


class _Parser(words.Reader):
    """RFC 5322 §3.4 with the obsolete forms, by descent; it goes back only within one address, twice at most."""

    __slots__ = ("broken", "domain", "found", "limit", "local", "name", "route")

    def __init__(self, value: bytes, at: int, found: list[Mailbox], limit: int) -> None:
        super().__init__(value, at)
        self.limit = limit
        self.found = found
        self.clear()

    def clear(self) -> None:
        self.name: bytes | None = None
        self.route: bytes | None = None
        self.local: bytes | None = None
        self.domain: bytes | None = None
        self.broken = False

    # The list

    def addresses(self) -> list[Mailbox]:
        """All from the place on, which is the start or after a comma."""
        first = self.at == 0
        while len(self.found) < self.limit:
            state = self.blanks()
            if state == words.BROKEN and not first:
                self.add()
            if state != words.MORE or self.address() == words.END or not self.sees(_COMMA):
                break
            self.at += 1
            first = False
        return self.found

    def address(self) -> int:
        start = self.at
        state = self.group()
        if state == words.BROKEN:
            self.at = start
            state = self.mailbox()
        return state

    def group(self) -> int:
        """`Name: a@b, c@d;`; words.BROKEN only if it is no group at all."""
        self.text.clear()
        if self.phrase() != words.MORE or self.value[self.at] != _COLON:
            return words.BROKEN
        self.at += 1
        state = self.blanks()
        self.found.append(Mailbox(None, None, bytes(self.text), None))
        if state == words.MORE and self.value[self.at] != _SEMICOLON:
            while len(self.found) < self.limit:
                self.mailbox()
                if not self.sees(_COMMA):
                    break
                self.at += 1
                if self.blanks() != words.MORE:
                    state = words.BROKEN
                    break
        if state != words.BROKEN:
            if self.sees(_SEMICOLON):
                self.at += 1
                state = self.blanks()
            else:
                state = words.BROKEN
        self.found.append(_END_OF_GROUP)
        return words.END if state == words.END else words.MORE

    def mailbox(self) -> int:
        start = self.at
        state = self.name_and_address()
        if state == words.BROKEN:
            self.at = start
            state = self.address_and_comment()
            if self.broken and self.name is None and self.domain is None:
                self.name, self.local = self.local, None
        self.add()
        return state

    def add(self) -> None:
        local = b"MISSING_MAILBOX" if self.local is None else self.local
        self.found.append(Mailbox(self.name, self.route, local, self.domain or b"MISSING_DOMAIN"))
        self.clear()

    # One address

    def name_and_address(self) -> int:
        """`Name <local@domain>`."""
        self.text.clear()
        if self.phrase() != words.MORE or self.value[self.at] != _LESS:
            return words.BROKEN
        self.name = bytes(self.text) or None
        if self.angle() == words.BROKEN:
            self.domain = b"SYNTAX_ERROR"
        return words.MORE if self.at < self.size else words.END

    def angle(self) -> int:
        self.at += 1
        if self.blanks() != words.MORE:
            return words.BROKEN
        if self.value[self.at] == _AT:
            if self.source_route() == words.MORE and self.value[self.at] == _COLON:
                self.at += 1
            else:
                self.route = b"INVALID_ROUTE"
            if self.blanks() != words.MORE:
                return words.BROKEN
        if self.value[self.at] != _GREATER:
            if self.local_part() != words.MORE:
                return words.BROKEN
            if self.value[self.at] == _AT and self.domain_part() != words.MORE:
                return words.BROKEN
        if self.value[self.at] != _GREATER:
            return words.BROKEN
        self.at += 1
        return self.blanks()

    def source_route(self) -> int:
        """`@a,@b` of `<@a,@b:c@d>` (RFC 5322 §4.4)."""
        self.text.clear()
        while True:
            if self.at >= self.size:
                return words.END
            if self.value[self.at] != _AT:
                break
            if self.text:
                self.text += b","
            self.text += b"@"
            state = self.domain_text()
            if state != words.MORE:
                return state
            while self.blanks() == words.MORE and self.value[self.at] == _COMMA:
                self.at += 1
        self.route = bytes(self.text)
        return words.MORE

    def address_and_comment(self) -> int:
        """`local@domain (Name)`; a lone word is a name as well as a mailbox, several are a name."""
        self.comment = -1
        quoted = self.value[self.at] == _QUOTE
        state = self.local_part()
        self.broken = state != words.MORE
        with_domain = state != words.END and self.sees(_AT)
        if with_domain:
            domain_state = self.domain_part()
            state = domain_state if domain_state != words.MORE else state
        comment = self.comment_text()
        if comment:
            self.name = comment
        elif not with_domain:
            self.text += b" "
            before = len(self.text)
            self.phrase()
            if len(self.text) != before:
                self.local, self.name = None, bytes(self.text)
            elif not quoted:
                self.domain = b""
            self.broken = True
            state = words.BROKEN
        return state

    def local_part(self) -> int:
        self.text.clear()
        state = self.quoted() if self.value[self.at] == _QUOTE else self.loose_dot_atom()
        if state != words.BROKEN:
            self.local = bytes(self.text)
        return state

    def domain_part(self) -> int:
        self.text.clear()
        state = self.domain_text()
        if state != words.BROKEN:
            self.domain = bytes(self.text)
        return state
