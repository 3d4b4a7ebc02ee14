"""What can be answered from what is kept of a message (lanmail/mime/summary.py), without opening it."""

import functools
import re
from collections.abc import Callable

from lanmail.folders import summaries
from lanmail.imap import searchkeys, section
from lanmail.mime import summary, textsearch

SEARCHED = (b"subject", b"from")  # folded beforehand; other fields are searched in the kept header

_name = re.compile(rb"[!-9;-~]+").fullmatch


def answers(cut: section.Section | None) -> bool:
    """Whether a section can be cut out of the kept header."""
    return (cut is not None and cut.what == "HEADER.FIELDS" and not cut.part
            and all(_name(name) and summary.keeps(name.lower()) for name in cut.fields))


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
