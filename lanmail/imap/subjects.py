"""The base subject: what is left of a Subject without "Re:", "Fwd:" and list tags (RFC 5256 §2.1).

Linear in the subject: every step moves the start or the end of what is left, and no bracket is looked at twice.
"""

import re
from typing import NamedTuple

from lanmail import message
from lanmail.mime import casemap

MAX_SUBJECT = 16_384

_blanks_to_one = re.compile(r"[ \t\r\n]+").sub
_blobs = re.compile(r"(?:\[[^\[\]]*+\] ?)++").match
_refwd = re.compile(r"(?:RE|FWD?) ?(?:\[[^\[\]]*+\] ?)?:").match


class Subject(NamedTuple):
    """The base subject, in the form that is compared (i;unicode-casemap), and whether it was of a reply or forward."""

    base: str
    reply: bool


def base(value: bytes) -> Subject:
    """The base subject of a field's value as it stands in the header."""
    text = _blanks_to_one(" ", casemap.collated(message.decode_words(value[:MAX_SUBJECT].replace(b"\n", b""))))
    start, end, reply = 0, len(text), False
    while True:
        end, forward = _without_trailers(text, start, end)
        start, answer = _without_leaders(text, start, end)
        reply = reply or forward or answer
        # step (6): a forward in brackets is taken out of them, and all begins anew
        if end - start < len("[FWD:]") or not text.startswith("[FWD:", start) or text[end - 1] != "]":
            return Subject(text[start:end], reply)
        start, end, reply = start + len("[FWD:"), end - 1, True


def _without_trailers(text: str, start: int, end: int) -> tuple[int, bool]:
    """Step (2): blanks and "(fwd)" at the end."""
    forward = False
    while end > start:
        if text[end - 1] == " ":
            end -= 1
        elif text.endswith("(FWD)", start, end):
            end, forward = end - len("(FWD)"), True
        else:
            break
    return end, forward


def _without_leaders(text: str, start: int, end: int) -> tuple[int, bool]:
    """Steps (3) to (5): blanks, "Re:" and its like, with [tags] before it; tags alone while anything is left."""
    reply = False
    while start < end:
        if text[start] == " ":
            start += 1
            continue
        tags = _blobs(text, start, end)
        after = tags.end() if tags else start
        if found := _refwd(text, after, end):
            start, reply = found.end(), True
        elif tags and after < end:
            start = after
        else:
            return text.rindex("[", start, after) if tags else start, reply
    return start, reply
