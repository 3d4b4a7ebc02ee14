"""What is known of a mail on its way out that did not get through at once: state/outbound/ID.json.

For relay, for `lanmail queue`, and for people. The file exists only after a try that left something over, or while a
mail is sent in several parts; it is replaced after every recipient that was decided, so that nobody gets a mail twice
because of somebody else. `handing` is the journal of bounces: files that lie ready in spool/queue/tmp and only need
their rename, so each goes out exactly once, whenever we are killed.

    state/relay/destinations.json    servers that are in trouble: since when, what they said, when they are tried again
"""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lanmail import atomic, spool

SENT, FAILED, DEFERRED = "sent", "failed", "deferred"


@dataclass(slots=True)
class Decision:
    """The last word about one recipient."""

    status: str  # sent, failed, deferred
    answer: str
    remote: str | None = None
    at: float = 0.0
    told: bool = False  # the sender heard of it, or need not


@dataclass(slots=True)
class Handing:
    """A file that waits in spool/queue/tmp as `temporary` to become new/`name`."""

    temporary: str
    name: str


@dataclass(slots=True)
class State:
    """The state of one entry; `tries`, `next` and `error` as in every spool."""

    tries: int = 0
    since: float = 0.0
    next: float = 0.0
    error: str = ""
    destination: str = ""
    split: bool = False  # the server wants a mail for each domain
    late: bool = False  # the sender was told that it is late
    released: bool = False
    returned: bool = False  # a forward failed, and the mail went back to the account
    archived: bool = False  # the archive has the form that goes out
    recipients: dict[str, Decision] = field(default_factory=dict)
    handing: list[Handing] = field(default_factory=list)

    def decided(self, address: str) -> bool:
        """True when nothing more is to be sent to this recipient."""
        known = self.recipients.get(address)
        return known is not None and known.status != DEFERRED


def load(owner: spool.Spool, entry_id: str) -> State | None:
    """The state of an entry; None when there is none or it cannot be understood."""
    found = owner.load_state(entry_id)
    if found is None:
        return None
    known = {one.name for one in fields(State)}
    try:
        state = State(**{key: value for key, value in found.items() if key in known})
        state.recipients = {str(key): Decision(**value) for key, value in found.get("recipients", {}).items()}
        state.handing = [Handing(**value) for value in found.get("handing", [])]
    except (TypeError, AttributeError):
        return None
    return state


def dump(state: State) -> dict[str, Any]:
    """As it is written: without what says nothing."""
    found: dict[str, Any] = {key: value for key, value in asdict(state).items() if value}
    return found


def save(owner: spool.Spool, entry_id: str, state: State) -> None:
    """Write it, durably. OSError."""
    owner.save_state(entry_id, dump(state))


@dataclass(slots=True)
class Trouble:
    """A destination that cannot be reached."""

    destination: str
    since: float
    next: float
    answer: str
    waiting: int


def _file(state: Path) -> Path:
    return state / "relay" / "destinations.json"


def save_troubles(state: Path, troubles: list[Trouble]) -> None:
    """Tell people which destinations are in trouble. OSError."""
    path = _file(state)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(path, json.dumps([asdict(one) for one in troubles], indent=1, ensure_ascii=False) + "\n")


def troubles(state: Path) -> list[Trouble]:
    """The destinations in trouble, as relay last wrote them."""
    try:
        return [Trouble(**one) for one in json.loads(atomic.read(_file(state), 16 << 20))]
    except (OSError, ValueError, TypeError):
        return []


def age(arrived: float) -> float:
    """Seconds since a mail came in; never negative, whatever the clock did."""
    return max(0.0, time.time() - arrived)
