"""Line ends of mail that comes in: CRLF becomes LF, and what is no line end cannot be taken for one later.

CRs directly before LF belong to that line end; an LF alone is a line end; any other run of CRs becomes one blank.
`bare` tells that there was one of these.
"""

import re

from lanmail import wire

_find_bare_cr = re.compile(rb"\r[^\n]").search
_join_line_end = re.compile(rb"\r+\n").sub
_drop_crs = re.compile(rb"\r+").sub


class Reader:
    """Takes a message in pieces; what is common to all ways in which they come."""

    def __init__(self) -> None:
        self.bare = False
        self.size = 0  # octets of the message with every line end counted as CRLF
        self.rest = b""  # what came after the end
        self.ended = False

    def to_lf(self, text: bytes, clean: bool = False) -> bytes:
        """`text`, which does not end inside a run of CRs, with LF line ends; `clean`: known to have no bare CR."""
        if not clean and _find_bare_cr(text):
            self.bare = True
            text = _drop_crs(b" ", _join_line_end(b"\n", text))
            self.size += len(text) + wire.lines(text)
            return text
        out = text.replace(b"\r", b"")
        lines = wire.lines(out)
        if len(text) - len(out) != lines:
            self.bare = True
        self.size += len(out) + lines
        return out

    def without_crs(self, text: bytes) -> bytes:
        """`text` without the CRs at its end, which the held back octets carry on."""
        out = text.rstrip(b"\r")
        if len(out) != len(text):
            self.bare = True
        return out


def whole(text: bytes) -> tuple[bytes, int, bool]:
    """A whole message that is no stream: in LF form, its octets in CRLF form, whether there were bare ones.

    One with nothing but LF, as it lies in a file, has none.
    """
    reader = Reader()
    if b"\r" not in text:
        text = text if text.endswith(b"\n") else text + b"\n"
        return text, len(text) + wire.lines(text), False
    out = reader.to_lf(text if text.endswith(b"\n") else text.rstrip(b"\r") + b"\r\n")
    return out, reader.size, reader.bare or text.endswith(b"\r")
