"""`make bench`: every benchmark of this directory, or those named on the command line.

    python -m bench [smtp …] [-- options of that benchmark]

A benchmark is a module with `main(arguments)`; it prints a Markdown table.
"""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_ONE = {"__init__", "__main__", "peers", "dovecot", "mails", "pullers"}


def main() -> None:
    """Run them one after the other, never two at a time."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # servers that were started must not stay
    words = sys.argv[1:]
    options = words[words.index("--") + 1 :] if "--" in words else []
    names = words[: words.index("--")] if "--" in words else words
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_ONE)
    for name in names:
        if name not in known:
            raise SystemExit(f"there is no benchmark {name!r}; there are: {', '.join(known)}")
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    for name in names or known:
        print(f"## {name}\n", flush=True)
        importlib.import_module(f"bench.{name}").main(options)
        print(flush=True)


if __name__ == "__main__":
    main()
