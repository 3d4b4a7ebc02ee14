"""The words of the archive's index: folded and stemmed, so that Verträge is Vertrag, and Müller is Mueller is Muller.

    of(folded) -> list[str]         the words of a folded text, one after the other
    beginning(folded) -> str        how the words begin that begin with this text
    inside(folded) -> pattern       finds this text inside of others, with umlauts and accents written in any way

Texts are folded by lanmail/mime/casemap.py; what a word is, textindex/terms.py says, and the stem textindex/stems.py.
"""

import re

import Stemmer  # type: ignore[import-not-found]

from lanmail.textindex import stems, terms

LONGEST = 64  # characters of a word that count
_REMEMBERED = 100_000
VERSION = f"1 {Stemmer.version()}"  # with another one, the words of the same text are others

_marks = re.compile("[\u0300-\u036f]+")
_umlaut = re.compile("(?:(?<=[ao])|(?<=u)(?<![aeiouqy]u))e")  # as in the stemmer: not in Quelle, nor in bauen

_ALSO = {"a": "e?", "o": "e?", "u": "e?"}


class _Stems(dict[str, str]):
    """The stems of words that were asked for lately: most of a text are the same few."""

    def __missing__(self, word: str) -> str:
        if len(word) > LONGEST:
            return stems.german(word[:LONGEST])
        if len(self) >= _REMEMBERED:
            self.clear()
        self[word] = found = stems.german(word)
        return found


_stems = _Stems()


def of(folded: str) -> list[str]:
    """The words of a folded text in their order."""
    return list(map(_stems.__getitem__, terms.sequence(folded)))


def beginning(folded: str) -> str:
    """What the words have in common that begin with a folded text, as long as no end is cut off from them."""
    return _umlaut.sub("", _marks.sub("", folded[:LONGEST]))


def inside(folded: str) -> re.Pattern[str]:
    """What `search`es for a folded text in another one: prüfung is in rechnungspruefung."""
    bare = _umlaut.sub("", _marks.sub("", folded))
    return re.compile("".join(f"{re.escape(one)}{_ALSO.get(one, '')}[\u0300-\u036f]*+" for one in bare))
