"""Whose mail of the archive is under a name: an account's name can be another's later, the journal keeps what was said.

    state/holders/anna.json      {"since": 1795000000, "before": [["eva", 0, 1794000000]]}

    spans(state, "anna") -> ((name, since, until), …)     what it may see: mail under these names, then
    left(state, "anna", now)                              the account was removed: who comes next begins with nothing
    moved(state, "eva", "anna", began, now)               it was renamed, and takes with it what it had

Written by the commands that remove and rename accounts, read by whoever shows people their own mail of the archive.
Administrators see all of it. An account whose file was removed by hand leaves its mail to the next of that name.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

from lanmail import atomic

EVER = math.inf
Span = tuple[str, float, float]


def spans(state: Path, name: str) -> tuple[Span, ...]:
    """The names and times of an account, its present one first. OSError, ValueError when the file is broken."""
    own = _read(state, name)
    return ((name, float(own.get("since", 0)), EVER),
            *((str(one), float(since), float(until)) for one, since, until in own.get("before", ())))


def left(state: Path, name: str, now: float) -> None:
    """The account is gone. OSError."""
    _write(state, name, {"since": math.ceil(now), "before": []})


def moved(state: Path, name: str, new: str, began: float, now: float) -> None:
    """The account has another name since some time between these two; said twice it is the same. OSError."""
    before, since = _read(state, name), int(began)
    there = _read(state, new)
    if there.get("since") != since or not there.get("before"):
        until = [name, before.get("since", 0), math.ceil(now)]
        _write(state, new, {"since": since, "before": [*before.get("before", []), until]})
    left(state, name, now)


def _read(state: Path, name: str) -> dict[str, Any]:
    path = _path(state, name)
    try:
        found = json.loads(atomic.read(path))
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged")
    return found


def _write(state: Path, name: str, known: dict[str, Any]) -> None:
    path = _path(state, name)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(path, json.dumps(known) + "\n")
    if os.geteuid() == 0:  # what root makes here belongs to whom state/ belongs: else httpd could not read it
        owner = state.stat()
        for one in (path.parent, path):
            os.chown(one, owner.st_uid, owner.st_gid)


def _path(state: Path, name: str) -> Path:
    return state / "holders" / f"{name}.json"
