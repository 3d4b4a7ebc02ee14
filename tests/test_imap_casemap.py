"""Texts that are alike for a search."""

import pytest
from hypothesis import given, settings, strategies

from lanmail.mime import casemap

LATIN = "aAäÄoö ßsS½1\N{NO-BREAK SPACE}µe\u0308nñª¨é"
_texts = strategies.text(LATIN + "“ﬁ€Ωΐ", max_size=12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MÜLLER", "müller"),
        ("Mu\u0308ller", "Müller"),
        ("STRASSE", "Straße"),
        ("\uff21\uff22", "ab"),
        ("a\N{NO-BREAK SPACE}b", "A b"),
        ("\N{ANGSTROM SIGN}", "å"),
    ],
)
def test_alike(one: str, other: str) -> None:
    assert casemap.fold(one) == casemap.fold(other)
    assert casemap.Pattern(one).inside(f"x {other} y")
    assert casemap.Pattern(other).inside(f"x {one} y")


@pytest.mark.parametrize(("one", "other"), [("Muller", "Müller"), ("Müller", "Mueller"), ("o", "0")])
def test_not_alike(one: str, other: str) -> None:
    assert not casemap.Pattern(one).inside(other)


@settings(max_examples=1000, deadline=None)
@given(_texts, _texts)
def test_the_short_cut_changes_nothing(pattern: str, text: str) -> None:
    assert casemap.Pattern(pattern).inside(text) == (casemap.fold(pattern) in casemap.fold(text))


@settings(max_examples=300, deadline=None)
@given(_texts, strategies.integers(0, 12), strategies.integers(0, 12))
def test_a_part_is_found(text: str, start: int, end: int) -> None:
    # A cut between a letter and its accent leaves half a letter, which is found only where it stands so.
    part = text[start:end]
    if "\u0308" not in text:
        assert casemap.Pattern(part.upper()).inside(text) or casemap.fold(part.upper()) != casemap.fold(part)
        assert casemap.Pattern(part).inside(text)


@settings(max_examples=1000, deadline=None)
@given(strategies.text(strategies.sampled_from("aeoumsßüÜµ½²¼ÆŠ™…€ "), max_size=12), _texts,
       strategies.text(strategies.sampled_from("aAuUmsSüß½2"), min_size=1, max_size=3))
def test_octets_of_windows_1252(text: str, other: str, part: str) -> None:
    for one in (text, other):
        octets = one.encode("cp1252", "replace")
        found = casemap.Pattern(part).in_latin(octets)
        assert found in (None, casemap.fold(part) in casemap.fold(octets.decode("cp1252", "replace")))
