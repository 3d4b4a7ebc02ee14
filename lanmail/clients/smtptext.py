"""A message on its way to the wire: line ends, dots, and what is 8-bit in it.

Nothing is parsed and put together again: LF becomes CRLF, and that is all that changes. A CR that belongs to no line
end goes out as a blank, for a server that takes it for one could be made to see two mails in one (CVE-2023-51764).
"""

import re
from collections.abc import Iterator

from lanmail import wire
from lanmail.transports import Message

_line_end = re.compile(rb"\r+\n").sub
_bare = re.compile(rb"\r+").sub


def is_ascii(text: Message) -> bool:
    """True when no octet has its high bit set."""
    return all(piece.isascii() for piece in text.chunks())


def dotted(text: Message) -> Iterator[bytes]:
    """For DATA: CRLF line ends, leading dots doubled, ends with a line end, without the final dot."""
    return _encode(text, True)


def plain(text: Message) -> Iterator[bytes]:
    """For BDAT: CRLF line ends."""
    return _encode(text, False)


def _encode(text: Message, dots: bool) -> Iterator[bytes]:
    start, held = True, b""
    for piece in text.chunks():
        if held or b"\r" in piece:
            piece = held + piece
            kept = piece.rstrip(b"\r")
            held = b"\r" if len(kept) != len(piece) else b""
            piece = _bare(b" ", _line_end(b"\n", kept))
            if not piece:
                continue
        stuffed = dots and start and piece.startswith(b".")
        start = piece.endswith(b"\n")
        out = wire.to_dotted(piece) if dots else piece.replace(b"\n", b"\r\n")
        yield b"." + out if stuffed else out
    if held or not start:
        yield b"\r\n"
