"""Cutting BODY[...] out of a message: the sections of RFC 3501 §6.4.5, in wire form (CRLF), with <offset.length>.

`Source` is the message: bytes, or a descriptor from which only what is asked for is read.
"""

from dataclasses import dataclass

from lanmail.imap import structure


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[1.2.HEADER.FIELDS (To Cc)] is `Section((1, 2), "HEADER.FIELDS", (b"To", b"Cc"))`; `Section()` is BODY[]."""

    part: tuple[int, ...] = ()
    what: str = ""  # "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT, MIME
    fields: tuple[bytes, ...] = ()

    def wire(self) -> bytes:
        """As it is echoed in the answer, without the brackets."""
        raise NotImplementedError


def parse(text: str) -> Section:
    """The part between the brackets up to the field list: `1.2.MIME`; the caller adds the fields. Raises ValueError."""
    raise NotImplementedError


class Source:
    """A message to cut from, given as bytes or as a descriptor that stays the caller's; reading may raise OSError."""

    def __init__(self, data: bytes | None = None, *, fd: int = -1, tree: structure.Part | None = None) -> None:
        raise NotImplementedError

    @property
    def data(self) -> bytes:
        """The whole message as on disk (read once)."""
        raise NotImplementedError

    @property
    def header(self) -> bytes:
        """The header block with its empty line; reads no further than needed."""
        raise NotImplementedError

    @property
    def tree(self) -> structure.Part:
        """The tree, parsed when first needed unless the caller had it in a cache."""
        raise NotImplementedError

    @property
    def wire_size(self) -> int:
        """RFC822.SIZE."""
        raise NotImplementedError


def cut(source: Source, section: Section, partial: tuple[int, int] | None = None) -> bytes | None:
    """The octets of BODY[section]<partial> for the wire; None (NIL) when there is no such part."""
    raise NotImplementedError


def size(source: Source, section: Section) -> int | None:
    """How long `cut` without partial would be (for RFC822.SIZE-like answers, BINARY.SIZE excepted)."""
    raise NotImplementedError
