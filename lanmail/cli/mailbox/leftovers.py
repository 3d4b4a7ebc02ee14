"""What dead programs leave in a folder: unfinished deliveries, locks, temporary files."""

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from functools import partial

from lanmail import maildir
from lanmail.cli.mailbox import layout
from lanmail.cli.mailbox.damage import Damage, many
from lanmail.folders import dotlock

_BESIDE = re.compile(r".+\.lock\.\d+\.\d+|\..+\.\d+\.[0-9a-f]{8}\.tmp")
_HOUR = 3600.0


def of_folder(root: str, name: str, path: str) -> Iterator[Damage]:
    """What dead programs left in one folder."""
    stale = _stale(path)
    if stale:
        yield Damage("warn", name, "stale-tmp", f"{many(len(stale), 'file', 'files')} in tmp/ older than 36 hours",
                     "deliveries that were never finished; they only take space", "remove them",
                     layout.below(root, path, stale), partial(maildir.sweep, path))
    names = os.listdir(path) if os.access(path, os.R_OK) else []
    locks = tuple(one for one in names if one.endswith(".lock") and dotlock.left_over(f"{path}/{one}"))
    if locks:
        yield Damage("warn", name, "left-lock", f"{', '.join(locks)} was left by a program that is gone",
                     "servers wait for it for a moment and then take it over", "take it away",
                     layout.below(root, path, locks), partial(_unlock, path, locks))
    now = time.time()
    beside = tuple(one for one in names if _BESIDE.fullmatch(one) and now - _changed(f"{path}/{one}") > _HOUR)
    if beside:
        text = f"{many(len(beside), 'temporary file', 'temporary files')} of dead programs"
        yield Damage("warn", name, "left-temporary", text,
                     "they only take space", "remove them", layout.below(root, path, beside),
                     partial(_remove, path, beside))


def _stale(path: str) -> tuple[str, ...]:
    limit = time.time() - maildir.TMP_AGE
    found = []
    with contextlib.suppress(OSError), os.scandir(f"{path}/{maildir.SUBDIRS[0]}") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) < limit:
                    found.append(f"{maildir.SUBDIRS[0]}/{entry.name}")
    return tuple(found)


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_ctime
    except FileNotFoundError:
        return time.time()


def _unlock(path: str, locks: tuple[str, ...]) -> None:
    for lock in locks:
        with dotlock.held(f"{path}/{lock.removesuffix('.lock')}", timeout=5):
            pass


def _remove(path: str, names: tuple[str, ...]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}/{name}")
