"""The terms by which a text is found: maximal runs of letters and digits, and what of them a needle must be part of.

    terms(text) -> set[str]              of a folded text
    sequence(text) -> list[str]          the same in their order, long ones not cut
    runs(needle) -> list[Run]            what a text with that (folded) needle in it has terms for, the longest first

A text holds a needle only if it has, for each run of the needle, a term that the run fits into. Where a run begins and
ends is seen in its two neighbours alone, so inside a text a needle has the same runs as by itself, but at its ends.
"""

import re
from dataclasses import dataclass

STEP = 32  # a run of up to this length is inside one of the terms that a longer run is cut into

# Scripts that are written without blanks: each letter is a term. Of all others what is not known as punctuation joins,
# accents (which stand alone once a text is folded) among it.
_ALONE = "\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = "a-z0-9\u00bc-\u1fff\u2070-\u2e7f\ua000-\ud7ff\ue000-\uf8ff\ufb00-\U0001ffff\U00040000-\U0010ffff"
_find = re.compile(f"[{_ALONE}]|[{_JOINED}]+")
is_alone = re.compile(f"[{_ALONE}]").fullmatch


@dataclass(frozen=True, slots=True)
class Run:
    """Part of a term; `left` and `right`: it begins or ends where the term does; `whole`: it is the whole needle."""

    text: str
    left: bool = False
    right: bool = False
    whole: bool = False


def terms(text: str) -> set[str]:
    """The terms of a folded text; long runs are cut into pieces of twice STEP that overlap by one."""
    found: set[str] = set()
    for run in set(_find.findall(text)):
        if len(run) <= 2 * STEP:
            found.add(run)
        else:
            found.update([run[at : at + 2 * STEP] for at in range(0, len(run) - STEP, STEP)])
    return found


def sequence(text: str) -> list[str]:
    """The terms of a folded text one after the other, however long."""
    return _find.findall(text)


def runs(needle: str) -> list[Run]:
    """The runs of a folded needle, the longest first; none if it has no letter or digit."""
    found = []
    for match in _find.finditer(needle):
        text, start, end = match[0], match.start(), match.end()
        if len(text) > STEP:
            found.append(Run(text[:STEP]))
        elif is_alone(text):
            found.append(Run(text, left=True, right=True, whole=len(needle) == 1))
        else:
            left, right = start > 0, end < len(needle)
            found.append(Run(text, left, right, whole=not left and not right))
    return sorted(found, key=lambda run: -len(run.text))
