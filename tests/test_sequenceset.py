"""Sets of numbers as IMAP writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import sequenceset


@pytest.mark.parametrize(("numbers", "text"), [
    ([], ""), ([7], "7"), ([1, 2], "1:2"), ([0, 1, 3], "0:1,3"), ([1, 2, 3, 5, 9], "1:3,5,9"),
    ([4294967294, 4294967295], "4294967294:4294967295"), ([5, 1, 2], "5,1:2"),
])
def test_written(numbers: list[int], text: str) -> None:
    assert sequenceset.text(numbers) == text


@given(st.lists(st.integers(0, 40), unique=True))
def test_says_the_same_numbers_in_the_same_order(numbers: list[int]) -> None:
    """COPYUID pairs two sets by their order (RFC 4315 §3)."""
    said = []
    for part in filter(None, sequenceset.text(numbers).split(",")):
        first, _, last = part.partition(":")
        said += range(int(first), int(last or first) + 1)
    assert said == numbers
