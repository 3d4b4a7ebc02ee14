"""How everything was, minute by minute, for charts: state/samples/YYYY-MM-DD.jsonl, written by one worker of httpd.

A line is a list of FIELDS; those of COUNTED only grow. Eight days are kept. While httpd does not run there are no
lines; what was counted meanwhile is in the difference between the lines around, and belongs to no minute.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lanmail import atomic
from lanmail.monitoring.condition import Condition

KEPT_DAYS = 8
GAP = 600.0  # seconds between two samples from which on nobody knows what happened when
COUNTED = ("accepted", "delivered", "sent", "failed", "rejected", "fetches_failed")
MEASURED = ("queue", "outbound", "hold", "mailboxes_failing", "disk_free")
FIELDS = ("at", *COUNTED, *MEASURED)
_LIMIT = 4 << 20
_NUMBERS = {int, float}


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in a span of time, and the most that waited; None where nobody looked."""

    at: float  # its begin
    values: dict[str, float | None]


def of(seen: Condition) -> list[float]:
    """The line about a condition."""
    failing = sum(1 for one in seen.mailboxes if one.health.level)
    return [round(seen.at), seen.total("mails_accepted"), seen.total("mails_delivered"), seen.total("recipients_sent"),
            seen.total("recipients_failed"), seen.total("mails_rejected"), seen.total("fetches_failed"),
            seen.spools["queue"].entries, seen.spools["outbound"].entries, seen.spools["hold"].entries, failing,
            seen.disk_free]


def append(state: Path, line: list[float]) -> None:
    """Write a sample down. Blocks; OSError."""
    path = state / "samples" / f"{time.strftime('%Y-%m-%d', time.localtime(line[0]))}.jsonl"
    if not path.exists():
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        for old in sorted(path.parent.glob("????-??-??.jsonl"))[: 1 - KEPT_DAYS]:
            old.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | atomic.SAFE, 0o640)
    try:
        atomic.write_all(descriptor, (json.dumps([int(one) for one in line]) + "\n").encode())
    finally:
        os.close(descriptor)


def read(state: Path, since: float) -> list[list[float]]:
    """All samples from then on, in order. What cannot be read is left out."""
    first = time.strftime("%Y-%m-%d", time.localtime(since))
    found = [line for path in sorted((state / "samples").glob("????-??-??.jsonl")) if path.stem >= first
             for line in _lines(path)]
    return sorted(line for line in found if line[0] >= since)


def _lines(path: Path) -> Iterator[list[float]]:
    try:
        text = atomic.read(path, _LIMIT).decode("ascii", "replace")
    except OSError:
        return
    lines = text.splitlines()
    try:  # all of them at once, for there are more than a thousand
        found = json.loads(f"[{','.join(lines)}]")
    except ValueError:
        found = [known for known in map(_line, lines) if known]
    for line in found:
        if isinstance(line, list) and len(line) == len(FIELDS) and {*map(type, line)} <= _NUMBERS:
            yield line


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def points(state: Path, begin: float, step: float, many: int) -> list[Point]:
    """So many spans of `step` seconds from `begin` on."""
    grouped: dict[int, list[list[float]]] = {}
    before: list[float] | None = None
    for line in read(state, begin - GAP):
        place = int((line[0] - begin) // step)
        if place not in grouped:  # begins with the line before, for what was counted since
            grouped[place] = [before or line]
        grouped[place].append(line)
        before = line
    return [Point(begin + place * step, _values(grouped.get(place))) for place in range(many)]


def _values(lines: list[list[float]] | None) -> dict[str, float | None]:
    """Of the lines of a span, and one before."""
    if lines is None:
        return dict.fromkeys((*COUNTED, *MEASURED))
    columns = dict(zip(FIELDS, zip(*lines, strict=True), strict=True))
    known = [now - then <= GAP for then, now in pairwise(columns["at"])]
    found: dict[str, float | None] = {}
    for name in COUNTED:
        steps = [max(0.0, now - then) for (then, now), good in zip(pairwise(columns[name]), known, strict=True) if good]
        found[name] = sum(steps) if steps else None
    return found | {name: max(columns[name][1:]) for name in MEASURED}
