"""Which source is meant: ACCOUNT/NAME, or NAME alone where only one account has it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from lanmail import config, incoming
from lanmail.cli import command
from lanmail.errors import ConfigError
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """A source: where it stands, what its table says, and what holds."""

    account: str
    name: str
    file: Path
    own: Source
    source: Source

    def __str__(self) -> str:
        return f"{self.account}/{self.name}"

    def key(self, word: str) -> tuple[str, str, str]:
        """A key of it in the account's file."""
        return ("sources", self.name, word)


def all_of(where: Paths, loaded: Settings, account: str = "") -> Iterator[Place]:
    """All sources of all accounts, or of one; an account whose file is broken is told on stderr and left out."""
    for path in config.account_files(where):
        if account and path.stem != account.lower():
            continue
        try:
            read = config.load_account(path, loaded.account_defaults)
        except ConfigError as error:
            click.echo(f"lanmail: account {path.stem} is left out: {str(error).splitlines()[0]}", err=True)
            continue
        for name, own in sorted(read.sources.items()):
            yield Place(path.stem, name, path, own, incoming.of(loaded.incoming, own))


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


def name_for(host: str, taken: set[str]) -> str:
    """A name for a new source: of imap.gmx.net it is gmx, or gmx-2 when there is one."""
    labels = re.sub(r"[^a-z0-9.-]", "-", host.lower()).strip(".-").split(".")
    plain = labels[-2] if len(labels) > 1 and not labels[-1].isdecimal() else "mailbox"
    if len(labels) > 2 and plain in ("co", "com", "org", "ac", "gv", "or", "net"):
        plain = labels[-3]
    return free(plain.strip("-") or "mailbox", taken)


def free(plain: str, taken: set[str]) -> str:
    """The name, or with a number when there is one already."""
    number = 1
    while (made := plain if number == 1 else f"{plain}-{number}") in taken:
        number += 1
    return made
