"""The grammar of a FETCH answer (RFC 3501 §9), read by code that shares nothing with the server's: what is said parses.

    fetched(line) -> dict      the items of `* 1 FETCH (…)`: numbers, bytes, None for NIL, lists; AssertionError
"""

import re
from typing import Any

ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
NAME = re.compile(rb"[A-Z0-9.]+(?:\[[^\]\r\n]*\])?(?:<\d+>)?")
QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"')
LITERAL = re.compile(rb"\{(\d+)\}\r\n")
FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
DATE = re.compile(rb"[ 0-3]\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}")
Value = Any


class Reader:
    """Reads values from the text of one answer."""

    def __init__(self, text: bytes) -> None:
        self.text, self.at = text, 0

    def expect(self, token: bytes) -> None:
        assert self.text.startswith(token, self.at), (token, self.text[self.at : self.at + 60])
        self.at += len(token)

    def sees(self, token: bytes) -> bool:
        return self.text.startswith(token, self.at)

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self.text, self.at)
        assert found is not None, (pattern.pattern, self.text[self.at : self.at + 60])
        self.at = found.end()
        return found

    def value(self) -> Value:
        """NIL, a number, a string or a parenthesised list; without recursion, for it may be deep."""
        stack: list[list[Value]] = [[]]
        while True:
            if self.sees(b"("):
                self.at += 1
                stack.append([])
                continue
            if self.sees(b")"):
                assert len(stack) > 1
                self.at += 1
                done = stack.pop()
                stack[-1].append(done)
            else:
                stack[-1].append(self.simple())
            if len(stack) == 1:
                return stack[0][0]
            if not self.sees(b")") and not (self.sees(b"(") and isinstance(stack[-1][-1], list)):
                self.expect(b" ")  # lists may follow each other without a blank: addresses, the parts of a multipart

    def simple(self) -> Value:
        if self.sees(b'"'):
            return re.sub(rb"\\(.)", rb"\1", self.match(QUOTED)[1])
        if self.sees(b"{"):
            size = int(self.match(LITERAL)[1])
            data = self.text[self.at : self.at + size]
            assert len(data) == size
            assert b"\0" not in data
            self.at += size
            return data
        atom = self.match(ATOM)[0]
        if atom == b"NIL":
            return None
        assert atom.isdigit(), atom
        assert int(atom) < 1 << 63, atom
        return int(atom)


def fetched(line: bytes) -> dict[str, Value]:
    """The items of one untagged FETCH."""
    reader = Reader(line)
    reader.match(re.compile(rb"(?:\* )?\d+ FETCH \("))
    found: dict[str, Value] = {}
    while True:
        name = reader.match(NAME)[0].decode()
        reader.expect(b" ")
        if name == "FLAGS":
            reader.expect(b"(")
            found[name] = flags(reader)
        else:
            found[name] = reader.value()
        check(name, found[name])
        if reader.sees(b")"):
            break
        reader.expect(b" ")
    reader.expect(b")")
    assert reader.at == len(line), line[reader.at : reader.at + 60]
    return found


def flags(reader: Reader) -> list[bytes]:
    found: list[bytes] = []
    while not reader.sees(b")"):
        if found:
            reader.expect(b" ")
        found.append(reader.match(FLAG)[0])
    reader.expect(b")")
    return found


def check(name: str, value: Value) -> None:
    """What the grammar says about the value of an item."""
    if name in ("UID", "RFC822.SIZE"):
        assert isinstance(value, int)
        assert value < 1 << 32
    elif name == "MODSEQ":
        assert value == [value[0]]
    elif name == "INTERNALDATE":
        assert DATE.fullmatch(value), value
    elif name == "ENVELOPE":
        envelope(value)
    elif name in ("BODY", "BODYSTRUCTURE"):
        body(value)
    elif name.startswith(("BODY[", "RFC822")):
        assert value is None or isinstance(value, bytes)


def string(value: Value) -> None:
    assert value is None or isinstance(value, bytes), value


def envelope(value: Value) -> None:
    """RFC 3501 §7.4.2: ten members, six of them lists of addresses."""
    assert len(value) == 10
    for member in (value[0], value[1], value[8], value[9]):
        string(member)
    for addresses in value[2:8]:
        assert addresses is None or addresses
        for address in addresses or ():
            assert len(address) == 4
            for part in address:
                string(part)


def body(value: Value) -> None:
    """Every part of a BODY or BODYSTRUCTURE, by a work list."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part[0], list):
            count = next((at for at, one in enumerate(part) if not isinstance(one, list)), len(part))
            waiting += part[:count]
            assert isinstance(part[count], bytes)  # the subtype
            extension(part[count + 1 :], parameters_first=True)
        else:
            waiting += leaf(part)


def leaf(part: Value) -> list[Value]:
    """One that is no multipart; returns the part inside of a message/rfc822."""
    kind, subtype, parameters, identity, description, encoding, octets, *more = part
    assert isinstance(kind, bytes)
    assert isinstance(subtype, bytes)
    assert isinstance(encoding, bytes)
    assert isinstance(octets, int)
    pairs(parameters)
    string(identity)
    string(description)
    inside: list[Value] = []
    if kind.lower() == b"message" and subtype.lower() == b"rfc822":
        envelope(more[0])
        inside.append(more[1])
        assert isinstance(more[2], int)
        more = more[3:]
    elif kind.lower() == b"text":
        assert isinstance(more[0], int)
        more = more[1:]
    extension(more, parameters_first=False)
    return inside


def extension(more: list[Value], *, parameters_first: bool) -> None:
    """MD5 or parameters, disposition, language, location."""
    assert len(more) in (0, 4)
    if more:
        pairs(more[0]) if parameters_first else string(more[0])
        if more[1] is not None:
            string(more[1][0])
            pairs(more[1][1])
        for language in more[2] if isinstance(more[2], list) else [more[2]]:
            string(language)
        string(more[3])


def pairs(value: Value) -> None:
    assert value is None or (value and len(value) % 2 == 0)
    for one in value or ():
        assert isinstance(one, bytes)
