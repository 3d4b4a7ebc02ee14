"""The plain text of a mail, as the answer that an autoresponder shall give.

The first part of type text/plain that is no attachment; of alternatives the plain one. Charset and transfer encoding
are undone, line ends are LF, lines that a mail program only wrapped (RFC 3676) are whole again. A signature stays.
"""

import os
import re

from lanmail import charset
from lanmail.mime import decoding, tree
from lanmail.rules.mail import Mail

LIMIT = 64 << 10  # octets of UTF-8
_BEGINNING = 1 << 20  # of the mail; a text that is good for us ends before

_controls = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").sub


def of(mail: Mail) -> str:
    """The text, ending with LF. ValueError with a sentence for the user when there is none, or too much; OSError."""
    data = os.pread(mail.fd, _BEGINNING, mail.entry.offset)
    node = _plain(tree.outline(data))
    if node is None:
        raise ValueError("The mail has no plain text. Send it as plain text, not as HTML only: its text is the answer.")
    octets = decoding.decode(data[node.middle : node.end], node.content.encoding)
    text = charset.decode(octets, node.content.charset).removeprefix("\ufeff")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (node.content.parameter(b"format") or b"").lower() == b"flowed":
        text = _unwrapped(text, (node.content.parameter(b"delsp") or b"").lower() == b"yes")
    text = _controls("", text).encode("utf-8", "replace").decode()
    text = text.strip("\n").rstrip()
    if not text.strip():
        raise ValueError("The mail has no text. What you write into the mail is the answer.")
    if len(text.encode()) > LIMIT:
        raise ValueError(f"The text is longer than {LIMIT >> 10} KB.")
    return text + "\n"


def _plain(root: tree.Node) -> tree.Node | None:
    """The first plain text that is shown with the mail, in reading order."""
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.content.disposition is not None and node.content.disposition[0].lower() == b"attachment":
            continue
        if node.kind == tree.MULTIPART:
            nodes += reversed(node.parts)
        elif node.kind == tree.TEXT and (node.content.subtype.lower() or b"plain") == b"plain":
            return node
    return None


def _unwrapped(text: str, delete_space: bool) -> str:
    """Lines that end with a blank go on in the next one, and one blank in front was put there (RFC 3676 §4)."""
    pieces: list[str] = []
    open_line = True
    for line in text.split("\n"):
        plain = line.removeprefix(" ")
        is_signature = plain == "-- "
        if not open_line or (is_signature and pieces):
            pieces.append("\n")
        open_line = plain.endswith(" ") and not is_signature
        pieces.append(plain[:-1] if open_line and delete_space else plain)
    return "".join(pieces)
