"""Examiners that the threads of a program share.

    pool = Pool()
    pool.examine(data, wish, limits) -> Result      blocks while all are at work

Each is started when it is needed and the others are busy, and ended when nobody asked for a while. The one that was
asked last is asked first, so an office with little mail has one.
"""

import atexit
import threading
import time

from lanmail.invoices.examiner import Examiner, Limits, Stretch
from lanmail.invoices.verdict import Result, Wish

IDLE = 300.0  # seconds
MOST = 2


class Pool:
    """At most `most` children at a time."""

    def __init__(self, most: int = MOST, idle: float = IDLE) -> None:
        self.idle = idle
        self._room = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._free: list[Examiner] = []
        self._last = 0.0
        self._timer: threading.Timer | None = None
        atexit.register(self.close)

    def examine(self, data: bytes | Stretch, wish: Wish, limits: Limits, *, xml: bool = False) -> Result:
        """See Examiner.examine."""
        with self._room:
            examiner = self._take(limits)
            try:
                return examiner.examine(data, wish, xml=xml)
            except BaseException:
                examiner.close()  # it may be in the middle of something
                raise
            finally:
                self._give_back(examiner)

    def close(self) -> None:
        """End all that are idle."""
        with self._lock:
            free, self._free = self._free, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for one in free:
            one.close()

    def _take(self, limits: Limits) -> Examiner:
        with self._lock:
            examiner = self._free.pop() if self._free else None
        if examiner is not None and examiner.limits != limits:
            examiner.close()
            examiner = None
        return examiner or Examiner(limits)

    def _give_back(self, examiner: Examiner) -> None:
        with self._lock:
            self._free.append(examiner)
            self._last = time.monotonic()
            if self._timer is None:
                self._wait(self.idle)

    def _wait(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            left = self._last + self.idle - time.monotonic()
            if left > 0:
                self._wait(left)
                return
            self._timer = None
        self.close()
