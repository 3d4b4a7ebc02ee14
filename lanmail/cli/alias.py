"""`lanmail alias`: more names for accounts, and names that lead elsewhere."""

import os
from typing import NoReturn

import click

from lanmail import config
from lanmail.administration import aliases
from lanmail.cli import command
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="More names for accounts, and names that lead elsewhere.")
def alias() -> None:
    """Aliases: NAME, in every local domain, or NAME@DOMAIN lead to accounts, other aliases or addresses elsewhere.

    They stand in conf/aliases.toml, which may be edited by hand as well; changes count at once.
    """


@alias.command()
@click.argument("name")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@command.rooted
def add(where: Paths, name: str, targets: tuple[str, ...]) -> None:
    """Make an alias, or add targets to one."""
    try:
        written, wanted = aliases.add(where, command.settings_of(where), name, targets)
    except aliases.Refused as error:
        _fail(error, unknown_target=error.kind == "target" and "there is no" in str(error))
    click.echo(f"alias {written}: {', '.join(wanted)}")


@alias.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all aliases."""
    found = [
        {"name": aliases.text(key), "targets": [aliases.text(target) for target in targets]}
        for key, targets in sorted(config.load_aliases(where.aliases).items())
    ]
    if as_json:
        command.print_json(found)
        return
    rows = [[str(entry["name"]), ", ".join(entry["targets"])] for entry in found]
    command.print_table(["ALIAS", "LEADS TO"], rows, "no aliases; make one: lanmail alias add NAME TARGET...")


@alias.command()
@click.argument("name")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@command.rooted
def remove(where: Paths, name: str, targets: tuple[str, ...]) -> None:
    """Remove an alias, or only some of its targets."""
    try:
        written, left = aliases.remove(where, name, targets)
    except aliases.Refused as error:
        _fail(error, unknown_target=error.kind == "none")
    click.echo(f"alias {written}: {', '.join(left)}" if left else f"alias {written} removed")


def _fail(error: aliases.Refused, *, unknown_target: bool) -> NoReturn:
    command.fail(str(error), os.EX_NOUSER if unknown_target else os.EX_DATAERR)
