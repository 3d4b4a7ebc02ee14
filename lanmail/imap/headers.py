"""Header blocks cut into fields as IMAP needs them: CRLF has become LF, folds stay, nothing else is changed."""

import re

_lines = re.compile(rb"\n(?![ \t])").split
empty_line = re.compile(rb"\n\r?\n").search

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


def end(data: bytes, start: int = 0) -> int:
    """Where the body starts, after the empty line; the end of the data when there is none."""
    if data.startswith(b"\n", start):
        return start + 1
    if data.startswith(b"\r\n", start):
        return start + 2
    found = empty_line(data, start)
    return found.end() if found else len(data)


def known(block: bytes) -> Fields:
    """The fields that ENVELOPE and BODYSTRUCTURE are made of, in order, each with its number above."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    number_of = _WANTED.get
    nul = b"\0" in block
    fields: Fields = []
    for line in _lines(block):
        name, colon, value = line.partition(b":")
        if nul:
            name = name.partition(b"\0")[0]
        number = number_of(name.rstrip(b" \t").lower())
        if number is not None and colon:
            fields.append((number, _trimmed(value)))
    return fields


def values(block: bytes, name: bytes) -> list[bytes]:
    """All values of one field (name in lower case)."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    found = []
    for line in _lines(block):
        field, colon, value = line.partition(b":")
        if colon and field.rstrip(b" \t").lower() == name:
            found.append(_trimmed(value))
    return found


def _trimmed(value: bytes) -> bytes:
    """Without the blanks after the colon; but a first line of nothing but blanks loses only one (so does Dovecot)."""
    trimmed = value.lstrip(b" \t")
    if trimmed and trimmed[0] != 10:
        return trimmed
    return value[1:] if value[:1] in (b" ", b"\t") else value
