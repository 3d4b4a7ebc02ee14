"""A message to read from: bytes, or a descriptor of which only what is asked for is read."""

import os

from lanmail import wire
from lanmail.mime import headers, tree

STEP = 1 << 16


class Source:
    """A message, given as bytes or as a descriptor that stays the caller's; reading may raise OSError."""

    __slots__ = ("_data", "_fd", "_header", "_octets", "_size", "_tree")

    def __init__(
        self, data: bytes | None = None, *, fd: int = -1, size: int = -1, tree: tree.Part | None = None,
    ) -> None:
        self._data = data
        self._fd = fd
        self._octets = size
        self._tree = tree
        self._header: bytes | None = None
        self._size = -1

    @property
    def data(self) -> bytes:
        """The whole message as on disk (read once)."""
        if self._data is None:
            self._data = _read(self._fd, self._octets)
        return self._data

    def beginning(self, size: int) -> bytes:
        """The first octets of the message; it is not read on for them."""
        return self._data[:size] if self._data is not None else os.pread(self._fd, size, 0)

    @property
    def header(self) -> bytes:
        """The header block with its empty line; reads no further than needed."""
        if self._header is None:
            if self._data is None:
                self._header = self._read_header()
            else:
                self._header = self._data[: headers.end(self._data)]
        return self._header

    @property
    def tree(self) -> tree.Part:
        """The tree, parsed when first needed unless the caller had it in a cache."""
        if self._tree is None:
            self._tree = tree.scan(self.data).part()
        return self._tree

    @property
    def wire_size(self) -> int:
        """RFC822.SIZE."""
        if self._size < 0:
            if self._tree is not None:
                self._size = self._tree.header.wire + self._tree.body.wire
            else:
                self._size = wire_size(self.data, 0, len(self.data))
        return self._size

    def _read_header(self) -> bytes:
        block = bytearray()
        while piece := os.pread(self._fd, STEP if block else STEP // 8, len(block)):
            searched = max(len(block) - 2, 0)
            block += piece
            if block.startswith((b"\n", b"\r\n")) or headers.empty_line(block, searched):
                header = bytes(block)
                return header[: headers.end(header)]
        self._data = bytes(block)
        return self._data


def wire_size(data: bytes, start: int, end: int) -> int:
    """How long that part of the data is with CRLF line ends."""
    size = end - start + tree.count_lines(data, start, end)
    return size - data.count(b"\r\n", start, end) if data.find(b"\r", start, end) >= 0 else size


def on_wire(data: bytes, start: int, end: int, partial: tuple[int, int] | None = None) -> bytes:
    """That part of the data with CRLF line ends, or the octets <offset.length> of it; converts no more than asked for.

    No IMAP literal can hold NUL (RFC 3501 §4.3): it becomes 0x80, as with other servers.
    """
    if partial is None:
        converted = wire.to_crlf(data[start:end])
    else:
        offset, length = partial
        start, skipped = _seek(data, start, end, offset)
        offset -= skipped
        converted = wire.to_crlf(data[start : min(end, start + offset + length + 1)])[offset : offset + length]
    return converted.replace(b"\0", b"\x80") if b"\0" in converted else converted


def _seek(data: bytes, start: int, end: int, offset: int) -> tuple[int, int]:
    """A place at or before `offset` octets on the wire from `start`, and how many octets lie before it."""
    skipped = 0
    while offset - skipped > STEP + 2 and start < end:
        stop = min(start + STEP // 2, end)
        if data[stop - 1] == 13:
            stop = min(stop + 1, end)
        size = wire_size(data, start, stop)
        start, skipped = stop, skipped + size
    return start, skipped


def _read(fd: int, size: int) -> bytes:
    """All of a file; one call for most. `size`: what it was a moment ago, negative if nobody looked."""
    wanted = (size if size >= 0 else os.fstat(fd).st_size) + 1
    pieces = [os.pread(fd, wanted, 0)]
    offset = len(pieces[0])
    if offset != wanted - 1:
        while piece := os.pread(fd, STEP, offset):
            pieces.append(piece)
            offset += len(piece)
    return b"".join(pieces)
