"""What a client may use up: connections, errors, disk space, the queue. Every number is a key of [smtpd]."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lanmail import acceptance, settings
from lanmail.smtp import disk

_STATVFS_EVERY = 1.0
_COUNT_EVERY = 2.0


class Gate:
    """Connections, in all and by address, of this worker."""

    def __init__(self) -> None:
        self.open = 0
        self._by_client: dict[str, int] = {}

    def admit(self, client: str, smtpd: settings.Smtpd, most: int) -> str | None:
        """Count a connection in; the reason when it must go at once (it is counted all the same)."""
        self.open += 1
        mine = self._by_client[client] = self._by_client.get(client, 0) + 1
        if self.open > most:
            return "Too many connections, try again later"
        if mine > smtpd.max_connections_per_client:
            return "Too many connections from your address"
        return None

    def leave(self, client: str) -> None:
        """A connection that was counted in has ended."""
        self.open -= 1
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]


@dataclass(slots=True)
class Strikes:
    """What one connection has done wrong so far."""

    errors: int = 0
    junk: int = 0  # harmless commands since the last mail
    refused_recipients: int = 0
    failed_logins: int = 0


class Room:
    """Whether there is room for another mail: free space (cached for a second) and entries in the queue."""

    def __init__(self, queue: Path, pool: disk.Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._pool = pool
        self._clock = clock
        self._free = 0
        self._free_at = -_STATVFS_EVERY
        self._entries = 0
        self._entries_at = -_COUNT_EVERY
        self._counting = False

    def check(self, size: int, smtpd: settings.Smtpd) -> None:
        """Raise Temporary when a mail of `size` bytes should come later."""
        now = self._clock()
        if now - self._free_at >= _STATVFS_EVERY:
            self._free_at = now
            self._free = acceptance.free_space(self._queue)
        if now - self._entries_at >= _COUNT_EVERY and not self._counting:
            self._counting = True
            self._pool.run(functools.partial(acceptance.waiting, self._queue), self._counted)
        acceptance.check_room(self._free, self._entries, size, smtpd)

    def _counted(self, entries: int | None, error: BaseException | None) -> None:
        self._counting = False
        self._entries_at = self._clock()
        if entries is not None and error is None:
            self._entries = entries
