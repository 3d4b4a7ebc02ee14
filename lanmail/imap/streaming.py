"""A large message on its way to the client: in pieces, line ends made CRLF, never as a whole in memory."""

import os

from lanmail.imap.session import Session

LARGE = 1 << 20
PIECE = 1 << 16


async def send(session: Session, descriptor: int, before: bytes) -> None:
    """Say `before`, then the file as a literal. OSError, and the end of the connection, when it changes meanwhile."""
    size = await session.worker.run(measure, descriptor)
    session.connection.write(before + b"{%d}\r\n" % size)
    last = b""
    offset = sent = 0
    while piece := os.pread(descriptor, PIECE, offset):
        offset += len(piece)
        data = _crlf(piece, last)
        last = piece[-1:]
        sent += len(data)
        if sent > size:
            break
        session.connection.write(data)
        await session.room()
    if sent != size:
        # somebody changes a delivered file while we read it: no way to keep the literal's promise
        session.connection.abort()
        raise OSError("the message changed while it was sent")


def _crlf(data: bytes, last: bytes) -> bytes:
    """LF and CRLF both become CRLF, NUL becomes 0x80 (no literal can hold it); `last` is the octet before."""
    data = data.replace(b"\0", b"\x80") if b"\0" in data else data
    if (b"\r" in data and b"\r\n" in data) or (last == b"\r" and data[:1] == b"\n"):
        kept = data[:1] == b"\n" and last == b"\r"
        body = data[1:] if kept else data
        return (b"\n" if kept else b"") + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data.replace(b"\n", b"\r\n")


def measure(descriptor: int) -> int:
    """How many octets a file is with CRLF line ends; the name may tell a lie, and a literal must not."""
    size = 0
    last = b""
    offset = 0
    while piece := os.pread(descriptor, LARGE, offset):
        offset += len(piece)
        size += len(_crlf(piece, last))
        last = piece[-1:]
    return size
