"""`lanmail doctor`: what is wrong, or will be, and what to do about it."""

import dataclasses
import os
from collections.abc import Iterator

import click

from lanmail import config
from lanmail.cli import command, finding, installation, machine
from lanmail.errors import ConfigError
from lanmail.paths import Paths

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(short_help="Look for what is wrong, or will be.")
@click.option("--quiet", is_flag=True, help="Only what is not ok.")
@command.json_option
@command.rooted
def doctor(where: Paths, quiet: bool, as_json: bool) -> None:
    """Look for what is wrong, or will be: one line each, ok, warn or fail, with what to do.

    Looks at configuration, accounts, directories, certificate, waiting mail, disk, file system, kernel settings, clock
    and ports; changes nothing. Exit code 69 when something fails, else 0.
    """
    found = [item for item in examine(where) if not quiet or item.level != "ok"]
    if as_json:
        command.print_json([dataclasses.asdict(item) for item in found])
    else:
        for item in found:
            level = click.style(item.level.ljust(4), fg=_COLOURS[item.level])
            click.echo(f"{level}  {item.check:<13}  {item.text}")
            if item.advice:
                click.echo(f"{'':19}  → {item.advice}")
    if any(item.level == "fail" for item in found):
        click.get_current_context().exit(os.EX_UNAVAILABLE)


def examine(where: Paths) -> Iterator[finding.Finding]:
    """All findings; without readable settings only those about the configuration."""
    yield from installation.configuration(where)
    try:
        loaded = config.load(where)
    except ConfigError:
        return
    yield from installation.all_of(where, loaded)
    yield from machine.all_of(where, loaded)
