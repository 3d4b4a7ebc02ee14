"""Messages stay in memory for a few seconds, because clients fetch them piece by piece.

A mail program that asks for BODY[1.1], BODY[1.2], or BODY[2]<0.65536>, <65536.65536> and so on would have us read and
parse the whole message for every piece. Shared by all sessions of a process; bounded in octets; nothing is held longer
than `SECONDS`. The key is the file itself, as it was when it was read.
"""

import os
import time
from collections import OrderedDict

from lanmail.imap import section

ROOM = 128 << 20  # octets of large messages
ROOM_FOR_SMALL = 8 << 20
SECONDS = 10.0
Key = tuple[int, int, int, int]


def key_of(status: os.stat_result) -> Key:
    """What a file is, and what was written to it last."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Held:
    """The messages held now, the one not used for the longest first."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._sources: OrderedDict[Key, tuple[section.Source, int, float]] = OrderedDict()
        self._octets = 0

    def get(self, key: Key) -> section.Source | None:
        """The message, if it is held; it then stays for another while."""
        found = self._sources.pop(key, None)
        if found is None:
            return None
        self._sources[key] = (found[0], found[1], time.monotonic())
        return found[0]

    def put(self, key: Key, source: section.Source, octets: int) -> None:
        """Hold a message whose data has been read."""
        if octets > self._room // 2 or key in self._sources:
            return
        self._sources[key] = (source, octets, time.monotonic())
        self._octets += octets
        while self._octets > self._room:
            self._drop()

    def sweep(self) -> None:
        """Let go of what nobody asked for lately."""
        limit = time.monotonic() - SECONDS
        while self._sources and next(iter(self._sources.values()))[2] < limit:
            self._drop()

    def _drop(self) -> None:
        self._octets -= self._sources.popitem(last=False)[1][1]
