"""Modified UTF-7, the spelling of mailbox names on disk and in IMAP4rev1 (RFC 3501 §5.1.3).

    encode(text: str) -> str      "Entwürfe" → "Entw&APw-rfe"; always printable ASCII
    decode(text: str) -> str      the way back; ValueError with a sentence for what is not the one legal spelling

Invariant: `encode(decode(x)) == x` for every x that `decode` accepts. Only the canonical spelling is accepted,
because a second spelling of a name would be a second name for one directory: "&AC4ALgAv-" must not become "../"
behind a check that looked at the encoded form.
"""

import binascii
import re

_PLAIN = re.compile(r"[ -%'-~]*\Z")
_SHIFTED = re.compile(r"&([^-&]*)(-?)")
_NOT_PLAIN = re.compile(r"[^ -%'-~]+")


def encode(text: str) -> str:
    """The modified UTF-7 of `text`; raises ValueError for lone surrogates, which no mailbox name has."""
    if _PLAIN.match(text):
        return text
    return _NOT_PLAIN.sub(_encode_run, text)


def _encode_run(match: re.Match[str]) -> str:
    parts = match.group().split("&")
    return "&-".join(_encode_base64(part) if part else "" for part in parts)


def _encode_base64(text: str) -> str:
    try:
        raw = text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise ValueError("the name is not valid Unicode") from None
    return "&" + binascii.b2a_base64(raw, newline=False).rstrip(b"=").decode().replace("/", ",") + "-"


def decode(text: str) -> str:
    """The text that the modified UTF-7 `text` stands for."""
    if _PLAIN.match(text):
        return text
    result = _SHIFTED.sub(_decode_run, text)
    if encode(result) != text:
        raise ValueError("the name is not in canonical modified UTF-7")
    return result


def _decode_run(match: re.Match[str]) -> str:
    inside, end = match.groups()
    if not end:
        raise ValueError("a shift in the modified UTF-7 name does not end")
    if not inside:
        return "&"
    raw = inside.replace(",", "/").encode("ascii", "replace")
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4)).decode("utf-16-be")
    except ValueError:  # binascii.Error and UnicodeDecodeError are both of this kind
        raise ValueError("the name is not modified UTF-7") from None
