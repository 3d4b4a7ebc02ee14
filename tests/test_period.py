"""period.py: from when until when, in local time, both ends included."""

import datetime
import time
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import period


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """A moment with its zone, as seconds."""
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(("begin", "end", "inside", "outside"), [
    ("2026-12-24", "2027-01-06",
     ["2026-12-24T00:00:00+01:00", "2027-01-06T23:59:59+01:00"],
     ["2026-12-23T23:59:59+01:00", "2027-01-07T00:00:00+01:00"]),
    ("2026-12-24 12:00", "2026-12-24 12:00", ["2026-12-24T12:00:00.9+01:00"],
     ["2026-12-24T11:59:59+01:00", "2026-12-24T12:00:01+01:00"]),
    ("", "2026-07-01 08:30:15", ["1999-01-01T00:00:00+01:00", "2026-07-01T08:30:15+02:00"],
     ["2026-07-01T08:30:16+02:00"]),
    ("2026-07-01", "", ["2026-07-01T00:00:00+02:00", "2099-01-01T00:00:00+01:00"], ["2026-06-30T23:59:59+02:00"]),
    ("", "", ["1970-01-02T00:00:00+01:00", "2500-01-01T00:00:00+01:00"], []),
    # clocks go back at three, so the day has 25 hours and 02:30 comes twice; in spring it has 23
    ("2026-10-25", "2026-10-25", ["2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00"],
     ["2026-10-24T23:59:59+02:00", "2026-10-26T00:00:00+01:00"]),
    ("2026-10-25 02:30", "2026-10-25 02:30", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"],
     ["2026-10-25T02:29:59+02:00", "2026-10-25T02:30:01+01:00"]),
    ("2026-03-29", "2026-03-29", ["2026-03-29T23:59:59+02:00"], ["2026-03-30T00:00:00+02:00"]),
])
def test_edges(begin: str, end: str, inside: list[str], outside: list[str]) -> None:
    found = period.of(begin, end)
    assert [one for one in inside if not found.contains(at(one))] == []
    assert [one for one in outside if found.contains(at(one))] == []


@pytest.mark.parametrize(("written", "read"), [
    ('"2026-12-24"', "2026-12-24"), ('" 2026-12-24 12:00 "', "2026-12-24 12:00"), ('"2026-12-24T12:00"',
    "2026-12-24 12:00"), ('"2026-12-24 12:00:00"', "2026-12-24 12:00"), ('"2026-12-24 12:00:30"',
    "2026-12-24 12:00:30"), ("2026-12-24", "2026-12-24"), ("2026-12-24 12:00:00", "2026-12-24 12:00"), ('""', ""),
])
def test_as_people_write_it(written: str, read: str) -> None:
    assert period.moment(tomllib.loads(f"x = {written}")["x"]) == read


@pytest.mark.parametrize("wrong", [
    "24.12.2026", "2026-13-01", "2026-02-30", "2026-12-24 25:00", "2026-12-24 12", "12:00", "tomorrow",
    "0001-01-01", "9999-12-31", 20261224, None, True, "2026-12-24 12:00+01:00",
    datetime.datetime(2026, 12, 24, tzinfo=datetime.UTC),
])
def test_what_is_no_moment_is_told_with_an_example(wrong: object) -> None:
    with pytest.raises(ValueError, match='write it like "2026-12-24"'):
        period.moment(wrong)


@given(st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(9000, 1, 1)))
def test_every_moment_belongs_to_itself(one: datetime.datetime) -> None:
    text = one.strftime("%Y-%m-%d %H:%M:%S")
    assert period.moment(period.moment(text)) == period.moment(text)
    assert period.of(text, text).begin < period.of(text, text).end
