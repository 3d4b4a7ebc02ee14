"""timetable.py: windows of the week as people write them."""

import time

import pytest

from lanmail import timetable


def at(text: str) -> float:
    """Seconds of a local time; 2026-11-23 is a Monday."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(("window", "when", "minutes"), [
    ("Mon-Fri 07:00-19:00", "2026-11-23 07:00", 0),
    ("Mon-Fri 07:00-19:00", "2026-11-23 18:59", 0),
    ("Mon-Fri 07:00-19:00", "2026-11-23 19:00", 12 * 60),
    ("Mon-Fri 07:00-19:00", "2026-11-27 19:00", 60 * 60),  # Friday evening: Monday morning
    ("22:00-06:00", "2026-11-23 23:00", 0),
    ("22:00-06:00", "2026-11-23 05:59", 0),
    ("22:00-06:00", "2026-11-23 06:00", 16 * 60),
    ("Fri 22:00-06:00", "2026-11-28 05:00", 0),  # Saturday, still the window of Friday
    ("Fri 22:00-06:00", "2026-11-27 05:00", 17 * 60),
    ("sat,sun", "2026-11-29 23:59", 0),
    ("sat,sun", "2026-11-30 00:00", 5 * 24 * 60),
    ("Sat-Mon 00:00-24:00", "2026-11-30 12:00", 0),
    ("Sun 22:00-22:00", "2026-11-30 21:00", 0),
])
def test_open_or_when(window: str, when: str, minutes: int) -> None:
    assert timetable.opens_in([window], at(when)) == minutes * 60


def test_the_first_of_several_counts_and_none_is_always() -> None:
    assert timetable.opens_in(["Sun", "Mon 08:00-09:00"], at("2026-11-23 07:30")) == 1800
    assert timetable.opens_in([], at("2026-11-23 07:30")) == 0


@pytest.mark.parametrize("wrong", ["", "Mo-Fr 07:00-19:00", "25:00-26:00", "07:00-19:60", "07:00", "Mon 7-19", "Mon-"])
def test_a_wrong_one_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(ValueError, match="Mon-Fri 07:00-19:00"):
        timetable.window(wrong)
