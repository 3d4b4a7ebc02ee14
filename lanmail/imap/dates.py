"""Dates in commands: `"17-Jul-1996 02:44:25 -0700"` of APPEND and `1-Feb-1994` of SEARCH (RFC 3501 §9)."""

import calendar
import datetime
import re

from lanmail.imap import parser

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_TIME = re.compile(rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')
_DATE = re.compile(rb'"?(\d{1,2})-([A-Za-z]{3})-(\d{4})"?')


def date_time(cursor: parser.Cursor) -> float:
    """A moment, in seconds since 1970."""
    found = _DATE_TIME.match(cursor.text, cursor.position)
    if found is None:
        cursor.fail("a date-time")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    when = _day(cursor, day.strip(), month, year)
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or int(zone_minutes) > 59:
        cursor.fail("a date-time that exists")
    cursor.position = found.end()
    moment = calendar.timegm((when.year, when.month, when.day, int(hour), int(minute), int(second)))
    zone = int(zone_hours) * 3600 + int(zone_minutes) * 60
    return float(moment + zone if sign == b"-" else moment - zone)


def date(cursor: parser.Cursor) -> datetime.date:
    """A day."""
    found = _DATE.match(cursor.text, cursor.position)
    if found is None or found.group().startswith(b'"') != found.group().endswith(b'"'):
        cursor.fail("a date")
    day = _day(cursor, *found.groups())
    cursor.position = found.end()
    return day


def _day(cursor: parser.Cursor, day: bytes, month: bytes, year: bytes) -> datetime.date:
    try:
        return datetime.date(int(year), MONTHS.index(month.decode("ascii").lower()) + 1, int(day))
    except ValueError:
        return cursor.fail("a date that exists")
