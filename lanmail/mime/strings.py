"""IMAP strings (RFC 3501 §4.3) out of mail headers: quoted where the grammar allows it, else a literal."""

import re

_plain = re.compile(rb'[^"\\\r\n\x80-\xff]*+').fullmatch
_needs_literal = re.compile(rb"[\r\n\x80-\xff]").search
_escape = re.compile(rb'(["\\])')
_UNTIDY = b'\0\t\r\n"\\' + bytes(range(0x80, 0x100))
_newline_in_word = re.compile(rb"[\r\n](?=[^ \t\r\n])")
_blanks = re.compile(rb"[ \t\r\n]+")

MAX_ESCAPES = 4  # beyond that a literal is shorter and easier on clients' parsers
MAX_WORD = 8182  # a longer single word is a literal, lest it fill a client's line buffer; Dovecot does so too


def literal(value: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    """The value as it is. Must not hold NUL, which no IMAP string can carry."""
    if value is None:
        return b"NIL"
    if _plain(value):
        return b'"%b"' % value
    if _needs_literal(value) or value.count(b'"') + value.count(b"\\") > MAX_ESCAPES:
        return literal(value)
    return b'"%b"' % _escape.sub(rb"\\\1", value)


def unfolded(value: bytes | None) -> bytes:
    """The value without its line ends; where one stood between two words, a blank (RFC 5322 §2.2.3)."""
    if value is None:
        return b"NIL"
    if _plain(value):
        return b'"%b"' % value
    if b"\n" in value or b"\r" in value:
        value = _newline_in_word.sub(b" ", value).replace(b"\n", b"").replace(b"\r", b"")
    return nstring(value)


def text(value: bytes | None) -> bytes:
    """A value that people read (Subject, name): runs of blanks and folds become one blank, the ends are trimmed."""
    if value is None:
        return b"NIL"
    if (len(value.translate(None, _UNTIDY)) == len(value) and b"  " not in value and value[:1] != b" " != value[-1:]
            and (len(value) <= MAX_WORD or b" " in value[:MAX_WORD])):
        return b'"%b"' % value
    value = _blanks.sub(b" ", value).strip(b" ")
    return literal(value) if value else b'""'
