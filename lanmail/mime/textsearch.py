"""Finding a text in a message as people read it: encoded words, transfer encodings and charsets undone, case ignored.

What octets can rule out is ruled out before anything is decoded; that decides how fast a folder is searched.
"""

import re
from collections.abc import Iterator

from lanmail import charset, message
from lanmail.mime import addresses, casemap, decoding, headers, source, textparts, tree

_ADDRESS_FIELDS = frozenset((b"from", b"to", b"cc", b"bcc", b"sender", b"reply-to"))
_words = re.compile(rb"[a-z0-9]+").findall
_fold = re.compile(rb"\n[ \t]")
_blanks = re.compile(rb"\t|  ").search
_blanks_to_one = re.compile(rb"[ \t]+").sub
_odd = re.compile(rb'["(\\\n\t]|  | [@.>]|[@.<] ').search
_untidy = re.compile(rb'["(\\\n\t]| [ @.>]|[@.<] ').search
# What makes plain octets mean another text. Compared with the lower-cased message.
_ENCODINGS = (b"base64", b"quoted-printable")
_CHARSETS = (b"utf-7", b"utf-16", b"utf-32", b"iso-2022", b"utf7", b"utf16", b"hz")
_plain_charset = re.compile(rb'charset="?(?:us-ascii|utf-8|iso-8859-[0-9]{1,2}|windows-125[0-9])(?![^";\s])').match
_FREQUENT = (b"Transfer-Encoding: base64\n", b"Transfer-Encoding: quoted-printable\n")


class Needle:
    """The text to look for; found where its folded form is part of the folded text."""

    __slots__ = ("folded", "octets", "pattern", "text", "word")

    def __init__(self, text: str) -> None:
        self.pattern = casemap.Pattern(text)
        self.text = self.pattern.folded
        self.octets = self.pattern.ascii
        self.folded = self.text.encode("utf-8", "surrogatepass")
        # The longest word survives the folding of lines, so it must be somewhere in plain ASCII.
        self.word = max(_words(self.octets or b""), key=len, default=b"")

    def in_octets(self, octets: bytes, charset_name: bytes | None) -> bool:
        if octets.isascii() and charset.like_ascii(charset_name):
            return self.octets is not None and self.octets in octets.lower()
        if charset.codec(charset_name) == "cp1252" and (found := self.pattern.in_latin(octets)) is not None:
            return found
        return self.pattern.inside(charset.decode(octets, charset_name))

    def in_words(self, value: bytes) -> bool:
        """In unfolded header text, which may hold encoded words."""
        if value.isascii() and b"=?" not in value:
            return self.octets is not None and self.octets in value.lower()
        return self.pattern.inside(message.decode_words(value))


def in_field(message_source: source.Source, name: bytes, needle: Needle) -> bool:
    """Whether a field of that name (in lower case) holds the text; of an empty text: whether there is such a field."""
    for value in headers.values(message_source.header, name):
        if not needle.text or any(map(needle.in_words, forms(value, name))):
            return True
    return False


def forms(value: bytes, name: bytes) -> Iterator[bytes]:
    """The forms of a field's value in which a text counts as found: as written, and tidied."""
    plain = _fold.sub(b" ", value) if b"\n" in value else value
    yield plain
    if _blanks(plain):
        yield _blanks_to_one(b" ", plain)
    if name in _ADDRESS_FIELDS and _untidy(value):
        yield _as_shown(value)


def is_untidy(value: bytes) -> bool:
    """Whether there may be a form besides the value as it stands, or it has to be decoded."""
    return b"=?" in value or _odd(value) is not None


def in_body(message_source: source.Source, needle: Needle) -> bool:
    """Whether a text part holds the text; headers of attached messages do not count."""
    data = message_source.data
    if not needle.text:
        return True
    encoded = any(line in data for line in _FREQUENT)
    if not encoded and data.isascii() and _plainly_without(data, needle.octets):
        return False
    return any(needle.in_octets(*_text(part)) for part in textparts.of(data))


def in_text(message_source: source.Source, needle: Needle) -> bool:
    """As `in_body`, or whether any header holds the text, those of parts and of attached messages too."""
    data = message_source.data
    if data.isascii() and _plainly_without(data, needle.octets and needle.word):
        last = data.rfind(b"=?")
        if last < len(message_source.header):  # none, or only the message's own header has encoded words
            return last >= 0 and needle.in_words(unfolded(message_source.header))
    return any(needle.in_words(unfolded(data[node.start : node.middle]))
               or (textparts.is_searched(node) and needle.in_octets(*_text(textparts.of_node(data, node))))
               for node in textparts.nodes(tree.outline(data)))


def unfolded(block: bytes) -> bytes:
    """Header text with its folds undone."""
    return _fold.sub(b" ", block.replace(b"\r\n", b"\n"))


def _plainly_without(data: bytes, octets: bytes | None) -> bool:
    """Whether ASCII data neither has the octets (nothing has None) nor anything that could mean them."""
    lower = data.lower()
    if octets is not None and octets in lower:
        return False
    if b"content-transfer-encoding" in lower and any(encoding in lower for encoding in _ENCODINGS):
        return False
    at = lower.find(b"charset")
    while at >= 0:
        if not _plain_charset(lower, at):
            return not any(name in lower for name in _CHARSETS)
        at = lower.find(b"charset", at + 1)
    return True


def texts(message_source: source.Source) -> tuple[list[str], list[str]]:
    """The folded texts in which `in_body` looks, and those in which `in_text` looks besides: what an index has."""
    data = message_source.data
    nodes = textparts.nodes(tree.outline(data))
    bodies = [casemap.fold(charset.decode(*_text(textparts.of_node(data, node))))
              for node in nodes if textparts.is_searched(node)]
    heads = [casemap.fold(message.decode_words(unfolded(data[node.start : node.middle]))) for node in nodes]
    return bodies, heads


def _text(part: textparts.Text) -> tuple[bytes, bytes | None]:
    """The octets of a text, and what charset they are in."""
    return decoding.decode(part.body, part.content.encoding), part.content.charset


def _as_shown(value: bytes) -> bytes:
    """The addresses without comments, quotes and superfluous blanks."""
    return b", ".join(
        [
            b"%b <%b@%b>" % (mailbox.name or b"", mailbox.local or b"", mailbox.domain or b"")
            for mailbox in addresses.parse(value)
        ]
    )
