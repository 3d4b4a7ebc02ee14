"""Who changed what over HTTP, from where: state/audit/YYYY.log, a line each, never removed by us.

    2026-11-22T12:00:01.123+01:00 by=meier client=192.0.2.7 what=account.modify about=weber keys=forward.to,quota

The names of the settings stand there, never their values. A change that cannot be noted is made all the same, and the
log says so.
"""

import datetime
import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from lanmail import atomic, log
from lanmail.monitoring import backwards, history
from lanmail.paths import Paths

DIRECTORY = "audit"


@dataclass(frozen=True, slots=True)
class Change:
    """One of them: when (ISO 8601), who, from where, the method, what it was about, the keys that were given."""

    time: str
    by: str
    client: str
    what: str
    about: str
    keys: tuple[str, ...]


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
    """The newest lines, the newest first."""
    return itertools.islice(_lines(where), max(0, count))


def changes(where: Paths) -> Iterator[Change]:
    """All that is noted, the newest first."""
    for line in _lines(where):
        moment, _, rest = line.partition(" ")
        found = history.fields(rest)
        yield Change(moment, found.get("by", ""), found.get("client", ""), found.get("what", ""),
                     found.get("about", ""), tuple(filter(None, found.get("keys", "").split(","))))


def _lines(where: Paths) -> Iterator[str]:
    try:
        files = sorted((where.state / DIRECTORY).iterdir(), reverse=True)
    except OSError:
        return
    for path in files:
        if path.suffix == ".log":
            yield from backwards.lines(path)
