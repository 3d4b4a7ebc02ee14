"""A look through the whole archive in a thread of httpd: started by a page or a call, followed by all, one at a time.

    state/archive/check.json     how far it is, and what it found; a lock on check.lock says that it runs

Nothing is lost when httpd ends meanwhile: the next one begins anew.
"""

import contextlib
import fcntl
import json
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from lanmail import atomic, log
from lanmail.archiving import journal, verification
from lanmail.paths import Paths

EVERY = 2.0  # seconds from note to note
MOST = 500  # findings that are kept
LARGEST = 512 << 20  # octets of a journal that is not too large for a program that also serves others
_LIMIT = 8 << 20


class TooLarge(Exception):
    """The archive is for the command to look through."""


@dataclass(frozen=True, slots=True)
class Check:
    """The last one. `running`: now; neither that nor a report: it was interrupted."""

    running: bool
    began: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    report: dict[str, Any] | None = None
    error: str = ""


def last(where: Paths) -> Check:
    """What is known."""
    descriptor = _lock(where)
    if descriptor is not None:
        os.close(descriptor)
    try:
        known = json.loads(atomic.read(where.state / "archive/check.json", _LIMIT))
        return Check(descriptor is None, **known)
    except (OSError, ValueError, TypeError):
        return Check(descriptor is None)


def start(where: Paths, kept: journal.Place | None) -> bool:
    """Begin, unless one is running. TooLarge, OSError."""
    path = journal.path(where)
    if path.exists() and path.stat().st_size > LARGEST:
        raise TooLarge
    descriptor = _lock(where)
    if descriptor is None:
        return False
    _note(where, began=time.time())
    threading.Thread(target=_run, args=(where, kept, descriptor), name="archive-check", daemon=True).start()
    return True


def _lock(where: Paths) -> int | None:
    """The descriptor that holds the lock; None while somebody else does."""
    directory = where.state / "archive"
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(directory / "check.lock", os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _run(where: Paths, kept: journal.Place | None, descriptor: int) -> None:
    began = noted = time.time()

    def step(done: int, _octets: int, total: int) -> None:
        nonlocal noted
        if time.time() - noted >= EVERY:
            noted = time.time()
            _note(where, began=began, done=done, total=total)

    try:
        found = verification.data(verification.verify(where, kept=kept, step=step))
        found["more"] = max(len(found["findings"]) - MOST, 0)
        found["findings"] = found["findings"][:MOST]
        _note(where, began=began, ended=time.time(), done=found["messages"], total=found["messages"], report=found)
    except (OSError, ValueError) as error:
        _note(where, began=began, ended=time.time(), error=str(error))
    finally:
        os.close(descriptor)


def _note(where: Paths, **known: Any) -> None:
    with contextlib.suppress(OSError):
        atomic.write(where.state / "archive/check.json", json.dumps(known) + "\n", durable=False)
        return
    log.archive_index_failed(error="state/archive/check.json cannot be written")
