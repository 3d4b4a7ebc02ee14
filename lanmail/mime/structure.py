"""All that FETCH tells about a message but its text: the tree of its parts, ENVELOPE, BODY, BODYSTRUCTURE, RFC822.SIZE.

The values are plain tuples, numbers and bytes, so that a cache can keep them.
"""

from typing import NamedTuple

from lanmail.mime import bodystructure, envelopes, headers, tree

Part = tree.Part
Size = tree.Size


class Summary(NamedTuple):
    """What FETCH wants to know without opening the message again, made in one pass."""

    tree: tree.Part
    envelope: bytes  # "(...)" ready for the wire, may hold literals
    body: bytes  # BODY, non-extensible
    bodystructure: bytes  # BODYSTRUCTURE
    wire_size: int  # RFC822.SIZE


def parse(data: bytes) -> tree.Part:
    """The tree of a whole message, with LF or CRLF lines or both."""
    return tree.scan(data).part()


def summary(data: bytes) -> Summary:
    """Tree, ENVELOPE, BODY, BODYSTRUCTURE and RFC822.SIZE of a whole message."""
    root = tree.scan(data)
    body, extended = bodystructure.write(root)
    return Summary(root.part(), envelopes.envelope(root.fields), body, extended, root.header.wire + root.body.wire)


def envelope(header: bytes) -> bytes:
    """ENVELOPE from the message's header block alone."""
    return envelopes.envelope(headers.known(header))
