"""What is searched of a mail: the texts of its columns, and the facts beside them.

    of(data) -> Texts       of a whole message (LF line ends, no envelope); never raises on what a mail may be

A text is folded (lanmail/mime/casemap.py), with one blank wherever there are some. HTML is read as people see it, and
left out where it only says again what the plain text says.
"""

from dataclasses import dataclass

from lanmail import charset, message, printable
from lanmail.archiving import words
from lanmail.mime import casemap, decoding, filenames, headers, htmltext, sentdates, textparts, textsearch, tree

MAX_TEXT = 1 << 20  # characters of a body; what comes behind them is not searched
MAX_HEAD = 1 << 17  # of each other column
_OCTETS = 8 * MAX_TEXT
SHOWN = 300  # characters of what a list shows

_AUTHOR = (b"from", b"sender", b"reply-to")
_RECIPIENTS = (b"to", b"cc", b"bcc")
_MARKUP = (b"html", b"xml", b"xhtml")


@dataclass(frozen=True, slots=True)
class Texts:
    """Folded: subject to attachments. As people read them, on one line: the others."""

    subject: str
    author: str
    recipients: str
    body: str
    attachments: str
    shown_subject: str
    shown_author: str
    shown_recipients: str
    names: list[str]  # of attachments, "" for what has none
    date: float | None  # of its header


def of(data: bytes) -> Texts:
    """Read a message."""
    nodes = textparts.nodes(tree.outline(data))
    header = data[: nodes[0].middle]
    subject, author, recipients = (_values(header, names) for names in ((b"subject",), _AUTHOR, _RECIPIENTS))
    attached = [filenames.of(node.content) for node in nodes[1:] if filenames.is_attachment(node)]
    if not attached and filenames.is_attachment(nodes[0]):
        attached = [filenames.of(nodes[0].content)]  # a mail that is nothing but a file
    return Texts(_folded(subject, MAX_HEAD), _folded(author, MAX_HEAD), _folded(recipients, MAX_HEAD),
                 _body(data, nodes), _folded("\n".join(attached), MAX_HEAD),
                 _shown(header, (b"subject",)), _shown(header, (b"from",)), _shown(header, (b"to", b"cc")),
                 attached, sentdates.of_header(header))


def _values(header: bytes, names: tuple[bytes, ...]) -> str:
    """All values of some fields as text."""
    found = [value for name in names for value in headers.values(header, name)]
    return "\n".join([message.decode_words(textsearch.unfolded(value)) for value in found])


def _shown(header: bytes, names: tuple[bytes, ...]) -> str:
    values = [value for name in names for value in headers.values(header, name)[:1]]
    text = ", ".join([message.decode_words(textsearch.unfolded(value)) for value in values])
    return printable.line(" ".join(text.split()))[:SHOWN]


def _folded(text: str, most: int) -> str:
    """Folded, blanks made one, without what no text holds."""
    return " ".join(casemap.fold(text[:most].replace("\0", " ")).split())


def _body(data: bytes, nodes: list[tree.Node]) -> str:
    """The text of all parts, and what attached messages are about."""
    found: list[str] = []
    markup: list[str] = []
    room = MAX_TEXT
    for node in nodes:
        if room <= 0:
            break
        if node.kind == tree.MESSAGE and node.parts:
            inside = node.parts[0]
            found.append(_folded(_values(data[inside.start : inside.middle], (b"subject", *_AUTHOR)), MAX_HEAD))
        elif textparts.is_searched(node):
            text = _text(data, node)
            is_markup = node.content.subtype.lower() in _MARKUP
            (markup if is_markup else found).append(_folded(htmltext.visible(text, room) if is_markup else text, room))
            room -= min(len(text), room)
    known = {word for text in found for word in words.of(text)} if markup else set()
    found += [text for text in markup if not known.issuperset(words.of(text))]
    return "\n".join(found)


def _text(data: bytes, node: tree.Node) -> str:
    body = data[node.middle : min(node.end, node.middle + _OCTETS)]
    return charset.decode(decoding.decode(body, node.content.encoding), node.content.charset)
