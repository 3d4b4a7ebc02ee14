"""Files in what is sent around them: ZIP archives, and winmail.dat, in which Exchange wraps attachments (MS-OXTNEF).

    zipped(data, most) -> Iterator[bytes]      of_tnef(data) -> Iterator[bytes]      Unreadable

Numbers and sizes are bounded: of a member at most `most` octets are unpacked, and of all together no more than
twice that, whatever the archive says. What is inside is not opened again.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

MAX_MEMBERS = 1000
MAX_OPENED = 50
_ENCRYPTED = 1  # in flag_bits
_TNEF = b"\x78\x9f\x3e\x22"
_ATTRIBUTE = struct.Struct("<BII")  # level, tag, length
_ATTACHED_DATA = 0x0006800F
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, struct.error,
           RuntimeError, UnicodeError)  # all of them come from damaged archives


class Unreadable(Exception):
    """The reason, in a word: encrypted, damaged, hostile."""


def looks_like_zip(data: bytes) -> bool:
    """As archives begin that were not made for other purposes."""
    return data.startswith(b"PK\x03\x04")


def looks_like_tnef(data: bytes) -> bool:
    """By its signature."""
    return data.startswith(_TNEF)


def zipped(data: bytes, most: int) -> Iterator[bytes]:
    """The contents of the members, likely ones first. Unreadable, behind all that can be read."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [one for one in archive.infolist()[:MAX_MEMBERS] if not one.is_dir()]
    except _BROKEN as error:
        raise Unreadable("damaged") from error
    if members and members[0].filename == "[Content_Types].xml":
        return  # an office document
    left, trouble = 2 * most, ""
    for member in sorted(members, key=lambda one: not one.filename.lower().endswith((".xml", ".pdf")))[:MAX_OPENED]:
        if member.flag_bits & _ENCRYPTED:
            trouble = trouble or "encrypted"
            continue
        try:
            with archive.open(member) as file:
                content = file.read(min(most, left) + 1)
        except _BROKEN:
            trouble = trouble or "damaged"
            continue
        left -= len(content)
        if len(content) > most or left < 0:
            raise Unreadable("hostile: it unpacks to too much")
        yield content
    if trouble:
        raise Unreadable(trouble)


def of_tnef(data: bytes) -> Iterator[bytes]:
    """The attachments, by a walk over the attributes. Unreadable."""
    at, number = 6, 0
    while at < len(data) and number < MAX_OPENED:
        if at + _ATTRIBUTE.size > len(data):
            raise Unreadable("damaged")
        _, tag, length = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if at + length > len(data):
            raise Unreadable("damaged")
        if tag == _ATTACHED_DATA:
            number += 1
            yield data[at : at + length]
        at += length + 2  # a checksum, which many programs write wrongly
