"""Samples for charts: written, thinned out, read in whatever state they are; and the bars that are drawn of them."""

import time
from pathlib import Path

import pytest

from lanmail.monitoring import samples
from lanmail.web import charts

NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))


def line(at: float, accepted: float, queue: float = 0) -> list[float]:
    return [at, accepted, *[0] * 5, queue, *[0] * 4]


def values(state: Path, name: str, many: int = 4) -> list[float | None]:
    return [one.values[name] for one in samples.points(state, NOON, 900, many)]


def test_what_was_counted_and_the_most_that_waited(tmp_path: Path) -> None:
    for minute, accepted, queue in ((-1, 5, 0), (1, 7, 3), (2, 7, 9), (3, 8, 1), (16, 8, 0), (17, 10, 0)):
        samples.append(tmp_path, line(NOON + minute * 60, accepted, queue))
    assert values(tmp_path, "accepted") == [3, 2, None, None]
    assert values(tmp_path, "queue") == [9, 0, None, None]


def test_counters_that_start_again_and_times_nobody_looked(tmp_path: Path) -> None:
    for minute, accepted in ((0, 100), (1, 3), (2, 5), (40, 50), (41, 51)):
        samples.append(tmp_path, line(NOON + minute * 60, accepted))
    assert values(tmp_path, "accepted") == [2, None, 1, None]


def test_days_that_are_over(tmp_path: Path) -> None:
    for day in range(12):
        samples.append(tmp_path, line(NOON + day * 86400, day))
    kept = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert (len(kept), kept[-1]) == (samples.KEPT_DAYS, "2026-12-03.jsonl")
    assert [one[1] for one in samples.read(tmp_path, NOON + 10 * 86400 + 1)] == [11]


@pytest.mark.parametrize("text", ["", "{", "[1]\n", "\xff\xfe", '["a", 1]\n', "null\n"])
def test_what_is_broken_is_left_out(tmp_path: Path, text: str) -> None:
    samples.append(tmp_path, line(NOON, 4))
    path = tmp_path / "samples/2026-11-22.jsonl"
    path.write_text(text + "\n" + path.read_text(), encoding="latin-1")
    assert samples.read(tmp_path, 0) == [line(NOON, 4)]


def test_bars() -> None:
    made = charts.bars("x", [NOON + 900 * n for n in range(4)], [0, 3, None, 6], "day")
    assert made.top == 10
    assert made.path == "M120 96v-28.8h96v28.8zM360 96v-57.6h96v57.6z"
    assert made.gaps == "M240 0h120V96h-120z"
    assert made.ticks == [(0.0, "12:00")]
    assert charts.bars("x", [NOON], [0], "day").top == 1


@pytest.mark.parametrize(("most", "top"), [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (1e6 + 1, 2_000_000)])
def test_the_upper_edge_is_round(most: float, top: int) -> None:
    assert charts.bars("x", [NOON], [most], "week").top == top
