"""Threads for what may block: creating, writing and syncing spool files.

About eight, because the kernel then merges the journal commits of several fsyncs; one committing thread for all was
slower under load. Results come back to the event loop in batches: one wake-up for all that ended meanwhile.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

THREADS = 8

Done = Callable[[Any, BaseException | None], None]


class Pool:
    """Runs jobs in threads; `done(result, error)` is called in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int = THREADS) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._ended: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._threads = [
            threading.Thread(target=self._work, name=f"disk-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, job: Callable[[], Any], done: Done) -> None:
        """Queue a job."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """End the threads once the queued jobs are done."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            result, error = None, None
            try:
                result = job()
            except BaseException as caught:  # the loop decides what it means
                error = caught
            first = not self._ended
            self._ended.append((done, result, error))
            if first:
                try:
                    self._loop.call_soon_threadsafe(self._tell)
                except RuntimeError:
                    return  # the loop is closed: nobody waits for the answer any more

    def _tell(self) -> None:
        ended = self._ended
        while ended:
            done, result, error = ended.popleft()
            done(result, error)
