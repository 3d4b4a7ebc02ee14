"""Looking into a message without the email package: where the header ends, what a field says.

Works on bytes as they lie on disk (LF) or on the wire (CRLF), in linear time, and never raises on a malformed one.
"""

import base64
import binascii
import codecs
import quopri
import re

_WORD = re.compile(rb"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\s]*)\?=")
_BETWEEN = re.compile(rb"(\?=)[ \t\r\n]+(?==\?[^?\s]{1,60}\?[bBqQ]\?)")


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
    """A header value as text: encoded words (RFC 2047) decoded, the rest as UTF-8 or Latin-1. Never raises."""
    if b"=?" not in value:
        return _text(value)
    value = _BETWEEN.sub(rb"\1", value)
    parts: list[str] = []
    end = 0
    pending: tuple[str, bytes] | None = None  # neighbours of one charset may split a character between them
    for match in _WORD.finditer(value):
        if match.start() > end or pending is None:
            parts += [_decode(*pending)] if pending else []
            pending = None
            parts.append(_text(value[end : match.start()]))
        charset, raw = _word(match)
        if pending and pending[0] == charset:
            pending = (charset, pending[1] + raw)
        else:
            parts += [_decode(*pending)] if pending else []
            pending = (charset, raw)
        end = match.end()
    parts += [_decode(*pending)] if pending else []
    parts.append(_text(value[end:]))
    return "".join(parts)


def _word(match: re.Match[bytes]) -> tuple[str, bytes]:
    charset = match.group(1).split(b"*")[0].decode("ascii", "replace").lower()  # RFC 2231 §5: charset*language
    body = match.group(3)
    if match.group(2) in b"qQ":
        return charset, quopri.decodestring(body.replace(b"_", b" "), header=False)
    try:
        return charset, base64.b64decode(body + b"=" * (-len(body) % 4))
    except binascii.Error:
        return charset, body


def _decode(charset: str, raw: bytes) -> str:
    try:
        codec = codecs.lookup(charset)
        if getattr(codec, "_is_text_encoding", True):
            return raw.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    return _text(raw)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
