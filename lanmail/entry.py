"""One entry of a spool as its owner sees it: its envelope, its sizes, and a look at its header when somebody must.

On the fast path an entry costs one open, one fstat and one short read; the body is never read.
"""

import os
import time
from dataclasses import dataclass

from lanmail import atomic, envelope, message, spool

BLOCK = 4096  # holds the envelope of all but huge recipient lists
MAX_HEADER = 1 << 20


class Unreadable(Exception):
    """The file is no whole entry; the text says why, for the person who finds it in hold."""


@dataclass(slots=True)
class Entry:
    """A whole, closed spool entry; `offset` is where its message starts."""

    name: str
    id: str
    place: str
    head: envelope.Envelope
    offset: int
    size: int
    wire_size: int | None
    start: bytes
    mtime: float

    def arrived(self) -> float:
        """When the mail came in, as its name says (a Maildir name starts with the seconds), else its file."""
        seconds, _, rest = self.id.partition(".")
        if seconds.isascii() and seconds.isdigit() and 8 < len(seconds) < 13:
            micros = rest[1:7]
            return int(seconds) + (int(micros) / 1e6 if micros.isascii() and micros.isdigit() else 0.0)
        return self.mtime

    def may_have(self, field: bytes) -> bool:
        """False when the header has no such field (in small letters, with its colon): a quick look, no reading."""
        known = self.start[self.offset :]
        return field in known.lower() or message.header_end(known) == len(known) < self.size - self.offset

    def delay(self) -> float:
        """Seconds since it came in; never negative, whatever the clock did."""
        return max(0.0, time.time() - self.arrived())


def read(owner: spool.Spool, place: str, name: str) -> Entry:
    """Look at an entry. Unreadable, FileNotFoundError when it is gone, atomic.NotRegular for foreign things."""
    if not name.isprintable() or len(name.encode()) > spool.MAX_NAME:  # ids go into logs, JSON and other names
        raise Unreadable(f"its name holds control characters, is no UTF-8, or has more than {spool.MAX_NAME} bytes")
    descriptor = atomic.open_regular(name, dir_fd=owner.fd(place))
    try:
        status = os.fstat(descriptor)
        start = os.read(descriptor, BLOCK)
        head, offset = _decode(start)
        if status.st_size > len(start) and b"\n" not in start[offset:]:  # the envelope may go on behind the block
            start += os.read(descriptor, envelope.LIMIT + BLOCK)
            head, offset = _decode(start)
    finally:
        os.close(descriptor)
    parsed = spool.parse_name(name)
    if parsed.size is not None and parsed.size != status.st_size:
        raise Unreadable(f"torn: the name says {parsed.size} bytes, the file has {status.st_size}")
    if head is None:
        raise Unreadable("empty" if not status.st_size else "no envelope: the file does not start with X-Sender lines")
    if not head.recipients:
        raise Unreadable("no recipients: there is no X-Receiver line")
    return Entry(name, parsed.id, place, head, offset, status.st_size, parsed.wire_size, start, status.st_mtime)


def _decode(start: bytes) -> tuple[envelope.Envelope | None, int]:
    try:
        return envelope.decode(start)
    except ValueError as error:
        raise Unreadable(f"malformed envelope: {error}") from error


def header(owner: spool.Spool, entry: Entry) -> bytes:
    """The header of the message, without envelope lines; at most MAX_HEADER bytes of it."""
    known = entry.start[entry.offset :]
    end = message.header_end(known)
    if end < len(known) or entry.size <= len(entry.start):
        return known[:end]
    descriptor = atomic.open_regular(entry.name, dir_fd=owner.fd(entry.place))
    try:
        data = os.pread(descriptor, MAX_HEADER, entry.offset)
    finally:
        os.close(descriptor)
    return data[: message.header_end(data)]
