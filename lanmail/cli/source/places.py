"""Which source is meant: ACCOUNT/NAME, or NAME alone where only one account has it."""

import os
from collections.abc import Iterator

import click

from lanmail.cli import command
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import register
from lanmail.sources.register import Place


def all_of(where: Paths, loaded: Settings, account: str = "") -> Iterator[Place]:
    """All sources of all accounts, or of one; an account whose file is broken is told on stderr and left out."""
    return register.all_of(where, loaded, account, lambda path, error: click.echo(
        f"lanmail: account {path.stem} is left out: {str(error).splitlines()[0]}", err=True))


def one(where: Paths, loaded: Settings, text: str) -> Place:
    """The source that is called so; ends with 67 when there is none, or more than one."""
    account, slash, name = text.rpartition("/")
    found = [place for place in all_of(where, loaded) if place.name == name.lower()
             and (not slash or place.account == account.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        command.fail(f"there are several: {', '.join(map(str, found))}; say which one", os.EX_NOUSER)
    known = ", ".join(map(str, all_of(where, loaded))) or "none at all; make one: lanmail source add ACCOUNT ADDRESS"
    return command.fail(f"there is no source '{text}'; there are: {known}", os.EX_NOUSER)
