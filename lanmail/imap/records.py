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
from lanmail.imap import casemap, headers, section, structure, textsearch

# Signatures, traces of filters, keys and pictures: half of many a header, and told apart by how their names begin.
BULKY = (b"dkim-", b"domainkey-", b"arc-", b"authentication-results", b"received-spf", b"autocrypt", b"x-autocrypt",
         b"x-ms-", b"x-microsoft-", b"x-exchange-", b"x-forefront-", b"x-google-", b"x-gm-", b"x-proofpoint-", b"face",
         b"x-face", b"bimi-", b"x-bimi-", b"openpgp")
MAX_HEADER = 1 << 14
MAX_TEXT = 1 << 12  # of what is searched in one field
SETTLED = 10.0  # seconds after which a file of unknown size is taken to be complete
SEARCHED = (b"subject", b"from", b"to", b"cc")

_field = re.compile(rb"([!-9;-~]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*").fullmatch
_cut = re.compile(rb"[^\n]*+\n(?:[ \t][^\n]*+\n)*+").findall
_name = re.compile(rb"[!-9;-~]+").fullmatch


def of(source: section.Source, base: str, moment: float) -> summaries.Record:
    """All that is kept of a message."""
    found = structure.summary(source.data)
    return summaries.make(base, math.floor(moment), header=_kept(source.header), texts=_texts(source.header),
                          summary=(found.envelope, found.body, found.bodystructure))


def of_header(source: section.Source, base: str, moment: float) -> summaries.Record:
    """What can be kept without reading further than the header."""
    return summaries.make(base, math.floor(moment), header=_kept(source.header), texts=_texts(source.header))


def is_complete(entry: snapshot.Entry, status: os.stat_result, now: float) -> bool:
    """Whether the file will not grow any more: some programs write mail in place, where it can be seen already."""
    return entry.size == status.st_size if entry.size is not None else now - status.st_mtime > SETTLED


def answers(cut: section.Section | None) -> bool:
    """Whether a section can be cut out of the kept header."""
    return (cut is not None and cut.what == "HEADER.FIELDS" and not cut.part
            and all(_name(name) and not name.lower().startswith(BULKY) for name in cut.fields))


def fields(header: bytes, names: tuple[bytes, ...]) -> bytes:
    """The fields with those names and the empty line, as BODY[HEADER.FIELDS (…)] has them."""
    return b"".join(_chooser(frozenset([name.lower() for name in names]))(header)) + b"\r\n"


def in_field(record: summaries.Record, name: bytes, needle: textsearch.Needle) -> bool | None:
    """What `textsearch.in_field` would say of the message; None: ask it."""
    if name in SEARCHED and needle.text and "\n" not in needle.text:
        texts = record.text(SEARCHED.index(name))
        if texts is not None:
            return needle.folded in texts
    if record.header is None or name.startswith(BULKY):
        return None
    return textsearch.in_field(section.Source(record.header + b"\r\n"), name, needle)


@functools.lru_cache(maxsize=64)
def _chooser(names: frozenset[bytes]) -> Callable[[bytes], list[bytes]]:
    some = b"|".join(map(re.escape, names))
    return re.compile(rb"^(?:" + some + rb")[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE).findall


def _kept(header: bytes) -> bytes | None:
    """The fields that are kept, with CRLF; None when the header is one to be careful with."""
    block = header.replace(b"\r\n", b"\n") if b"\r" in header else header
    if not block.endswith(b"\n\n") or b"\r" in block or b"\0" in block:
        return None
    chosen = []
    for text in _cut(block, 0, len(block) - 1):
        found = _field(text)
        if found is not None and not found[1].lower().startswith(BULKY):
            chosen.append(text)
    kept = b"".join(chosen).replace(b"\n", b"\r\n")
    return kept if len(kept) <= MAX_HEADER else None


def _texts(header: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """What SEARCH looks for in Subject, From, To and Cc: each form of each value folded, on a line of its own."""
    subject, sender, to, cc = [_folded(header, name) for name in SEARCHED]
    return None if max(map(len, (subject, sender, to, cc))) > MAX_TEXT else (subject, sender, to, cc)


def _folded(header: bytes, name: bytes) -> bytes:
    found = [casemap.fold(message.decode_words(form)) for value in headers.values(header, name)
             for form in textsearch.forms(value, name)]
    return "\n".join(dict.fromkeys(found)).encode("utf-8", "surrogatepass")
