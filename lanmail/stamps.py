"""Whether a file or directory may have changed since it was looked at."""

import os
import time
from pathlib import Path

RACY = 0.1  # a file that changed within this time of being read may change again without a new mtime

Stamp = tuple[int, ...] | None


class Watched:
    """Says when a file or directory may have changed; it need not be there."""

    __slots__ = ("looked", "path", "stamp")

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.looked = -1e9
        self.stamp: Stamp = (-1,)

    def changed(self, now: float, rest: float) -> bool:
        """Whether it may have; not looked at again within `rest` seconds. `now` is time.monotonic()."""
        if now - self.looked < rest:
            return False
        self.looked = now
        try:
            status = os.stat(self.path)
        except OSError:
            stamp: Stamp = None
        else:
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if abs(time.time() - status.st_ctime) < RACY:
                stamp = (*stamp, time.monotonic_ns())  # never equal: look again next time
        if stamp == self.stamp:
            return False
        self.stamp = stamp
        return True

    def again(self) -> None:
        """It could not be read just now: look at it next time, changed or not."""
        self.stamp = (-1,)
