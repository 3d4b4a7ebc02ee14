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

_SUBJECT = (headers.SUBJECT,)
_AUTHOR = (headers.FROM, headers.SENDER, headers.REPLY_TO)
_RECIPIENTS, _BLIND = (headers.TO, headers.CC), (headers.BCC,)
_MARKUP = (b"html", b"xml", b"xhtml")


@dataclass(frozen=True, slots=True)
class Texts:
    """Folded: subject to attachments. As people read them, on one line: the others."""

    subject: str
    author: str
    recipients: str
    blind: str  # what a mail program left in the header, for the sender only
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
    fields = _Fields(nodes[0].fields)
    attached = [filenames.of(node.content) for node in nodes[1:] if filenames.is_attachment(node)]
    if not attached and filenames.is_attachment(nodes[0]):
        attached = [filenames.of(nodes[0].content)]  # a mail that is nothing but a file
    return Texts(_folded(fields.text(_SUBJECT), MAX_HEAD), _folded(fields.text(_AUTHOR), MAX_HEAD),
                 _folded(fields.text(_RECIPIENTS), MAX_HEAD), _folded(fields.text(_BLIND), MAX_HEAD),
                 _body(data, nodes),
                 _folded("\n".join(attached), MAX_HEAD), fields.shown(_SUBJECT), fields.shown((headers.FROM,)),
                 fields.shown((headers.TO, headers.CC)), attached, fields.date())


class _Fields:
    """The fields of a message's header, decoded."""

    def __init__(self, fields: headers.Fields) -> None:
        self._fields = fields

    def _values(self, numbers: tuple[int, ...]) -> list[str]:
        return [message.decode_words(textsearch.unfolded(value)) for number, value in self._fields if number in numbers]

    def text(self, numbers: tuple[int, ...]) -> str:
        return "\n".join(self._values(numbers))

    def shown(self, numbers: tuple[int, ...]) -> str:
        """The first of each, on one line."""
        first = [next(iter(self._values((number,))), "") for number in numbers]
        return printable.line(" ".join(", ".join(filter(None, first)).split()))[:SHOWN]

    def date(self) -> float | None:
        return next((sentdates.moment(value) for number, value in self._fields if number == headers.DATE), None)


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
            found.append(_folded(_Fields(node.parts[0].fields).text((*_SUBJECT, *_AUTHOR)), MAX_HEAD))
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
