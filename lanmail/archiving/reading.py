"""A mail of the archive for whoever may see it: what its header says, its text, what is told of it in a list.

Blind copies are known to who sent the mail and to the administrator: for all others these lines are left out of it.
"""

from typing import Any

from lanmail import charset, envelope, message
from lanmail.archiving import finding, store
from lanmail.mime import decoding, htmltext, textparts, textsearch, tree
from lanmail.paths import Paths

SHOWN = ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID")
_BLIND = (b"Bcc", b"Resent-Bcc")
_LONGEST = 1 << 20  # characters of text


def data(mail: finding.Found) -> dict[str, Any]:
    """One mail as JSON; times are seconds since 1970."""
    return {
        "id": mail.id, "date": mail.date, "arrived": mail.arrived, "direction": mail.direction, "from": mail.author,
        "to": mail.recipients, "subject": mail.subject, "sender": mail.sender, "size": mail.size,
        "attachments": list(mail.attachments), "message_id": mail.message_id,
        "accounts": [{"account": name, "direction": direction} for name, direction in mail.accounts],
    }


def read(where: Paths, mail: finding.Found, file: str = "") -> tuple[envelope.Envelope, bytes]:
    """The envelope, which is for the sender only, and the message (LF line ends), of `file` or the form that came in.

    FileNotFoundError, ValueError, OSError.
    """
    head, text = store.read(where.archive, {"file": file or mail.file})
    return head, text if mail.is_own else without_blind(text)


def without_blind(text: bytes) -> bytes:
    """The message without Bcc (RFC 5322 §3.6.3)."""
    header = text[: message.header_end(text)]
    for start, end in sorted((span for name in _BLIND for span in message.field_spans(header, name)), reverse=True):
        text = text[:start] + text[end:]
    return text


def facts(text: bytes) -> list[tuple[str, str]]:
    """The fields of the header that people look at, decoded."""
    header = text[: message.header_end(text)]
    return [(name, " ".join(message.decode_words(textsearch.unfolded(value)).split()))
            for name in SHOWN for value in message.fields(header, name.encode())]


def envelope_of(head: envelope.Envelope) -> dict[str, Any]:
    """Sender and all recipients."""
    return {"sender": "" if head.sender is None else str(head.sender),
            "recipients": [str(one.address) for one in head.recipients]}


def texts(data: bytes) -> str:
    """The texts of a message one behind the other; of alternatives the plain one."""
    found = []
    nodes = [tree.outline(data)]
    for node in nodes:
        plain = [one for one in node.parts if _subtype(one) == b"plain"]
        alternatives = node.kind == tree.MULTIPART and _subtype(node) == b"alternative"
        nodes += plain if alternatives and plain else node.parts
        if textparts.is_searched(node):
            body = decoding.decode(data[node.middle : node.end], node.content.encoding)
            text = charset.decode(body, node.content.charset)
            found.append(htmltext.visible(text, _LONGEST) if _subtype(node) == b"html" else text)
    return "\n".join(found)[:_LONGEST]


def _subtype(node: tree.Node) -> bytes:
    return node.content.subtype.lower() if node.content.type else b"plain"
