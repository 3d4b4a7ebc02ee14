"""Sent dates (RFC 5256 §2.2)."""

import calendar

import pytest

from lanmail.mime import sentdates


@pytest.mark.parametrize(("value", "moment"), [
    (b"Sat, 24 Mar 2007 23:00:00 +0200", (2007, 3, 24, 21, 0, 0)),
    (b"24 Mar 2007 23:00 -0030", (2007, 3, 24, 23, 30, 0)),
    (b"31 Dec 2000 16:01:33 -0800", (2001, 1, 1, 0, 1, 33)),
    (b"Sat, 24 Mar 07 23:00:00 GMT", (2007, 3, 24, 23, 0, 0)),
    (b"Sat, 24 Mar 95 23:00:00 EST", (1995, 3, 25, 4, 0, 0)),
    (b"Sat, 24 Mar 107 23:00:00 pdt", (2007, 3, 25, 6, 0, 0)),
    (b"Sat, 24 Mar 2007 (it was\n late) 23:00:00 +0000 (UTC)", (2007, 3, 24, 23, 0, 0)),
    (b"Sat, 24 Mar 2007 23:00:00", (2007, 3, 24, 23, 0, 0)),
    (b"Sat, 24 Mar 2007 23:00:00 +9999", (2007, 3, 24, 23, 0, 0)),
    (b"Sat, 24 Mar 2007 29:00:00 +0000", (2007, 3, 24, 0, 0, 0)),
    (b"Sat, 24 Mar 2007", (2007, 3, 24, 0, 0, 0)),
    (b"Thu, 13 Feb 1969 23:32:54 -0330", (1969, 2, 14, 3, 2, 54)),
    (b"30 Feb 2007 10:00:00 +0000", None),
    (b"24 Foo 2007 10:00:00 +0000", None),
    (b"yesterday", None),
    (b"", None),
])
def test_moments(value: bytes, moment: tuple[int, ...] | None) -> None:
    assert sentdates.moment(value) == (None if moment is None else calendar.timegm(moment))


def test_the_first_date_counts_even_if_it_cannot_be_read() -> None:
    assert sentdates.of_header(b"Date: nonsense\nDate: 1 Jan 2000 00:00:00 +0000\n\n") is None
    assert sentdates.of_header(b"Subject: x\n\n") is None
