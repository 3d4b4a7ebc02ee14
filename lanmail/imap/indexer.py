"""Has full-text indexes filled, one after the other, for the sessions of this process that wish it."""

import os
import time

from lanmail import log
from lanmail.textindex import indexes

AGAIN = 600.0  # seconds after which an index that could not be filled is tried again


class Indexer:
    """At most one index is filled at a time, on this host; wishes wait meanwhile. Nothing here waits."""

    def __init__(self, of: indexes.Indexes) -> None:
        self._indexes = of
        self._wishes: dict[str, indexes.Job] = {}
        self._failed: dict[str, float] = {}
        self._process: indexes.Process | None = None

    def wish(self, job: indexes.Job) -> None:
        """Have the index of an account filled, soon."""
        if self._failed.get(job.root, 0.0) < time.monotonic():
            self._wishes[job.root] = job
            self.tend()

    def tend(self) -> None:
        """Look after the running process, and start the next; to be called now and then."""
        if self._process is not None:
            code = self._process.ended()
            if code is None:
                return
            log.event("index-filled" if not code else "index-failed", account=self._process.account, code=code or None)
            if code:
                self._failed[self._process.root] = time.monotonic() + AGAIN
            self._wishes.pop(self._process.root, None)
            self._process = None
        if self._wishes:
            self._start(next(iter(self._wishes.values())))

    def _start(self, job: indexes.Job) -> None:
        try:
            self._process = self._indexes.start(job)
        except OSError as error:
            log.event("index-failed", account=os.path.basename(job.root), error=str(error))
            self._failed[job.root] = time.monotonic() + AGAIN
            del self._wishes[job.root]

    def stop(self) -> None:
        """The server stops."""
        self._wishes.clear()
        if self._process is not None:
            self._process.stop()
            self._process = None
