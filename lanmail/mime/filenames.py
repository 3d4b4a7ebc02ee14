"""What a part is called as a file, as text: RFC 2183 §2.3, RFC 2231 §4, and the encoded words that many write instead.

    of(content) -> str              the name, on one line and without directories; "" when it has none
    is_attachment(node) -> bool     whether it is attached: no text of the mail, picture in it or signature
"""

import re
from urllib.parse import unquote_to_bytes

from lanmail import charset, message, printable
from lanmail.mime import contents, tree, values

LONGEST = 250
_SIGNATURES = (b"pkcs7-signature", b"x-pkcs7-signature", b"pgp-signature", b"pgp-keys")
_directories = re.compile(r".*[/\\]", re.DOTALL)


def of(content: contents.Content) -> str:
    """The file name that a part's header gives it."""
    given = content.disposition[1] if content.disposition is not None else []
    text = _parameter(given, b"filename") or _parameter(content.parameters, b"name")
    return _directories.sub("", " ".join(printable.line(text).split()))[:LONGEST]


def _parameter(given: values.Parameters, name: bytes) -> str:
    for key, value in given:
        if key.lower() == name + b"*":
            charset_name, _, rest = value.partition(b"'")
            return charset.decode(unquote_to_bytes(rest.partition(b"'")[2]), charset_name)
    for key, value in given:
        if key.lower() == name:
            return message.decode_words(value)
    return ""


def is_attachment(node: tree.Node) -> bool:
    """Whether a part of a message is an attachment."""
    content = node.content
    kind = (content.type or b"").lower()
    if node.kind == tree.MULTIPART or (kind == b"application" and content.subtype.lower() in _SIGNATURES):
        return False
    said = content.disposition[0].lower() if content.disposition is not None else b""
    if said == b"attachment" or node.kind == tree.MESSAGE:
        return True
    if kind == b"image" and content.id is not None:
        return False
    return bool(of(content))
