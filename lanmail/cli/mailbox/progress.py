"""How far long work has come: one line on a terminal, with rate and remaining time; nothing anywhere else.

Messages for people go through `say`, so that they never stand in the middle of that line.
"""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lanmail import printable
from lanmail.cli import values

_EVERY = 0.2
_ROOM = 4  # for the ^C of who stops it
_LATE = 0.5  # work that is done sooner shows nothing


class Progress:
    """Counts messages and octets; the totals are 0 as long as nobody knows them."""

    def __init__(self, total: int = 0, *, shown: bool | None = None) -> None:
        self.total = total
        self.total_octets = 0
        self.done = 0
        self.octets = 0
        self.what = ""
        self.shown = sys.stderr.isatty() if shown is None else shown
        self._began = time.monotonic()
        self._next = self._began + _LATE
        self._counted = 0  # what was found done already says nothing about the rate
        self._dirty = False

    def step(self, messages: int = 1, octets: int = 0, *, worked: bool = True) -> None:
        """So many more are done; without `worked` they were done before."""
        self.done += messages
        self.octets += octets
        self._counted += messages if worked else 0
        self.look()

    def look(self) -> None:
        """Show the line when it is time to."""
        if self.shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            width = shutil.get_terminal_size().columns - _ROOM
            click.echo("\r" + self.line()[:width].ljust(width), nl=False, err=True)
            self._dirty = True

    def line(self) -> str:
        """What the terminal shows."""
        seconds = max(time.monotonic() - self._began, 0.001)
        done, total = (self.octets, self.total_octets) if self.total_octets else (self.done, self.total)
        parts = [f"{self.done}/{self.total}" if self.total else f"{self.done}"]
        if total:
            parts.insert(0, f"{min(100, done * 100 // total):3}%")
        parts.append(f"{self._counted / seconds:.0f}/s")
        if self.octets:
            parts.append(f"{values.size(round(self.octets / seconds))}/s")
        if total and done:
            parts.append(f"{_clock((total - done) * seconds / done)} left")
        if self.what:
            parts.append(printable.line(self.what, "·"))
        return "  ".join(parts)

    def clear(self) -> None:
        """Take the line away."""
        if self._dirty:
            click.echo("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", nl=False, err=True)
            self._dirty = False

    def say(self, text: str, *, err: bool = False) -> None:
        """Print a line of its own."""
        self.clear()
        click.echo(text, err=err)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def shown(total: int = 0) -> Iterator[Progress]:
    """A line that is gone at the end, however that comes."""
    made = Progress(total)
    try:
        yield made
    finally:
        made.clear()
