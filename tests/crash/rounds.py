"""How often a test kills at random or cuts the power: some in a run of all tests, all with `make crash`."""

import os

SHARE = float(os.environ.get("LANMAIL_ROUNDS", "0.2"))


def of(full: int) -> int:
    """So many of `full` rounds; at least two."""
    return max(2, round(full * SHARE))


def steps(first: int, end: int) -> range:
    """Which calls a program is killed at: every second one, or each of them."""
    return range(first, end, 1 if SHARE >= 1 else 2)
