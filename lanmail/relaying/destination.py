"""A destination: a smarthost, the servers of one domain, a directory. It fails and recovers as one.

When it cannot be reached, nothing is tried there until its back-off has passed; then one mail goes first, and the
others follow when that one got through. The tries of mails that wait are not counted. Mails beyond a few are kept by
name only, so a hundred thousand of them cost little memory, and a slow destination holds up nobody else's mail.
"""

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lanmail.relaying import mail, route

QUEUE = 200  # parts that wait with their envelope in memory
RECENT = 60.0  # seconds: a server that took a mail this long ago is not dead, but busy
FIRST = 2  # connections until one mail got through: ten wrong log-ins at once would lock us out
JITTER = 0.1


@dataclass(slots=True)
class Parked:
    """An entry that waits for its destination: where it lies, and when its age is to be looked at."""

    place: str
    look: float


@dataclass(slots=True)
class Destination:
    """See above. Times are those of time.monotonic, but `since` and Parked.look."""

    name: str
    limit: int
    interval: float = 0.0  # seconds between two mails (rate)
    queue: "deque[tuple[mail.Mail, route.Part]]" = field(default_factory=deque)
    parked: dict[str, Parked] = field(default_factory=dict)
    active: int = 0
    failures: int = 0
    since: float = 0.0
    until: float = 0.0
    probing: bool = False
    answer: str = ""
    worked: float = -1e9
    slower: float = 0.0  # until then only as many connections as work
    allowed: int = 0
    next: float = 0.0  # not before, because of the rate
    waking: bool = False  # a timer is set for the rate
    by_domain: bool = False  # it wants a mail for each domain
    count: int = 0  # parts since `second`
    second: float = 0.0
    quick: bool = False  # it took many within the last second

    @property
    def blocked(self) -> bool:
        """True while nothing is tried."""
        return self.until > 0.0

    @property
    def full(self) -> bool:
        """True when further entries are kept by name."""
        return len(self.queue) >= QUEUE

    def room(self, now: float) -> bool:
        """Whether one more connection may be used."""
        if self.blocked or not self.queue:
            return False
        limit = 1 if self.probing else self.allowed if now < self.slower else self.limit
        if self.is_new(now):
            limit = min(limit, FIRST)
        return self.active < max(1, limit)

    def is_new(self, now: float) -> bool:
        """Whether nobody knows yet that it takes mail."""
        return now - self.worked > RECENT

    def fail(self, answer: str, retry: Sequence[float], now: float) -> float:
        """It cannot be reached; seconds until the next try."""
        delay = pause(retry, self.failures)
        self.since = self.since or time.time()
        self.failures += 1
        self.until, self.probing, self.answer = now + delay, False, answer
        return delay

    def busy(self, now: float) -> bool:
        """After a connection that was refused: whether others work, so that this only means "not so many"."""
        if self.active <= 1 or self.is_new(now):
            return False
        self.allowed, self.slower = self.active - 1, now + 5 * RECENT
        return True

    def works(self, now: float) -> bool:
        """It took a mail, or answered about one; True when it had been in trouble."""
        self.worked = now
        self.count += 1
        if now - self.second >= 1.0:
            self.quick = self.count >= QUEUE // 4
            self.count, self.second = 0, now
        if not self.failures:
            return False
        self.failures, self.since, self.until, self.probing, self.answer = 0, 0.0, 0.0, False, ""
        return True

    def unblock(self) -> None:
        """The back-off has passed: one mail may try."""
        self.until, self.probing = 0.0, True


def pause(retry: Sequence[float], count: int) -> float:
    """The pause after `count` earlier failures, varied so that not all come back at once."""
    base = retry[min(count, len(retry) - 1)]
    return base * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 — spreads load, keeps no secret
