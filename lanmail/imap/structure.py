"""A message's MIME tree as offsets: plain numbers that a cache can store, enough to cut any section out of the file.

Never raises, linear in the message, bounded in depth and parts (RFC 2046; limits below).
"""

from typing import NamedTuple

MAX_DEPTH = 100
MAX_PARTS = 10_000

LEAF, TEXT, MULTIPART, MESSAGE = range(4)


class Size(NamedTuple):
    octets: int  # as on disk
    wire: int  # with CRLF line ends
    lines: int


class Part(NamedTuple):
    """One part: a MIME header at `start`, then its body; `parts` of a multipart, or the one of a message/rfc822."""

    kind: int
    start: int
    header: Size
    body: Size
    parts: "tuple[Part, ...]"


def parse(data: bytes) -> Part:
    """The tree of a whole message, with LF or CRLF lines or both."""
    raise NotImplementedError


class Summary(NamedTuple):
    """What FETCH wants to know without opening the message again; all plain values, made in one pass."""

    tree: Part
    envelope: bytes  # "(...)" ready for the wire, may hold literals
    body: bytes  # BODY, non-extensible
    bodystructure: bytes  # BODYSTRUCTURE
    wire_size: int  # RFC822.SIZE


def summary(data: bytes) -> Summary:
    """Tree, ENVELOPE, BODY, BODYSTRUCTURE and RFC822.SIZE of a whole message."""
    raise NotImplementedError


def envelope(header: bytes) -> bytes:
    """ENVELOPE from the message's header block alone."""
    raise NotImplementedError
