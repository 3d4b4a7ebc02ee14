"""How an external mailbox is, in a word: from its settings and from what came of the visits."""

from dataclasses import dataclass
from typing import Literal

from lanmail import incoming
from lanmail.incoming import Source
from lanmail.sources.status import Status

OK, WARNING, BROKEN = 0, 1, 2
LATE = 600.0  # seconds after which a visit that is due does not come any more

Word = Literal["off", "incomplete", "stopped", "refused", "failing", "late", "waiting", "ok", "new"]


@dataclass(frozen=True, slots=True)
class Health:
    """A word, what is wrong, and how bad that is."""

    word: Word
    text: str = ""
    level: int = OK


def of(source: Source, known: Status, now: float) -> Health:
    """Judge a source (with all defaults)."""
    if source.interface == "disabled":
        return Health("off")
    problem = incoming.problem(source)
    if problem:
        return Health("incomplete", problem, BROKEN)
    if known.stopped:
        return Health("stopped", known.error or "the log-in was refused too often", BROKEN)
    if known.refused:
        return Health("refused", known.error, BROKEN)
    if known.failures:
        return Health("failing", known.error, WARNING)
    if known.next and now > known.next + LATE:
        return Health("late", "it was to be fetched long ago; does lanmail-fetchmail run?", WARNING)
    if known.error:
        return Health("waiting", known.error)
    return Health("ok") if known.succeeded else Health("new")
