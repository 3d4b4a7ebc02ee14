"""The first words of a message, for a list of messages (RFC 8970): of its text, else of its HTML as it would be read.

Quotations, signatures and what nobody sees are left out. Only the beginning of a message is looked at, in linear time.
"""

import html
import re
from collections.abc import Iterator

from lanmail import charset
from lanmail.mime import decoding, tree

MAX_CHARACTERS = 256  # RFC 8970 §3.1
MAX_OCTETS = 1 << 19
ENOUGH = 2000  # characters of text that are sure to hold a preview

_invisible = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
).sub
_blanks = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufffd\u2800\u3164]+").sub
_tag = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)").match
_tag_rest = re.compile(r"(?:[^>\"']++|\"[^\"]{0,1000}+\"|'[^']{0,1000}+')*+>").match
_UNSEEN = {name: re.compile(rf"</{name}\b", re.IGNORECASE).search
           for name in ("head", "style", "script", "title", "template", "object", "svg", "math", "select", "textarea")}
_INLINE = re.compile("a|abbr|acronym|b|bdi|bdo|big|cite|code|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strike|"
                     "strong|sub|sup|tt|u|var|wbr").fullmatch


def of(beginning: bytes) -> str:
    """The preview of a message, or of as much of one as there is here; empty when it has no text."""
    for node in _texts(tree.outline(beginning)):
        octets = decoding.decode(beginning[node.middle : node.end], node.content.encoding)
        text = charset.decode(octets, node.content.charset)
        found = _tidy(_visible(text) if _subtype(node) == b"html" else _unquoted(text))
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


def _visible(source: str) -> str:
    """The text of HTML: without tags, comments, styles and scripts, entities read."""
    found: list[str] = []
    at, room = 0, ENOUGH
    while room > 0 and (start := source.find("<", at)) >= 0:
        words = source[at:start]
        found.append(words)
        room -= len(words.strip())
        at, gap = _past(source, start)
        found.append(gap)
        if at < 0:
            return html.unescape("".join(found))
    return html.unescape("".join(found) + source[at:])


def _past(source: str, start: int) -> tuple[int, str]:
    """Where the markup that starts here ends (-1: nowhere), and what it leaves in the text."""
    if source.startswith("<!--", start):
        return _behind(source, "-->", start + 4), ""
    tag = _tag(source, start)
    if tag is None:
        if source[start + 1 : start + 2] in ("!", "?", "/"):
            return _behind(source, ">", start), ""
        return start + 1, "<"
    rest = _tag_rest(source, tag.end())
    at = rest.end() if rest else _behind(source, ">", tag.end())
    name = tag[2].lower()
    if not tag[1] and name in _UNSEEN and at >= 0:
        closing = _UNSEEN[name](source, at)
        return (_behind(source, ">", closing.end()) if closing else -1), " "
    return at, "" if _INLINE(name) else " "


def _behind(source: str, mark: str, start: int) -> int:
    at = source.find(mark, start)
    return at + len(mark) if at >= 0 else -1
