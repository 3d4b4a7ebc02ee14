"""Words by their stems, German and English, for searches that need not be exact: Rechnungen is Rechnung.

Texts are folded (see textindex/terms.py). How well a term fits a word is a number: 100 the word, 80 the word is part of
the term, 50 both have a stem in common, 0 not at all; how well a text does, the mean over all words, or 0 without one.
"""

import functools
import re
import unicodedata
from collections.abc import Collection
from typing import Any

import Stemmer  # type: ignore[import-not-found]

from lanmail.textindex import terms

SAME, PART, STEM = 100, 80, 50

_german, _english = Stemmer.Stemmer("german", 0), Stemmer.Stemmer("english", 0)  # what they said is remembered below
_marks = re.compile("[\u0300-\u036f]")
_no_umlaut = re.compile("(?<![aou])\u0308|[\u0300-\u0307\u0309-\u036f]")
_start = re.compile("[^aeiouy\u0300-\u036f]*[aeou]?").match  # what no inflection changes


@functools.lru_cache(maxsize=50_000)
def of(word: str) -> frozenset[str]:
    """The stems of a folded word, without accents."""
    return frozenset((_stem(_german, word), _stem(_english, word)))


def german(word: str) -> str:
    """The German stem of a folded word, without accents; umlauts count as written with or without their e."""
    return _stem(_german, word if word.isascii() else _no_umlaut.sub("", word))


def _stem(stemmer: Any, word: str) -> str:
    if word.isascii():
        return str(stemmer.stemWord(word))
    return _marks.sub("", unicodedata.normalize("NFD", stemmer.stemWord(unicodedata.normalize("NFC", word))))


class Word:
    """A word to look for."""

    __slots__ = ("run", "start", "stems", "text")

    def __init__(self, run: terms.Run) -> None:
        self.text = run.text
        alone = terms.is_alone(run.text) is not None
        self.run = terms.Run(run.text, left=alone, right=alone)  # what the term is that it is part of
        found = _start(run.text)
        self.start = terms.Run(found[0] if found and found[0] else run.text[:1], left=True)
        self.stems = of(run.text)

    def rank(self, term: str) -> int:
        """How well a term fits."""
        if self.text in term:
            return SAME if term == self.text else PART
        return STEM if term.startswith(self.start.text) and not self.stems.isdisjoint(of(term)) else 0


def words(needle: str) -> list[Word]:
    """The words of a folded text, each once."""
    return [Word(run) for run in {run.text: run for run in terms.runs(needle)}.values()]


def score(wanted: list[Word], found: Collection[str]) -> int:
    """How well the terms of a text fit: 1 to 100, or 0."""
    return mean([max(map(word.rank, found), default=0) for word in wanted])


def mean(ranks: list[int]) -> int:
    """What the ranks of all words make together."""
    return sum(ranks) // len(ranks) if ranks and all(ranks) else 0
