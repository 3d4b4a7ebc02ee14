"""What is kept of a message in its folder's cache (lanmail/summaries.py), and what can be answered from it.

Kept are all fields of the header but the bulky ones that no client asks for by name, so that any other list of names
(From, X-Priority, X-My-Own) can be answered, also when the message does not have them. A header with anything odd in
it, which could be read in two ways, is not kept: then the message itself is asked.
"""

import functools
import math
import os
import re
from collections.abc import Callable

from lanmail import message, snapshot, summaries
from lanmail.imap import searchkeys, section
from lanmail.mime import bodystructure, casemap, envelopes, headers, textsearch, tree

# Signatures, traces of filters, keys and pictures: half of many a header, and told apart by how their names begin.
BULKY = (b"dkim-", b"domainkey-", b"arc-", b"authentication-results", b"received-spf", b"autocrypt", b"x-autocrypt",
         b"x-ms-", b"x-microsoft-", b"x-exchange-", b"x-forefront-", b"x-google-", b"x-gm-", b"x-proofpoint-", b"face",
         b"x-face", b"bimi-", b"x-bimi-", b"openpgp")
MAX_HEADER = 1 << 14
MAX_TEXT = 1 << 12  # of what is searched in one field
SHORT = 200
SETTLED = 10.0  # seconds after which a file of unknown size is taken to be complete
SEARCHED = (b"subject", b"from")  # folded beforehand; other fields are searched in the kept header

_bulky = re.compile(rb"^(?:" + b"|".join(map(re.escape, BULKY)) + rb")[^\n]*+\n(?:[ \t][^\n]*+\n)*+",
                    re.IGNORECASE | re.MULTILINE).sub
_bulky_line = re.compile(rb"\n(?:" + b"|".join(map(re.escape, BULKY)) + rb")").search
_name = re.compile(rb"[!-9;-~]+").fullmatch


def of(source: section.Source, base: str, moment: float) -> summaries.Record:
    """All that is kept of a message."""
    data = source.data
    root = tree.scan(data)
    kept = _kept(data[: root.middle])
    return summaries.make(base, math.floor(moment), header=kept, texts=_texts(root.fields) if kept else None,
                          summary=(envelopes.envelope(root.fields), *bodystructure.write(root)))


def of_header(source: section.Source, base: str, moment: float) -> summaries.Record:
    """What can be kept without reading further than the header."""
    kept = _kept(source.header)
    return summaries.make(base, math.floor(moment), header=kept,
                          texts=_texts(headers.known(source.header)) if kept else None)


def is_complete(entry: snapshot.Entry, status: os.stat_result, now: float) -> bool:
    """Whether the file will not grow any more: some programs write mail in place, where it can be seen already."""
    return entry.size == status.st_size if entry.size is not None else now - status.st_mtime > SETTLED


def answers(cut: section.Section | None) -> bool:
    """Whether a section can be cut out of the kept header."""
    return (cut is not None and cut.what == "HEADER.FIELDS" and not cut.part
            and all(_name(name) and keeps(name.lower()) for name in cut.fields))


def keeps(name: bytes) -> bool:
    """Whether a kept header has the fields of that name (in lower case) if the message has them."""
    return not name.startswith(BULKY)


def fields(header: bytes, names: tuple[bytes, ...]) -> bytes:
    """The fields with those names and the empty line, as BODY[HEADER.FIELDS (…)] has them."""
    return b"".join(_chooser(frozenset([name.lower() for name in names]))(header)) + b"\r\n"


def kept_text(key: searchkeys.Header) -> tuple[int, bytes] | None:
    """Which `Record.text` to look in, and for what; None when only the message tells."""
    name, needle = key.name.lower().encode("ascii", "replace"), textsearch.Needle(key.text)
    if name not in SEARCHED or not needle.text or "\n" in needle.text:
        return None
    return SEARCHED.index(name), needle.folded


def as_source(record: summaries.Record) -> section.Source | None:
    """The kept header in place of the message; None when there is none."""
    return None if record.header is None else section.Source(record.header + b"\r\n")


@functools.lru_cache(maxsize=64)
def _chooser(names: frozenset[bytes]) -> Callable[[bytes], list[bytes]]:
    some = b"|".join(map(re.escape, names))
    return re.compile(rb"^(?:" + some + rb")[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE).findall


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
