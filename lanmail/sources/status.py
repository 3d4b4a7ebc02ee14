"""What came of the visits to a source: state/fetched/ACCOUNT/NAME/status.json, for `lanmail source` and a new start.

Written by fetchmail alone, after each visit; times are seconds since 1970, 0 for never.
"""

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from lanmail import atomic
from lanmail.paths import Paths
from lanmail.sources import place

FILE = "status.json"


@dataclass(slots=True)
class Status:
    """The state of a source."""

    tried: float = 0.0  # the last visit
    succeeded: float = 0.0  # the last one that went well
    next: float = 0.0  # when the next one is due
    error: str = ""  # why the last one failed; empty when it went well
    failing_since: float = 0.0
    failures: int = 0  # in a row
    refused: int = 0  # log-ins that were refused in a row
    stopped: bool = False  # too many of them: nothing is tried before the settings change, or somebody asks for it
    told: float = 0.0  # when the account was last told of a failure
    settings: str = ""  # fingerprint of the settings that were refused
    fetched: int = 0  # mails, in all
    octets: int = 0
    last_fetched: float = 0.0  # when there last was a new mail
    last_count: int = 0  # mails of the last visit
    kept: int = 0  # mails on the server
    waiting: int = 0  # of them still to be fetched
    large: int = 0  # of them too large
    seconds: float = 0.0  # how long the last visit took


def load(paths: Paths, account: str, name: str) -> Status:
    """The state; an empty one where nothing is known. Blocks."""
    made = Status()
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(atomic.read(place.directory(paths, account, name) / FILE))
        for one in dataclasses.fields(Status) if isinstance(found, dict) else ():
            _take(made, one.name, found.get(one.name))
    return made


def _take(status: Status, name: str, value: Any) -> None:
    kind = type(getattr(status, name))
    if isinstance(value, kind):
        setattr(status, name, value)
    elif kind is float and isinstance(value, int):
        setattr(status, name, float(value))


def save(paths: Paths, account: str, name: str, status: Status) -> None:
    """Write it; after a power cut it may be the one before. Blocks; OSError."""
    where = place.directory(paths, account, name)
    where.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(where / FILE, json.dumps(dataclasses.asdict(status), indent=1) + "\n", durable=False)
