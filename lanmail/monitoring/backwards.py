"""Lines of a log file, the last first, without reading more of it than is asked for.

    for line in backwards.lines(path): …

Nothing is locked: a line that is being written is left out.
"""

import os
from collections.abc import Iterator

from lanmail import atomic

BLOCK = 64 << 10
LONGEST = 64 << 10  # octets of a line; what is longer is cut


def lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """The whole lines of a file, from its end; none when it cannot be read."""
    try:
        descriptor = atomic.open_regular(path)
    except OSError:
        return
    with open(descriptor, "rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest, complete = b"", False  # what stands behind the last line end is no line yet
        while at > 0:
            size = min(BLOCK, at)
            at -= size
            file.seek(at)
            head, *whole = (file.read(size) + rest).split(b"\n")
            for line in reversed(whole):
                if complete:
                    yield line[:LONGEST].decode("utf-8", "replace")
                complete = True
            rest = head if len(head) <= LONGEST else head[-LONGEST:]
        if complete:
            yield rest[:LONGEST].decode("utf-8", "replace")
