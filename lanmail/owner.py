"""Being the one owner of something: a lock held for life, and directories nobody else can write to.

A spool that everybody may write to would let anybody put mail under any name into any mailbox or out into the world, so
the owner of a spool does not start with one.
"""

import fcntl
import os
import stat
from pathlib import Path


class Unsafe(Exception):
    """A directory is not what it must be; the text says what to do."""


def lock(path: Path) -> int | None:
    """Hold the lock file `path`; None when another process does. Keep the descriptor open."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def check(directory: Path, mode: int, *, shared: bool = False) -> None:
    """Raise Unsafe for a link in place of a directory, or one others may write to; `shared` ones only if sticky."""
    if not stat.S_ISDIR(mode):
        raise Unsafe(f"{directory} is not a directory of its own (a link, or something else)")
    if mode & stat.S_IWOTH and not (shared and mode & stat.S_ISVTX):
        advice = f"chmod 1733 {directory}" if shared else f"chmod o-w {directory}"
        raise Unsafe(f"{directory} can be written by everybody, so anybody could forge or remove mail: {advice}")
