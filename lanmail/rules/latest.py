"""Which command by mail was carried out last for an account, so that one that waited does not undo a later one.

state/commands/NAME.json: for forwarding and autoresponder the id of the mail and when it arrived.
"""

import contextlib
import json
from collections.abc import Iterator

from lanmail import atomic
from lanmail.paths import Paths


class Last:
    """The last command of one kind; `note` replaces it."""

    def __init__(self, known: dict[str, object], what: str) -> None:
        self.known, self.what, self.changed = known, what, False
        found = known.get(what)
        self.id, self.arrived = "", 0.0
        match found:
            case {"id": str(name), "arrived": float(arrived)}:
                self.id, self.arrived = name, arrived

    def is_later_than(self, mail_id: str, arrived: float, now: float) -> bool:
        """Whether it came in after this mail; one from the future says only that the clock was set back."""
        return self.id != mail_id and arrived < self.arrived <= now

    def note(self, mail_id: str, arrived: float) -> None:
        self.known[self.what] = {"id": mail_id, "arrived": arrived}
        self.changed = True


@contextlib.contextmanager
def of(paths: Paths, account: str, what: str) -> Iterator[Last]:
    """The last command of this kind to the account; what is noted is written at the end. OSError."""
    path = paths.state / "commands" / f"{account}.json"
    last = Last(_load(str(path)), what)
    yield last
    if last.changed:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        atomic.write(path, json.dumps(last.known) + "\n")


def _load(path: str) -> dict[str, object]:
    try:
        found = json.loads(atomic.read(path, 1 << 16))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
