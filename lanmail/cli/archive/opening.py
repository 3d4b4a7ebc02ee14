"""The index of the archive, opened for a command: brought up to date first, if that can be done."""

import datetime
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from lanmail import printable
from lanmail.archiving import finding, following, index, journal
from lanmail.cli import command
from lanmail.cli.mailbox import progress
from lanmail.paths import Paths

Function = TypeVar("Function", bound=Callable[..., Any])


def account_option(function: Function) -> Function:
    """--account NAME, several times: whose eyes to look with."""
    return click.option("--account", "accounts", metavar="NAME", multiple=True,
                        help="Only what this account may see: what it received or sent.")(function)


def scope_of(accounts: tuple[str, ...]) -> finding.Scope:
    """An administrator sees all."""
    return finding.visible_to(*(name.lower() for name in accounts)) if accounts else finding.EVERYTHING


@contextmanager
def reader(where: Paths) -> Iterator[index.Reader]:
    """The index, with what came into the archive up to now."""
    if not journal.path(where).exists():
        command.fail("the archive is empty; see: lanmail account set NAME archive=true", os.EX_NOINPUT)
    command.become_owner_of(where.state)
    _update(where)
    try:
        opened = index.Reader(index.path(where))
    except FileNotFoundError:
        command.fail("there is no index of the archive yet: it is being made", os.EX_TEMPFAIL)
    except index.Damaged as error:
        command.fail(f"the index of the archive cannot be used ({error}); see: lanmail archive reindex", os.EX_IOERR)
    with opened:
        yield opened


def _update(where: Paths) -> None:
    try:
        if following.is_behind(where):
            with progress.shown() as line:
                fill(where, line)
    except following.Busy:
        click.echo("lanmail: the index is being brought up to date; the newest mail may be missing", err=True)
    except OSError as error:
        click.echo(f"lanmail: the index could not be brought up to date: {error}", err=True)


def fill(where: Paths, line: progress.Progress, *, anew: bool = False) -> following.Filling:
    """Bring the index up to date and show how it goes; following.Busy, OSError."""
    line.what = "index of the archive"
    before = following.Filling()

    def look(now: following.Filling) -> bool:
        nonlocal before
        line.total_octets = now.total
        line.step(now.added - before.added, now.read - before.read)
        before = following.Filling(added=now.added, read=now.read)
        return False

    return following.fill(where, anew=anew, enough=look)


def find(opened: index.Reader, text: str, scope: finding.Scope) -> finding.Found:
    """The mail with that id; ends with 66 when there is none."""
    try:
        return finding.one(opened, text, scope)
    except LookupError as error:
        command.fail(printable.line(str(error)), os.EX_NOINPUT)


def moment(seconds: float) -> str:
    """A time as people read it."""
    try:
        return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "?"
