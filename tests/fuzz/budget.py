"""How much is tried (little in `make test`, much in `make fuzz`), and what linear time is.

Ten times the input may take twenty times as long, not a hundred times.
"""

import os
import time
from collections.abc import Callable

from hypothesis import HealthCheck, settings

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
tries = settings(max_examples=5_000 if LONG else 60, deadline=None, suppress_health_check=list(HealthCheck))

MEASURABLE = 0.02


def linear(work: Callable[[int], object], size: int) -> None:
    """Compare `work(size)` with `work(10 * size)`; `make fuzz` goes on until it takes long enough to be measured.

    The best of three, for the garbage collector takes its time as it likes.
    """
    while True:
        before, after = _seconds(work, size), _seconds(work, 10 * size)
        if before > MEASURABLE or not LONG or size >= 100_000:
            break
        size *= 10
    for _ in range(2):
        if after < 20 * max(before, MEASURABLE):
            break
        before, after = max(before, _seconds(work, size)), min(after, _seconds(work, 10 * size))
    assert after < 20 * max(before, MEASURABLE), f"{before:.3f} s, ten times as much: {after:.3f} s"


def _seconds(work: Callable[[int], object], size: int) -> float:
    began = time.process_time()
    work(size)
    return time.process_time() - began
