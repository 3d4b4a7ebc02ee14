"""What is kept of a message in its folder's cache (folders/summaries.py), made from its octets.

    of(source, base, moment) -> Record            all of it;   of_header(…)      without reading further than the header
    of_files(directory, messages) -> [Record]     of messages that lie in a folder, as far as they can be read
    is_complete(size, status, now) -> bool        whether a file is one to keep something of
    keeps(name) -> bool                           whether fields of that name are kept

Kept are all fields of the header but the bulky ones that no client asks for by name. A header with anything odd in it,
which could be read in two ways, is not kept: then the message itself is asked.
"""

import functools
import math
import os
import re
import stat
import time
from collections.abc import Iterable

from lanmail import atomic, message
from lanmail.folders import summaries
from lanmail.mime import bodystructure, casemap, contents, envelopes, headers, source, textsearch, tree, usual

# Signatures, traces of filters, keys and pictures: half of many a header, and told apart by how their names begin.
BULKY = (b"dkim-", b"domainkey-", b"arc-", b"authentication-results", b"received-spf", b"autocrypt", b"x-autocrypt",
         b"x-ms-", b"x-microsoft-", b"x-exchange-", b"x-forefront-", b"x-google-", b"x-gm-", b"x-proofpoint-", b"face",
         b"x-face", b"bimi-", b"x-bimi-", b"openpgp")
MAX_HEADER = 1 << 14
MAX_TEXT = 1 << 12  # of what is searched in one field
SHORT = 200
SETTLED = 10.0  # seconds after which a file of unknown size is taken to be complete

LARGE = 1 << 20  # octets; larger messages are for who has the time

_bulky = re.compile(rb"^(?:" + b"|".join(map(re.escape, BULKY)) + rb")[^\n]*+\n(?:[ \t][^\n]*+\n)*+",
                    re.IGNORECASE | re.MULTILINE).sub
# the letters first: of most lines no more than one need be looked at
_bulky_line = re.compile(rb"\n(?=[" + bytes({name[0] for name in BULKY}) + rb"])(?:" + b"|".join(map(re.escape, BULKY))
                         + rb")").search
# base name, path below the folder's directory, octets if the name tells them
Place = tuple[str, str, int | None]


def of(message_source: source.Source, base: str, moment: float) -> summaries.Record:
    """All that is kept of a message."""
    data = message_source.data
    block, fields, structures = _read(data)
    kept = _kept(block)
    return summaries.make(base, math.floor(moment), header=kept, texts=_texts(fields) if kept else None,
                          summary=(envelopes.envelope(fields), *structures))


def _read(data: bytes) -> tuple[bytes, headers.Fields, tuple[bytes, bytes]]:
    """The header, what it says, and the structures."""
    if middle := usual.middle(data):
        block = data[:middle]
        fields = headers.known(block)
        if (structures := usual.structures(data, middle, contents.of_message(fields))) is not None:
            return block, fields, structures
    root = tree.scan(data)
    return data[: root.middle], root.fields, bodystructure.write(root)


def of_header(message_source: source.Source, base: str, moment: float) -> summaries.Record:
    """What can be kept without reading further than the header."""
    kept = _kept(message_source.header)
    return summaries.make(base, math.floor(moment), header=kept,
                          texts=_texts(headers.known(message_source.header)) if kept else None)


def of_files(directory: str, messages: Iterable[Place], *, structures: bool = True,
             seconds: float = math.inf, largest: int = LARGE) -> list[summaries.Record]:
    """The records of complete messages up to a size; what cannot be had now is left out. Blocks for `seconds`."""
    made, ends = list[summaries.Record](), time.monotonic() + seconds
    try:
        inside = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | atomic.SAFE)
    except OSError:
        return made
    try:
        for base, path, size in messages:
            if time.monotonic() > ends:
                break
            if (size or 0) <= largest and (record := _of_file(inside, base, path, size, structures)):
                made.append(record)
    finally:
        os.close(inside)
    return made


def _of_file(inside: int, base: str, path: str, size: int | None, structures: bool) -> summaries.Record | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | atomic.SAFE, dir_fd=inside)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if (not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGE
                or not is_complete(size, status, time.time())):
            return None
        found = source.Source(fd=descriptor, size=status.st_size)
        return (of if structures else of_header)(found, base, status.st_mtime)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def is_complete(size: int | None, status: os.stat_result, now: float) -> bool:
    """Whether the file will not grow any more: some programs write mail in place, where it can be seen already."""
    return size == status.st_size if size is not None else now - status.st_mtime > SETTLED


def keeps(name: bytes) -> bool:
    """Whether a kept header has the fields of that name (in lower case) if the message has them."""
    return not name.startswith(BULKY)


def _kept(header: bytes) -> bytes | None:
    """The fields that are kept, with CRLF; None when the header is one to be careful with."""
    block = header.replace(b"\r\n", b"\n") if b"\r" in header else header
    if not block.endswith(b"\n\n") or b"\r" in block or b"\0" in block:
        return None
    block = block[:-1]
    if _bulky_line(b"\n" + block.lower()):
        block = _bulky(b"", block)
    return block.replace(b"\n", b"\r\n") if len(block) <= MAX_HEADER else None


def _texts(fields: headers.Fields) -> tuple[bytes, bytes] | None:
    """What SEARCH looks for in Subject and From: each form of each value folded, on a line of its own."""
    subject = b"\n".join([_folded(value, b"subject") for number, value in fields if number == headers.SUBJECT])
    sender = b"\n".join([_folded(value, b"from") for number, value in fields if number == headers.FROM])
    return (subject, sender) if len(subject) <= MAX_TEXT >= len(sender) else None


def _folded(value: bytes, name: bytes) -> bytes:
    if value.isascii() and not textsearch.is_untidy(value):
        return value.lower()
    return (_forms if len(value) <= SHORT else _forms.__wrapped__)(value, name)


@functools.lru_cache(maxsize=4096)  # few people write most of the mail
def _forms(value: bytes, name: bytes) -> bytes:
    found = [casemap.fold(message.decode_words(form)) for form in textsearch.forms(value, name)]
    return "\n".join(dict.fromkeys(found)).encode("utf-8", "surrogatepass")
