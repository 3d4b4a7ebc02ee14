"""Small records that all processes share, in one file of fixed size: which address failed how often, and the like.

    with Tally(path, secret) as shared: …      path None: for this process alone
    table = shared.table(slots, size)          the same tables in the same order everywhere
    table.get(key) -> bytes | None             `size` octets
    table.put(key, value, now)                 the first eight octets of a value are the time (a double) it was made
    with shared.locked(): …                    around what reads and then writes

A key is kept as a keyed digest: nobody can choose two keys that push each other out, and the file names neither users
nor addresses. Eight slots make a bucket; a full one loses the record that was not written for the longest. A few system
calls each, and no long wait: for a lock that somebody keeps (a stopped process) it is a few milliseconds, since a count
that is lost now and then does no harm. When the file cannot be used (a full disk), this process counts for itself.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from lanmail import atomic, log

WAYS = 8
_DIGEST = 16
_TRIES = 50  # a tenth of a millisecond each
_time = struct.Struct("<d")


class Tally:
    """The file; see the module's text."""

    def __init__(self, path: Path | None, secret: bytes) -> None:
        self.secret = secret
        self.size = 0
        self._memory = bytearray()
        self._fd = -1
        if path is not None:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                atomic.set_aside(path)
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o600)
            except OSError as error:
                self._give_up(error)

    def table(self, slots: int, size: int) -> "Table":
        """The next table, of records of `size` octets."""
        made = Table(self, self.size, slots // WAYS, _DIGEST + size)
        self.size += slots // WAYS * WAYS * (_DIGEST + size)
        return made

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes meanwhile, as far as that can be had at once."""
        mine = self._fd >= 0 and self._lock()
        try:
            yield
        finally:
            if mine and self._fd >= 0:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        for _ in range(_TRIES):
            with contextlib.suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.0001)
        return False

    def read(self, start: int, size: int) -> bytes:
        """Octets of the file; what was never written is zero."""
        if self._fd >= 0:
            try:
                return os.pread(self._fd, size, start).ljust(size, b"\0")
            except OSError as error:
                self._give_up(error)
        return bytes(self._memory[start : start + size]).ljust(size, b"\0")

    def write(self, start: int, data: bytes) -> None:
        """Replace octets of the file."""
        if self._fd >= 0:
            try:
                os.pwrite(self._fd, data, start)
                return
            except OSError as error:
                self._give_up(error)
        if len(self._memory) < start + len(data):
            self._memory.extend(bytes(self.size - len(self._memory)))
        self._memory[start : start + len(data)] = data

    def _give_up(self, error: OSError) -> None:
        log.event("log-ins-counted-alone", level=logging.WARNING, error=str(error))
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._memory[:] = os.pread(self._fd, self.size, 0)
        self.close()


class Table:
    """Records of one kind."""

    def __init__(self, tally: Tally, start: int, buckets: int, record: int) -> None:
        self._tally, self._start, self._buckets, self._record = tally, start, buckets, record

    def get(self, key: str) -> bytes | None:
        """What was put under the key."""
        digest, _, bucket = self._bucket(key)
        at = self._find(bucket, digest)
        return bucket[at + _DIGEST : at + self._record] if at >= 0 else None

    def put(self, key: str, value: bytes, now: float) -> None:
        """Keep a value. What claims to come from the future (before the last start of the machine) makes room first."""
        digest, start, bucket = self._bucket(key)
        at = self._find(bucket, digest)
        if at < 0:
            def age(at: int) -> float:
                made: float = _time.unpack_from(bucket, at + _DIGEST)[0]
                return made if made <= now else -1.0
            at = min(range(0, len(bucket), self._record), key=age)
        self._tally.write(start + at, digest + value.ljust(self._record - _DIGEST, b"\0"))

    def _bucket(self, key: str) -> tuple[bytes, int, bytes]:
        """The key's digest; where its bucket starts; the bucket."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._tally.secret,
                                 digest_size=_DIGEST).digest()
        size = self._record * WAYS
        start = self._start + int.from_bytes(digest[:4], "big") % self._buckets * size
        return digest, start, self._tally.read(start, size)

    def _find(self, bucket: bytes, digest: bytes) -> int:
        for at in range(0, len(bucket), self._record):
            if bucket.startswith(digest, at):
                return at
        return -1
