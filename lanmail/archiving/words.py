"""The words of the archive's index: folded and stemmed, so that Verträge is Vertrag, and Müller is Mueller is Muller.

    of(folded) -> list[str]         the words of a folded text, one after the other
    beginning(folded) -> str        how the words begin that begin with this text
    plain(folded) -> str            the text as the search for parts of words compares it

Texts are folded by lanmail/mime/casemap.py; what a word is, lanmail/terms.py says, and the stem lanmail/stems.py.
"""

import re

import Stemmer  # type: ignore[import-not-found]

from lanmail import stems, terms

LONGEST = 64  # characters of a word that count
VERSION = f"1 {Stemmer.version()}"  # with another one, the words of the same text are others

_marks = re.compile("[\u0300-\u036f]+")
_umlaut = re.compile("(?:(?<=[ao])|(?<=u)(?<![aeiouqy]u))e")  # as in the stemmer: not in Quelle, nor in bauen


def of(folded: str) -> list[str]:
    """The words of a folded text in their order."""
    german = stems.german
    return [german(word[:LONGEST]) for word in terms.sequence(folded)]


def beginning(folded: str) -> str:
    """What the words have in common that begin with a folded text, as long as no end is cut off from them."""
    return _umlaut.sub("", _marks.sub("", folded[:LONGEST]))


def plain(folded: str) -> str:
    """Without accents, and umlauts without their e; for looking one text up in another."""
    return _umlaut.sub("", folded if folded.isascii() else _marks.sub("", folded))
