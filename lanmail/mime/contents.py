"""What a part's header says about its body: the Content-* fields (RFC 2045, 2183, 3282, 2557), the first of each.

The same few headers stand over most parts of most mail, so what short ones say is remembered and shared.
"""

import functools
from collections.abc import Iterable

from lanmail.mime import headers, values

LEAF, TEXT, MULTIPART, MESSAGE = range(4)

SHORT = 400


class Content:
    """The Content-* fields of one part; None where there is none. `mime` says whether they count at all.

    `heads` and `tail` are for `bodystructure`, which keeps there what it has made of the values.
    """

    __slots__ = (
        "description",
        "disposition",
        "encoding",
        "heads",
        "id",
        "kind",
        "languages",
        "location",
        "md5",
        "mime",
        "parameters",
        "subtype",
        "tail",
        "type",
    )

    def __init__(self, fields: Iterable[tuple[int, bytes]], *, inside_multipart: bool = False) -> None:
        self.type: bytes | None = None
        self.subtype = b""
        self.parameters: values.Parameters = []
        self.encoding: bytes | None = None
        self.disposition: tuple[bytes, values.Parameters] | None = None
        self.id: bytes | None = None
        self.description: bytes | None = None
        self.md5: bytes | None = None
        self.languages: list[bytes] = []
        self.location: bytes | None = None
        self.mime = inside_multipart
        for number, value in fields:
            if number >= headers.MIME_VERSION:
                # RFC 2045 §4 asks for MIME-Version, but too many senders forget it: a Content-Type is enough.
                if number <= headers.CONTENT_TYPE:
                    self.mime = True
                if number == headers.CONTENT_TYPE:
                    if self.type is None:
                        self.type, self.subtype, self.parameters = values.content_type(value)
                elif number == headers.CONTENT_ENCODING:
                    if self.encoding is None:
                        self.encoding = values.encoding(value)
                elif number == headers.CONTENT_DISPOSITION:
                    if self.disposition is None or not self.disposition[1]:
                        self.disposition = values.disposition(value) or self.disposition
                elif number > headers.CONTENT_DISPOSITION:
                    self._take(number, value)
        if not self.mime:
            self.forget()
        self.kind = self._kind()
        self.heads = [b"", b""]
        self.tail = b""

    def forget(self) -> None:
        """Without MIME, Content-* fields mean nothing."""
        self.encoding = self.disposition = self.id = self.description = self.md5 = self.location = None
        self.languages = []

    def _take(self, number: int, value: bytes) -> None:
        if number == headers.CONTENT_LANGUAGE:
            self.languages = self.languages or values.languages(value)
            return
        value = value.replace(b"\0", values.NUL_REPLACEMENT)
        if number == headers.CONTENT_ID:
            self.id = value if self.id is None else self.id
        elif number == headers.CONTENT_DESCRIPTION:
            self.description = value if self.description is None else self.description
        elif number == headers.CONTENT_MD5:
            self.md5 = value if self.md5 is None else self.md5
        else:
            self.location = value if self.location is None else self.location

    def _kind(self) -> int:
        """By the Content-Type alone."""
        if self.type is None:
            return TEXT
        kind = self.type.lower()
        if kind == b"text":
            return TEXT
        if kind == b"multipart" and self.subtype:
            return MULTIPART
        return MESSAGE if kind == b"message" and self.subtype.lower() == b"rfc822" else LEAF

    def parameter(self, name: bytes) -> bytes | None:
        """The first parameter of that name (in lower case) of the Content-Type."""
        for key, value in self.parameters:
            if key.lower() == name:
                return value
        return None

    @property
    def charset(self) -> bytes | None:
        return self.parameter(b"charset")


def of_part(block: bytes) -> Content:
    """What the header of a part of a multipart says."""
    return _of_part(block) if len(block) <= SHORT else _of_part.__wrapped__(block)


def of_message(fields: headers.Fields) -> Content:
    """What the fields of a message, or of one attached, say."""
    own = tuple([field for field in fields if field[0] >= headers.MIME_VERSION])
    short = sum([len(value) for _, value in own]) <= SHORT
    return _of_message(own) if short else _of_message.__wrapped__(own)


@functools.lru_cache(maxsize=1024)
def _of_part(block: bytes) -> Content:
    return Content(headers.known(block), inside_multipart=True)


@functools.lru_cache(maxsize=1024)
def _of_message(fields: tuple[tuple[int, bytes], ...]) -> Content:
    return Content(fields)
