"""Dovecot's `dovecot-uidvalidity`: which UIDVALIDITY the next folder of an account gets.

    allot(root) -> int       never the same number twice in one account, growing, at least the time of day

Two files in the root of the Maildir: `dovecot-uidvalidity` holds the last number given out (8 hex digits), and the
empty `dovecot-uidvalidity.XXXXXXXX` carries it in its name; renaming that one is the race-free step. Not flushed: what
a power cut takes away is less than the time of day. Blocking.
"""

import contextlib
import os
import re
import time

from lanmail import atomic

NAME = "dovecot-uidvalidity"
_HEX = re.compile(r"[0-9a-fA-F]{8}\Z")
_MAX = 0xFFFFFFFF


def allot(root: str) -> int:
    """The next UIDVALIDITY of the account whose Maildir is `root`."""
    for _ in range(100):
        last = _last(root)
        following = max(last + 1, int(time.time()))
        following = following if following <= _MAX else 1
        if _step(root, last, following):
            atomic.write(os.path.join(root, NAME), f"{following:08x}", mode=0o660, durable=False)
            return following
    raise OSError(f"{root}/{NAME} changes all the time")


def _last(root: str) -> int:
    """The last number given out; the names count, the content is only what Dovecot looks at first."""
    prefix = NAME + "."
    with os.scandir(root) as entries:
        tails = [entry.name[len(prefix):] for entry in entries if entry.name.startswith(prefix)]
    numbers = [int(tail, 16) for tail in tails if _HEX.match(tail)]
    with contextlib.suppress(OSError, ValueError):
        numbers.append(int(atomic.read(os.path.join(root, NAME), 64), 16))
    return max((number for number in numbers if number <= _MAX), default=0)


def _step(root: str, last: int, following: int) -> bool:
    """Move the name from `last` to `following`; False when another process was faster."""
    source = os.path.join(root, f"{NAME}.{last:08x}")
    target = os.path.join(root, f"{NAME}.{following:08x}")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o444)
    except FileExistsError:
        return False
    os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(source)
    return True
