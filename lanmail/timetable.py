"""Times of the week in which something may be done: "Mon-Fri 07:00-19:00".

    Mon-Fri 07:00-19:00     Sat,Sun 10:00-12:00     22:00-06:00 (every day, until the next morning)     Sun

Times are those of the machine's clock. A window whose end is not after its start goes on into the next day, and
belongs to the day on which it starts. No window at all means always.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60  # minutes
_WINDOW = re.compile(r"(?:(?P<days>[A-Za-z,-]+)(?: +|\Z))?(?:(?P<h1>\d\d?):(?P<m1>\d\d)-(?P<h2>\d\d?):(?P<m2>\d\d))?")


@dataclass(frozen=True, slots=True)
class Window:
    """On these days (0 is Monday) from `start` for `length` minutes."""

    days: frozenset[int]
    start: int
    length: int

    def contains(self, day: int, minute: int) -> bool:
        """Whether a minute of a day of the week lies in it."""
        return (day in self.days and 0 <= minute - self.start < self.length) or (
            (day - 1) % 7 in self.days and minute + DAY - self.start < self.length)


def parse(text: str) -> Window:
    """ValueError with a sentence."""
    match = _WINDOW.fullmatch(text.strip())
    if match is None or not (match["days"] or match["h1"]):
        raise ValueError(_wrong(text))
    days = _days(match["days"], text) if match["days"] else frozenset(range(7))
    if not match["h1"]:
        return Window(days, 0, DAY)
    start, end = (int(match[f"h{n}"]) * 60 + int(match[f"m{n}"]) for n in (1, 2))
    if start >= DAY or end > DAY or int(match["m1"]) > 59 or int(match["m2"]) > 59:
        raise ValueError(_wrong(text))
    return Window(days, start, end - start if end > start else end + DAY - start)


def _days(words: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for word in words.lower().split(","):
        first, dash, last = word.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(_wrong(text))
        one, end = DAYS.index(first), DAYS.index(last if dash else first)
        found |= {day % 7 for day in range(one, end + 1 if end >= one else end + 8)}
    return frozenset(found)


def _wrong(text: str) -> str:
    return f'{text!r} is no time of the week; write it like "Mon-Fri 07:00-19:00", "22:00-06:00" or "Sat,Sun"'


def opens_in(windows: Sequence[str], now: float) -> float:
    """Seconds from `now` (as time.time has it) until one of the windows is open; 0.0 when one is, or there is none."""
    read = [parse(one) for one in windows]
    if not read:
        return 0.0
    at = now
    while at < now + 8 * 86_400:
        local = time.localtime(at)
        if any(one.contains(local.tm_wday, local.tm_hour * 60 + local.tm_min) for one in read):
            return at - now
        at += 60 - at % 60  # the next full minute; clocks that are put forward or back need no special care
    return 8 * 86_400.0


def window(value: Any) -> str:
    """A window as people write it, for settings. ValueError with a sentence."""
    parse(value if isinstance(value, str) else "")
    return str(value)


Times = Annotated[str, BeforeValidator(window), WithJsonSchema({
    "type": "string", "pattern": r"^([A-Za-z,-]+)? ?(\d\d?:\d\d-\d\d?:\d\d)?$", "examples": ["Mon-Fri 07:00-19:00"]})]
