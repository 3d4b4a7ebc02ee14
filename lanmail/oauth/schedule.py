"""When a token is renewed, how long to wait after a failure, and how hard a provider may be asked.

Times of files are UTC seconds, for they outlive the process; what is counted here is monotonic, so that a clock that is
set, or a machine that slept, neither forgets a token nor asks in a loop.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from lanmail.oauth.store import Access

DAY = 86_400.0
MARGIN = 300.0  # seconds before its end, at least, that a token is renewed
SHARE = 0.2  # of its life, if that is more
JITTER = 60.0
BACK = 60.0  # seconds that the clock may be set back before its times count for nothing
_FIRST, _LONGEST = 30.0, 900.0
_FAILURES, _PROBE = 5, 300.0


def due_at(issued: float, expires: float, spread: float | None = None) -> float:
    """When a token is to be renewed: before its end, at half its life at the earliest, after a day at the latest.

    `spread` is a number from 0 to 1, by default a random one: not all tokens shall be due at once.
    """
    life = max(expires - issued, 1.0)
    early = max(MARGIN, SHARE * life) + min(JITTER, 0.05 * life) * _random(spread)
    return min(max(expires - early, issued + life / 2), issued + DAY)


def pause(tries: int, spread: float | None = None) -> float:
    """Seconds after so many failures in a row: 30 s, doubling to 15 minutes, anything up to that at random."""
    most = min(_FIRST * 2.0 ** min(tries - 1, 10), _LONGEST)
    return max(1.0, most * _random(spread))


def _random(given: float | None) -> float:
    return random.random() if given is None else given  # noqa: S311 no secret


class Deadlines:
    """By the monotonic clock: when each access token is due, counted from when it was first seen here."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._known: dict[tuple[str, str, str], tuple[tuple[float, float], float]] = {}

    def wait(self, found: Access) -> float:
        """Seconds until it is due, 0 or less for now, by whichever clock is earlier."""
        now, key = self._wall(), (found.app, found.address, found.resource)
        left = found.next_refresh - now
        name = (found.issued, found.next_refresh)
        if key not in self._known or self._known[key][0] != name:
            self._known[key] = (name, self._steady() + left)
        if now < found.issued - BACK:
            return 0.0  # it is from the future: the clock was set back, and its end cannot be told
        return min(left, self._known[key][1] - self._steady())


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    failures: int = 0
    until: float = -1e9
    failing: bool = field(default=False)


class Hosts:
    """The providers' hosts: so many requests to each at a time; after five failures in a row one per five minutes."""

    def __init__(self, most: int = 2, steady: Callable[[], float] = time.monotonic) -> None:
        self._most, self._steady = most, steady
        self._hosts: dict[str, _Host] = {}

    def wait(self, name: str) -> float:
        """Seconds until it may be asked; 0.0 for now."""
        return max(self._of(name).until - self._steady(), 0.0)

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[bool]:
        """Ask when it is one's turn, unless it is False by then; at a host that fails, this is the one probe."""
        host = self._of(name)
        async with host.slots:
            may = host.until <= self._steady()
            if host.failing and may:
                host.until = self._steady() + _PROBE
            yield may

    def answered(self, name: str) -> None:
        """It gave an answer that can be understood, whatever it was."""
        host = self._of(name)
        host.failures, host.until, host.failing = 0, -1e9, False

    def failed(self, name: str) -> bool:
        """No answer, or none that can be understood; True when it is left alone from now on."""
        host = self._of(name)
        host.failures += 1
        first = host.failures == _FAILURES
        if host.failures >= _FAILURES:
            host.failing, host.until = True, self._steady() + _PROBE
        return first

    def throttled(self, name: str, seconds: float) -> None:
        """It wants to be left alone for so long."""
        host = self._of(name)
        host.until = max(host.until, self._steady() + seconds)

    def _of(self, name: str) -> _Host:
        if name not in self._hosts:
            self._hosts[name] = _Host(asyncio.Semaphore(self._most))
        return self._hosts[name]
