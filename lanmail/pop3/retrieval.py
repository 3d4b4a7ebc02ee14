"""Reading a message file for the wire: CRLF line ends, dots stuffed (RFC 1939 §3), in slices, without waiting.

    read_now(descriptor, size, offset) -> bytes | None     only what is in memory already; None: read in a thread
    Stuffer().feed(slice) / .end()                         the slices of one message, whatever the slice borders
    stuff(data) -> bytes                                   a whole message, with the line end it may lack
    top(data, lines) -> bytes | None                       header and first lines; None when `data` is too short for it
    top_end(descriptor, lines) -> int                      the same as an offset, for a message of any size
"""

import os

from lanmail import message, wire

SLICE = 256 * 1024
_scratch = bytearray(SLICE)
_view = memoryview(_scratch)


def read_now(descriptor: int, size: int, offset: int = 0) -> bytes | None:
    """At most SLICE bytes from the page cache; None when that would mean to wait for the disk."""
    try:
        count = os.preadv(descriptor, [_view[:size]], offset, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: a file system that cannot tell
        return None
    return bytes(_view[:count]) if count == size else None


def read_slice(descriptor: int, size: int, offset: int) -> bytes:
    """The same, waiting for the disk: for a thread. Short only at the end of the file."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def stuff(data: bytes) -> bytes:
    """A whole message: line ends, dots, and a line end where the last line has none."""
    if b"\r" in data:
        data = wire.to_lf(data)
    if data[-1:] != b"\n" and data:
        data += b"\n"
    stuffed = wire.to_dotted(data)
    return b"." + stuffed if data[:1] == b"." else stuffed


class Stuffer:
    """The same for a message that comes in slices."""

    def __init__(self) -> None:
        self._held = b""  # a CR at the end of a slice: half of a CRLF, or not
        self._line_start = True

    def feed(self, data: bytes) -> bytes:
        """The next slice for the wire."""
        if self._held:
            data, self._held = self._held + data, b""
        if data[-1:] == b"\r":
            data, self._held = data[:-1], b"\r"
        if b"\r" in data:
            data = wire.to_lf(data)
        if not data:
            return b""
        stuffed = wire.to_dotted(data)
        if self._line_start and data[:1] == b".":
            stuffed = b"." + stuffed
        self._line_start = data[-1:] == b"\n"
        return stuffed

    def end(self) -> bytes:
        """What is left: a lone CR, and the line end that the last line may lack."""
        left, self._held = self._held, b""
        return left if self._line_start and not left else left + b"\r\n"


def top(data: bytes, lines: int) -> bytes | None:
    """Header, blank line and the first `lines` lines of the body (RFC 1939 §7); None when `data` ends before."""
    end = message.header_end(data)
    if end == len(data) and data[-2:] != b"\n\n" and data[-3:] != b"\n\r\n":
        return None
    for _ in range(lines):
        found = data.find(b"\n", end)
        if found < 0:
            return None
        end = found + 1
    return data[:end]


def top_end(descriptor: int, lines: int) -> int:
    """The offset at which what `top` wants ends, for messages of any size; reads the file, so for a thread."""
    with open(descriptor, "rb", closefd=False) as stream:
        stream.seek(0)
        whole, in_header = True, True
        while line := stream.readline(SLICE):
            if in_header:
                in_header = not (whole and line in (b"\n", b"\r\n"))
            elif line[-1:] == b"\n":
                lines -= 1
            whole = line[-1:] == b"\n"
            if not in_header and lines <= 0:
                break
        return stream.tell()
