"""8-bit text for a server that takes 7 bits only (RFC 6152 §3): quoted-printable, and only where it is needed.

Only the encoding of those leaves that hold 8-bit octets changes, and the Content-Transfer-Encoding lines that speak of
them; every other octet stays. What is signed is never touched: a message with a DKIM signature and anything inside
multipart/signed go as they are, for most servers take 8 bits all the same, and a broken signature never heals.
"""

import binascii
import re

from lanmail import message

_ENCODING = re.compile(rb"^content-transfer-encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(rb";\s*boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_EIGHT = re.compile(rb"[\x80-\xff]")
_TOO_LONG = re.compile(rb"[^\n]{998,}")  # RFC 5321 §4.5.3.1.6
_PIECE = re.compile(rb"(?>=[0-9A-Fa-f]{2}|[^\n]){72}(?=[^\n])")  # an octet in quotes is not cut
_SIGNATURES = (b"DKIM-Signature", b"ARC-Message-Signature")
DEPTH = 20


def to_seven(data: bytes) -> bytes:
    """A message (LF form) in 7 bits as far as that can be done."""
    header = data[: message.header_end(data)]
    if data.isascii() or any(message.field(header, name) is not None for name in _SIGNATURES):
        return data
    return _entity(data, DEPTH)


def _entity(data: bytes, depth: int) -> bytes:
    """A message or a part: header and body."""
    end = message.header_end(data)
    header, body = data[:end], data[end:]
    if body.isascii():
        return data
    kind = (message.field(header, b"Content-Type") or b"text/plain").lower()
    if kind.startswith(b"multipart/signed") or depth == 0:
        return data
    if kind.startswith(b"multipart/"):
        parts = _parts(header, body, depth)
        return data if parts is None else _encoded_as(b"7bit", header) + parts
    if kind.startswith(b"message/rfc822"):
        return _encoded_as(b"7bit", header) + _entity(body, depth - 1)
    if kind.startswith(b"message/"):
        return data  # RFC 2046 §5.2: no encoding may be put on it
    return _leaf(header, body)


def _leaf(header: bytes, body: bytes) -> bytes:
    """A part that is no container; one that says it is encoded is so, whatever got into it on the way."""
    said = re.match(rb"[^\s;(]*", message.field(header, b"Content-Transfer-Encoding") or b"")
    encoding = said[0].lower() if said else b""
    if encoding == b"quoted-printable":
        quoted = _EIGHT.sub(lambda octet: b"=%02X" % octet[0][0], body)
        return header + _TOO_LONG.sub(lambda line: _PIECE.sub(rb"\g<0>=\n", line[0]), quoted)
    if encoding == b"base64":
        return header + _EIGHT.sub(b"", body)  # RFC 2045 §6.8: they mean nothing there
    if encoding in (b"", b"7bit", b"8bit", b"binary"):
        return _encoded_as(b"quoted-printable", header) + _quoted(body)
    return header + body


def _parts(header: bytes, body: bytes, depth: int) -> bytes | None:
    """The body of a multipart with each part looked at; None when it has no boundary."""
    found = _BOUNDARY.search(message.field(header, b"Content-Type") or b"")
    if not found:
        return None
    mark = re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]
    lines = re.compile(rb"^--" + re.escape(mark) + rb"(--)?[ \t]*(?:\n|\Z)", re.MULTILINE)
    out, begin, inside = [], 0, False
    for line in lines.finditer(body):
        piece = body[begin : line.start()]
        if inside:
            # the line end before the boundary belongs to the boundary (RFC 2046 §5.1.1)
            piece = _entity(piece[:-1], depth - 1) + b"\n" if piece.endswith(b"\n") else _entity(piece, depth - 1)
        out += [piece, line[0]]
        begin, inside = line.end(), line[1] is None
        if line[1] is not None:
            break
    return b"".join(out) + body[begin:]


def _encoded_as(encoding: bytes, header: bytes) -> bytes:
    """The header with another Content-Transfer-Encoding, at the place of the old one or at the end."""
    line = b"Content-Transfer-Encoding: " + encoding + b"\n"
    if _ENCODING.search(header):
        return _ENCODING.sub(line, header, count=1)
    if encoding == b"7bit":
        return header
    mime = b"" if message.field(header, b"Content-Type") or message.field(header, b"MIME-Version") else (
        b"MIME-Version: 1.0\n")
    end = len(header) - 1 if header.endswith(b"\n\n") or header == b"\n" else len(header)
    return header[:end] + mime + line + header[end:]


def _quoted(body: bytes) -> bytes:
    return binascii.b2a_qp(body, istext=True)
