"""Parts without their transfer encoding (RFC 3516): taken out for FETCH BINARY, and put in for messages that hold some.

A Maildir's files hold lines, so a part that comes as `binary` is kept as base64; to BINARY it is the same.
"""

import base64
import re

from lanmail import wire
from lanmail.imap import section
from lanmail.mime import contents, decoding, headers, tree

AS_IT_IS = (b"", b"7bit", b"8bit", b"binary")
_encoding_line = re.compile(
    rb"^(Content-Transfer-Encoding)[ \t]*:[^\n]*+\n(?:[ \t][^\n]*+\n)*+", re.IGNORECASE | re.MULTILINE)


class UnknownEncoding(Exception):
    """The part is in a transfer encoding that nobody knows here."""


def part(source: section.Source, numbers: tuple[int, ...]) -> bytes | None:
    """The octets of a part; without numbers, those of the message as it is. None when there is no such part."""
    if not numbers:
        return wire.to_crlf(source.data)
    found = section.find(source.tree, numbers)
    if found is None:
        return None
    middle = found.start + found.header.octets
    body = source.data[middle : middle + found.body.octets]
    encoding = _encoding(source.data[found.start : middle], found)
    if encoding in AS_IT_IS:
        return wire.to_crlf(body)
    if encoding not in (b"base64", b"quoted-printable"):
        raise UnknownEncoding
    return decoding.decode(wire.to_crlf(body), encoding)


def _encoding(header: bytes, of: tree.Part) -> bytes:
    """In lower case; multiparts and messages have none (RFC 2045 §6.4)."""
    if of.kind in (tree.MULTIPART, tree.MESSAGE):
        return b""
    content = contents.of_part(header) if of.start else contents.of_message(headers.known(header))
    return (content.encoding or b"").lower()


def written(octets: bytes | None) -> bytes:
    """As it stands in an answer: a literal8 where there is NUL, which other strings cannot hold."""
    if octets is None:
        return b"NIL"
    return b"%b{%d}\r\n%b" % (b"~" if b"\0" in octets else b"", len(octets), octets)


def as_lines(message: bytes) -> bytes:
    """The message with every part that is declared as binary in base64, in LF form and without NUL."""
    pieces: list[bytes] = []
    done = 0
    for node in _nodes(tree.outline(message)):
        if (node.content.encoding or b"").lower() != b"binary" or node.start < done:
            continue
        leaf = node.kind in (tree.TEXT, tree.LEAF)
        label = rb"\1: base64\r\n" if leaf else rb"\1: 8bit\r\n"
        header = _encoding_line.sub(label, message[node.start : node.middle], count=1)
        pieces += [message[done : node.start], header]
        done = node.middle
        if leaf:
            encoded = base64.encodebytes(message[node.middle : node.end])
            pieces.append(encoded.replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
            done = node.end
    pieces.append(message[done:])
    return wire.to_lf(b"".join(pieces)).replace(b"\0", b"\x80")


def _nodes(root: tree.Node) -> list[tree.Node]:
    """All parts as they follow one another in the message."""
    found: list[tree.Node] = []
    rest = [root]
    while rest:
        found.append(rest.pop())
        rest += reversed(found[-1].parts)
    return found
