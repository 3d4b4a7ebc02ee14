"""Reads messages into the caches of their folders, in a process of its own that `readahead` starts.

A line of standard input is a piece of work, as JSON: the folder's directory, whether structures are wanted, and of each
message what `summary.Place` has. The answer is a line: how many messages are in the cache now that were not. It ends
when its standard input does.
"""

import gc
import json
import os
import sys

from lanmail.folders import summaries
from lanmail.mime import summary, tree

SECONDS = 1.0  # for one piece of work; what is left then is for who asked


def work(line: bytes) -> int:
    """Do one piece; returns how many records were written."""
    directory, structures, messages = json.loads(line)
    made = summary.of_files(directory, messages, structures=structures, seconds=SECONDS)
    summaries.Cache(directory).write(made)
    return len(made)


def main() -> int:
    """The arguments are the limits of MIME structures."""
    tree.MAX_DEPTH, tree.MAX_PARTS = map(int, sys.argv[1:3])
    gc.disable()  # parsing leaves no cycles; looking for them is a tenth of the work
    for number, line in enumerate(sys.stdin.buffer):
        sys.stdout.write(f"{work(line)}\n")
        sys.stdout.flush()
        if not number % 100:
            gc.collect()
    return os.EX_OK


if __name__ == "__main__":
    raise SystemExit(main())
