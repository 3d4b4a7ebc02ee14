"""What is done of a mail that did not get through in one go: state/queue/ID.json, for programs and people.

The file exists only after a try that left something over, or while things are being put in place. It also is the
journal of those: `handing` lists files that lie ready in some tmp/ and only need their rename. Once it is written
they will be renamed, by this process or, after a crash, by the next one; so each goes out exactly once.
"""

import time
from dataclasses import dataclass, field, fields
from typing import Any

from lanmail import spool

DELAYS = (1, 2, 5, 10, 30, 60, 120, 300)  # seconds: the trouble is our own disk, and mostly over soon


@dataclass(slots=True)
class Handing:
    """A file that waits in `spool`/tmp/`temporary` to become new/`name`; `why` goes beside it in hold."""

    spool: str
    temporary: str
    name: str
    why: str | None = None


@dataclass(slots=True)
class Progress:
    """The state of one entry. The lists name what needs no further work."""

    tries: int = 0
    since: float = 0.0
    next: float = 0.0
    error: str = ""
    delivered: list[str] = field(default_factory=list)  # keys of places: an account, or account/folder
    made: list[str] = field(default_factory=list)  # keys of new mails and jobs
    outbound: list[str] = field(default_factory=list)  # addresses outside
    failed: list[str] = field(default_factory=list)  # recipients: bounced, with the postmaster, or in hold
    full: list[str] = field(default_factory=list)  # accounts that had no room for so long that it came back
    released: bool = False  # out of hold by hand: loops are not looked for again
    told: bool = False  # the sender was told of success, as he asked
    copies: int = 0  # files made of it for other spools: ID-1, ID-2 …
    handing: list[Handing] = field(default_factory=list)

    def copied(self) -> "Progress":
        """The same, with lists of its own; deepcopy takes five times as long."""
        made = Progress()
        for name in _KEYS:
            value = getattr(self, name)
            setattr(made, name, value[:] if isinstance(value, list) else value)
        return made

    def put_off(self, error: str) -> float:
        """One more try that did not finish everything; seconds until the next."""
        now = time.time()
        self.since = self.since or now
        delay = DELAYS[min(self.tries, len(DELAYS) - 1)]
        self.tries += 1
        self.next, self.error = now + delay, error
        return float(delay)


_KEYS = tuple(one.name for one in fields(Progress))
_HANDING = tuple(one.name for one in fields(Handing))


def load(owner: spool.Spool, entry_id: str) -> Progress | None:
    """The progress of an entry, None when there is none or it cannot be understood."""
    state = owner.load_state(entry_id)
    if state is None:
        return None
    try:
        progress = Progress(**{key: value for key, value in state.items() if key in _KEYS})
        progress.handing = [Handing(**one) for one in state.get("handing", [])]
    except TypeError:
        return None
    return progress


def save(owner: spool.Spool, entry_id: str, progress: Progress) -> None:
    """Write it, durably. OSError."""
    state: dict[str, Any] = {key: value for key in _KEYS if (value := getattr(progress, key))}
    if progress.handing:
        state["handing"] = [{key: getattr(one, key) for key in _HANDING} for one in progress.handing]
    owner.save_state(entry_id, state)
