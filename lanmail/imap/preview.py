"""The first words of a message, for a list of messages (RFC 8970): of its text, else of its HTML as it would be read.

Quotations, signatures and what nobody sees are left out. Only the beginning of a message is looked at, in linear time.
"""

import re
from collections.abc import Iterator

from lanmail import charset
from lanmail.mime import decoding, htmltext, tree

MAX_CHARACTERS = 256  # RFC 8970 §3.1
MAX_OCTETS = 1 << 19
ENOUGH = 2000  # characters of text that are sure to hold a preview

_invisible = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
).sub
_blanks = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufffd\u2800\u3164]+").sub


def of(beginning: bytes) -> str:
    """The preview of a message, or of as much of one as there is here; empty when it has no text."""
    for node in _texts(tree.outline(beginning)):
        octets = decoding.decode(beginning[node.middle : node.end], node.content.encoding)
        text = charset.decode(octets, node.content.charset)
        found = _tidy(htmltext.visible(text, ENOUGH) if _subtype(node) == b"html" else _unquoted(text))
        if found:
            return found
    return ""


def _texts(root: tree.Node) -> Iterator[tree.Node]:
    """Text that is shown with the message, in reading order; of alternatives, the plain one first."""
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.content.disposition is not None and node.content.disposition[0].lower() == b"attachment":
            continue
        if node.kind == tree.MULTIPART:
            parts = node.parts
            if node.content.subtype.lower() == b"alternative":
                parts = sorted(parts, key=lambda part: part.kind != tree.TEXT or _subtype(part) != b"plain")
            nodes += reversed(parts)
        elif node.kind == tree.TEXT and _subtype(node) in (b"plain", b"html"):
            yield node


def _subtype(node: tree.Node) -> bytes:
    return node.content.subtype.lower() or b"plain"


def _tidy(text: str) -> str:
    text = _blanks(" ", _invisible("", text)).strip()
    return text[:MAX_CHARACTERS].rstrip()


def _unquoted(text: str) -> str:
    """Plain text without what is quoted and the line that announces it; all of it when nothing else is there."""
    kept: list[str] = []
    room = ENOUGH
    for line in text.splitlines():
        if line.startswith(">"):
            while kept and not kept[-1].strip():
                kept.pop()
            if kept and kept[-1].rstrip().endswith(":"):
                kept.pop()
        elif line == "-- ":  # RFC 3676 §4.3: the signature
            break
        else:
            kept.append(line)
            room -= len(line.strip())
        if room < 0:
            break
    return "\n".join(kept) if _tidy("\n".join(kept)) else text.replace(">", " ")
