"""Looking into a message without the email package: where the header ends, what a field says.

Works on bytes as they lie on disk (LF) or on the wire (CRLF), in linear time, and never raises on a malformed one.
"""

import binascii
import functools
import itertools
import operator
import re
from typing import Any

from lanmail import charset

# RFC 2047 §2 forbids blanks inside a word, but many write them.
_WORD = re.compile(rb"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_RUN = re.compile(rb"(W(?:[ \t\r\n]*W)*+)".replace(b"W", rb"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?="))
_SHORT = 300


def header_end(data: bytes) -> int:
    """The offset of the body, behind the empty line; len(data) when there is no empty line."""
    if data[:1] == b"\n":
        return 1
    if data[:2] == b"\r\n":
        return 2
    lf = data.find(b"\n\n")
    crlf = data.find(b"\n\r\n", 0, lf + 2 if lf >= 0 else len(data))
    if crlf >= 0:
        return crlf + 3
    return lf + 2 if lf >= 0 else len(data)


def fields(header: bytes, name: bytes) -> list[bytes]:
    """The unfolded, stripped values of every field called `name` (any case), in order."""
    found = []
    for match in _field_pattern(name).finditer(header):
        value = match.group(1)
        if b"\n" in value:
            value = b"".join(line.rstrip(b"\r") for line in value.split(b"\n"))
        found.append(value.strip())
    return found


def field(header: bytes, name: bytes) -> bytes | None:
    """The first value of the field called `name`, None when there is none."""
    match = _field_pattern(name).search(header)
    if not match:
        return None
    value = match.group(1)
    if b"\n" in value:
        value = b"".join(line.rstrip(b"\r") for line in value.split(b"\n"))
    return value.strip()


def field_spans(header: bytes, name: bytes) -> list[tuple[int, int]]:
    """Where every field called `name` stands, with its line end: (start, end) in order."""
    found = [match.span() for match in _field_pattern(name).finditer(header)]
    return [(start, min(end + 1, len(header))) for start, end in found]


_patterns: dict[bytes, re.Pattern[bytes]] = {}


def _field_pattern(name: bytes) -> re.Pattern[bytes]:
    pattern = _patterns.get(name)
    if pattern is None:
        # a value goes on over lines that start with a blank (RFC 5322 §2.2.3)
        text = rb"^" + re.escape(name) + rb"[ \t]*:((?:[^\n]*\n[ \t])*[^\n]*)"
        pattern = re.compile(text, re.IGNORECASE | re.MULTILINE)
        if len(_patterns) < 256:
            _patterns[name] = pattern
    return pattern


def decode_words(value: bytes) -> str:
    """A header value as text: encoded words (RFC 2047) decoded, the rest as UTF-8 or windows-1252. Never raises."""
    if b"=?" not in value:
        return charset.decode(value, None)
    pieces: list[Any] = _RUN.split(value)  # text, run, text, …
    pieces[::2] = [charset.decode(piece, None) if piece else "" for piece in pieces[::2]]
    pieces[1::2] = [(_run if len(run) <= _SHORT else _run.__wrapped__)(run) for run in pieces[1::2]]
    return "".join(pieces)


@functools.lru_cache(maxsize=2048)  # the same names and subjects stand over many messages
def _run(run: bytes) -> str:
    """Encoded words with at most blanks between them, which do not count."""
    words = [_word(*word) for word in _WORD.findall(run)]
    if len({name for _, name in words}) == 1:
        return charset.decode(b"".join([raw for raw, _ in words]), words[0][1])
    # neighbours of one charset may split a character between them
    return "".join([charset.decode(b"".join([raw for raw, _ in group]), name)
                    for name, group in itertools.groupby(words, key=operator.itemgetter(1))])


def _word(charset_name: bytes, encoding: bytes, body: bytes) -> tuple[bytes, str]:
    """The octets of an encoded word and its charset."""
    name = _charset_name(charset_name)
    if encoding in b"qQ":
        return binascii.a2b_qp(body.replace(b"_", b" ")), name
    try:
        return binascii.a2b_base64(body + b"=" * (-len(body) % 4)), name
    except binascii.Error:
        return body, name


@functools.lru_cache(maxsize=64)
def _charset_name(given: bytes) -> str:
    """RFC 2231 §5: charset*language."""
    return given.split(b"*")[0].decode("ascii", "replace").lower()
