"""Header blocks cut into fields as IMAP needs them: CRLF has become LF, folds stay, nothing else is changed."""

import functools
import re
from collections.abc import Callable

empty_line = re.compile(rb"\n\r?\n").search
# A name of printable ASCII, which may have blanks after it; a value without the blanks before it.
# If its first line is nothing but blanks, only one of them goes (so does Dovecot).
MAX_NAME = 1000  # longer ones are no names but lines gone wrong

_NAME = rb"[!-9;-~]++"
_VALUE = rb"[ \t]*+:(?:[ \t]*+(?=.)|[ \t]?)(.*+(?:\n[ \t].*+)*+)"
_name = re.compile(_NAME).fullmatch
_nul_in_name = re.compile(rb"^([!-9;-~]++)[ \t]*+\0[^:\n]*+:", re.MULTILINE)

_WANTED = {
    name: number
    for number, name in enumerate(
        (
            b"date",
            b"subject",
            b"from",
            b"sender",
            b"reply-to",
            b"to",
            b"cc",
            b"bcc",
            b"in-reply-to",
            b"message-id",
            b"mime-version",
            b"content-type",
            b"content-transfer-encoding",
            b"content-disposition",
            b"content-id",
            b"content-description",
            b"content-md5",
            b"content-language",
            b"content-location",
        )
    )
}
(
    DATE,
    SUBJECT,
    FROM,
    SENDER,
    REPLY_TO,
    TO,
    CC,
    BCC,
    IN_REPLY_TO,
    MESSAGE_ID,
    MIME_VERSION,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_DISPOSITION,
    CONTENT_ID,
    CONTENT_DESCRIPTION,
    CONTENT_MD5,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
) = range(19)

Fields = list[tuple[int, bytes]]


def _any_case(name: bytes) -> str:
    """The name as a pattern; alternatives that start with a set are told apart faster than those of IGNORECASE."""
    return "".join([f"[{one.upper()}{one}]" if one.isalpha() else re.escape(one) for one in name.decode()])


_wanted = re.compile(b"\n(" + "|".join(map(_any_case, _WANTED)).encode() + b")" + _VALUE).findall
_of_mime = [name for name, number in _WANTED.items() if number >= MIME_VERSION]
_wanted_of_mime = re.compile(b"\n(" + "|".join(map(_any_case, _of_mime)).encode() + b")" + _VALUE).findall


def end(data: bytes, start: int = 0) -> int:
    """Where the body starts, after the empty line; the end of the data when there is none."""
    if data.startswith(b"\n", start):
        return start + 1
    if data.startswith(b"\r\n", start):
        return start + 2
    found = empty_line(data, start)
    return found.end() if found else len(data)


def known(block: bytes) -> Fields:
    """The fields that ENVELOPE and BODYSTRUCTURE are made of, in order, each by its number above."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if b"\0" in block:
        # As for Dovecot, a name ends at a NUL.
        block = _nul_in_name.sub(rb"\1:", block)
    return [(_WANTED[name.lower()], value) for name, value in _wanted(b"\n" + block)]


def known_of_mime(block: bytes) -> Fields:
    """Those of them that BODYSTRUCTURE is made of, of a block with LF line ends and without NUL."""
    return [(_WANTED[name.lower()], value) for name, value in _wanted_of_mime(b"\n" + block)]


def values(block: bytes, name: bytes) -> list[bytes]:
    """All values of one field (name in lower case)."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    return _named(name)(b"\n" + block) if len(name) <= MAX_NAME else []


@functools.lru_cache(maxsize=128)
def _named(name: bytes) -> Callable[[bytes], list[bytes]]:
    if not _name(name):
        return lambda _block: []
    return re.compile(rb"\n" + re.escape(name) + _VALUE, re.IGNORECASE).findall
