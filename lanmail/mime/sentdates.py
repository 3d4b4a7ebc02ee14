"""The sent date of a message: the moment that its Date field tells (RFC 5322 §3.3, §4.3, as RFC 5256 §2.2 wants it)."""

import datetime
import re

from lanmail.mime import headers

MAX_DATE = 200
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_comment = re.compile(rb"\([^()]*\)")
_date = re.compile(
    rb"\s*(?:[A-Za-z]{2,9}[.,\s]*)?(\d{1,2})[\s-]+([A-Za-z]{3})[A-Za-z]*[\s.,-]+(\d{2,4})(?!\d)"
    rb"(?:[\s,]+(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2}))?)?(?:[.\d]*\s*(?:([+-])(\d\d)(\d\d)(?!\d)|([A-Za-z]{2,3})\b))?"
).match
_ZONES = {b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7}


def of_header(header: bytes) -> float | None:
    """Seconds since 1970, or None when there is no Date field that can be read."""
    for value in headers.values(header, b"date")[:1]:
        return moment(value)
    return None


def moment(value: bytes) -> float | None:
    """The moment that a Date field tells. Without a valid zone it is UTC, without a valid time midnight."""
    value = value[:MAX_DATE]
    found = _date(_comment.sub(b" ", value) if b"(" in value else value)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, name = found.groups()
    try:
        date = datetime.date(_year(year), _MONTHS.index(month.decode("ascii").lower()) + 1, int(day))
    except ValueError:
        return None
    clock = [int(part or 0) for part in (hour, minute, second)]
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 60:
        clock = [0, 0, 0]
    seconds = 0
    if sign and int(zone_minutes) < 60:
        seconds = (int(zone_hours) * 3600 + int(zone_minutes) * 60) * (-1 if sign == b"-" else 1)
    elif name:
        seconds = _ZONES.get(name.upper(), 0) * 3600
    days = date.toordinal() - _EPOCH
    return float(days * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2] - seconds)


def _year(digits: bytes) -> int:
    """RFC 5322 §4.3: two and three digits are of old programs."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year
