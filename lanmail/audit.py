"""Who changed what over HTTP, from where: state/audit/YYYY.log, a line each, never removed by us.

    2026-11-22T12:00:01.123+01:00 by=meier client=192.0.2.7 what=account.modify about=weber keys=forward.to,quota

The names of the settings stand there, never their values. A change that cannot be noted is made all the same, and the
log says so.
"""

import datetime
import logging
import os
from collections.abc import Iterator

from lanmail import atomic, log
from lanmail.paths import Paths

DIRECTORY = "audit"
_LAST = 256 << 10  # octets of a year's end that `last` looks at


def note(where: Paths, *, by: str, client: str, what: str, about: str, keys: list[str]) -> None:
    """One change."""
    now = datetime.datetime.now().astimezone()
    words = {"by": by, "client": client, "what": what, "about": about, "keys": ",".join(keys)}
    said = " ".join(f"{key}={log.value(text)}" for key, text in words.items() if text)
    line = f"{now.isoformat(timespec='milliseconds')} {said}\n"
    directory = where.state / DIRECTORY
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(directory / f"{now:%Y}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        try:
            atomic.write_all(descriptor, line.encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except OSError as error:
        log.event("no-audit", level=logging.ERROR, error=str(error), **words)


def last(where: Paths, count: int) -> Iterator[str]:
    """The newest lines, the newest first; no more than a file's end is read."""
    try:
        files = sorted((where.state / DIRECTORY).iterdir(), reverse=True)
    except OSError:
        return
    for path in files:
        if path.suffix != ".log":
            continue
        for line in reversed(_end(path)):
            if count <= 0:
                return
            count -= 1
            yield line


def _end(path: os.PathLike[str]) -> list[str]:
    try:
        descriptor = atomic.open_regular(path)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LAST))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[1:] if size > _LAST else lines
