"""What looks at a mail before it is put into a mailbox: a program, rspamd, clamd; and what they can say.

    ask(name, question, options) -> Verdict         Broken when there is no answer that can be understood

A filter only judges; what follows from it is the rule's business (rules/filter.py). Each blocks for at most
options.timeout and belongs in a thread.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["accept", "reject", "tag", "defer"]
ACCEPT: Final = "accept"
REJECT: Final = "reject"
TAG: Final = "tag"
DEFER: Final = "defer"
MAX_LINES, MAX_HEADER = 20, 8192
_FIELD = re.compile(r"([!-9;-~]{1,60}):[ \t]*(.*)")
# What programs of ours and of others go by is not for a filter to write: it knows what strangers wrote, and repeats it.
_OURS = re.compile(r"X-(Sender|Receiver|Origin|Forwarded-For|Lanmail-.*)", re.I)
_ALLOWED = re.compile(r"X-.+|Authentication-Results", re.I)


class Broken(Exception):
    """The filter did not work; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """A mail to be judged: `fd` is the open entry, in which the message begins at `offset`."""

    id: str
    fd: int
    offset: int
    size: int
    sender: str
    recipients: tuple[str, ...]
    origin: str
    client: str = ""  # the address of who handed it in
    account: str = ""  # whose filter it is; "" that of all
    submitter: str = ""  # the account that handed it in with a log-in

    def pieces(self, size: int = 1 << 18) -> Iterator[bytes]:
        """The message."""
        at = self.offset
        while data := os.pread(self.fd, size, at):
            at += len(data)
            yield data


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter says: `lines` are whole header lines for the copy, `reason` is one line for people."""

    kind: Kind
    reason: str = ""
    lines: bytes = b""


def header_lines(text: str) -> tuple[bytes, list[str]]:
    """The fields in a filter's output that may be put on a mail, as whole lines; and the names of those that may not.

    A line that begins with a blank goes on with the one before it (RFC 5322 §2.2.3); what is no field is left out.
    """
    found: list[str] = []
    refused: list[str] = []
    goes_on = False  # whether the line before this one was kept
    for line in re.split(r"\r?\n", text):
        match = _FIELD.fullmatch(line)
        if match is None:
            goes_on = goes_on and line[:1] in (" ", "\t")
            if goes_on:
                found[-1] += f" {_clean(line)}"
            continue
        goes_on = _ALLOWED.fullmatch(match[1]) is not None and not _OURS.fullmatch(match[1])
        if goes_on:
            found.append(f"{match[1]}: {_clean(match[2])}")
        else:
            refused.append(match[1])
    kept = [one[:900] for one in found[:MAX_LINES]]
    lines = "".join(f"{one}\n" for one in kept).encode("utf-8", "replace")
    return (lines if len(lines) <= MAX_HEADER else b""), refused


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text).strip()


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; Broken when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Broken("it gives no answer in time")
        return left
