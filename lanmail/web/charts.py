"""Small charts for pages: bars as one SVG path each, with what they say in words.

A chart has up to two rows of bars, one above the other. Where a value is None nobody looked, and nothing is drawn.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 480.0, 96.0  # of the bars, in units of the viewBox
Span = Literal["day", "week"]


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws."""

    title: str
    path: str  # d= of the bars
    top: int  # the value at the upper edge
    ticks: list[tuple[float, str]]  # where on the x axis, and what is written there
    gaps: str  # d= of the times when nobody looked


def bars(title: str, ats: Sequence[float], values: Sequence[float | None], span: Span) -> Chart:
    """A chart of one row of values."""
    top = _top(max((one for one in values if one is not None), default=0.0))
    step = WIDTH / len(values)
    drawn, gaps = [], []
    for number, one in enumerate(values):
        left = number * step
        if one is None:
            gaps.append(f"M{left:.4g} 0h{step:.4g}V{HEIGHT:g}h-{step:.4g}z")
        elif one > 0:
            height = max(1.5, one / top * HEIGHT)
            drawn.append(f"M{left:.4g} {HEIGHT:g}v-{height:.4g}h{step * 0.8:.4g}v{height:.4g}z")
    return Chart(title, "".join(drawn), top, _ticks(ats, span), "".join(gaps))


def _top(most: float) -> int:
    """A round number that is not below: 1, 2, 5, 10, 20 …"""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if power * factor >= most:
                return power * factor
        power *= 10


def _ticks(ats: Sequence[float], span: Span) -> list[tuple[float, str]]:
    """Hours that six divides, or days, as the machine's clock has them."""
    found: list[tuple[float, str]] = []
    for number, at in enumerate(ats):
        if number > 0.95 * len(ats):
            break  # there is no room for it
        local = time.localtime(at)
        if span == "day" and local.tm_min == 0 and local.tm_hour % 6 == 0:
            found.append((number * WIDTH / len(ats), f"{local.tm_hour}:00"))
        elif span == "week" and local.tm_hour in (0, 1) and (not number or time.localtime(ats[number - 1]).tm_mday
                                                             != local.tm_mday):
            found.append((number * WIDTH / len(ats), f"{local.tm_mday}.{local.tm_mon}."))
    return found
