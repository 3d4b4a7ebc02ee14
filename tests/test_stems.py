"""Stems: inflected forms are one, other words are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.mime import casemap
from lanmail.textindex import stems


def rank(word: str, term: str) -> int:
    (wanted,) = stems.words(casemap.fold(word))
    return wanted.rank(casemap.fold(term))


@pytest.mark.parametrize(("word", "term", "expected"), [
    ("Rechnung", "rechnung", 100), ("Rechnung", "Abrechnungen", 80), ("Rechnungen", "Rechnung", 50),
    ("Häuser", "Haus", 50), ("Haus", "Häusern", 50), ("Haeuser", "Häuser", 50), ("Müller", "Mueller", 50),
    ("Müller", "Muller", 50), ("Strasse", "Straße", 100), ("Prüfungen", "pruefung", 50), ("invoices", "invoice", 50),
    ("running", "runs", 50), ("skies", "sky", 50), ("Angebot", "Anfrage", 0), ("Haus", "Maus", 0),
    ("日", "日", 100), ("日", "本", 0), ("привет", "привета", 80),
])
def test_how_well_words_fit(word: str, term: str, expected: int) -> None:
    assert rank(word, term) == expected


def test_a_text_has_all_words_or_does_not_match() -> None:
    wanted = stems.words(casemap.fold("Rechnungen, Müller!"))
    assert stems.score(wanted, {"rechnung", "mueller"}) == 50
    assert stems.score(wanted, {"rechnungen", "mueller", "sonst"}) == 75
    assert stems.score(wanted, {"rechnung"}) == 0
    assert stems.score(wanted, set()) == 0
    assert stems.words(" ?! ") == []


@given(st.text(max_size=40))
def test_any_text_has_words_that_fit_themselves(text: str) -> None:
    for word in stems.words(casemap.fold(text)):
        assert word.rank(word.text) == 100
        assert word.start.text
        assert word.text.startswith(word.start.text)


INFLECTED = ["haus", "häuser", "haeuser", "häusern", "müller", "mueller", "muller", "übung", "uebungen", "ubungen",
             "österreich", "oesterreich", "ähnlich", "aehnlich", "größe", "groesse", "grosse", "year", "years", "yes",
             "überweisung", "ueberweisungen", "café", "cafés", "mäuse"]


@pytest.mark.parametrize("first", INFLECTED)
def test_inflected_forms_begin_alike(first: str) -> None:
    (word,) = stems.words(casemap.fold(first))
    for second in INFLECTED:
        (other,) = stems.words(casemap.fold(second))
        if not word.stems.isdisjoint(other.stems):
            assert other.text.startswith(word.start.text), (first, second)
