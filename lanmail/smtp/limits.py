"""What a client may use up: connections, errors, disk space, the queue. Every number is a key of [smtpd]."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lanmail import errors, settings
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
            self._free = free_space(self._queue)
        if self._free - size < smtpd.min_free:
            raise errors.Temporary("Insufficient system storage", 452, "4.3.1")
        if now - self._entries_at >= _COUNT_EVERY and not self._counting:
            self._counting = True
            self._pool.run(self._count, self._counted)
        if self._entries >= smtpd.max_backlog:
            raise errors.Temporary("Too many mails are waiting here, try again later", 451, "4.3.2")

    def _count(self) -> int:
        with os.scandir(self._queue / "new") as entries:
            return sum(1 for _ in entries)

    def _counted(self, entries: int | None, error: BaseException | None) -> None:
        self._counting = False
        self._entries_at = self._clock()
        if entries is not None and error is None:
            self._entries = entries


def free_space(directory: Path) -> int:
    """Bytes an ordinary process may still write there; 0 when nobody can say."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0
    # a tmpfs or btrfs without inode limit reports 0 of 0 free inodes
    return 0 if status.f_files and not status.f_favail else status.f_bavail * status.f_frsize
