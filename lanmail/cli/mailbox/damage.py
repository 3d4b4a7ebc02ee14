"""One thing that is wrong with a Maildir: what it is, what it means, what `lanmail mailbox repair` does about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["note", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Damage:
    """`mend` does what `remedy` says and never deletes a message; without one a person has to look.

    Levels: "fail" costs people mail or the use of it, "warn" is wrong and harms nobody now, "note" is only told.
    """

    level: Level
    folder: str  # "" when it is about the account as a whole
    kind: str
    text: str
    meaning: str
    remedy: str = ""
    files: tuple[str, ...] = ()  # below the Maildir
    mend: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    privileged: bool = False  # the mending changes owners, which only root can

    def data(self) -> dict[str, Any]:
        """For --json."""
        return {"level": self.level, "folder": self.folder, "kind": self.kind, "text": self.text,
                "meaning": self.meaning, "remedy": self.remedy, "files": list(self.files)}


def many(count: int, one: str, more: str) -> str:
    """`1 message is`, `3 messages are`."""
    return f"1 {one}" if count == 1 else f"{count} {more}"
