"""`lanmail alias`: more names for accounts, and names that lead elsewhere."""

import os
from typing import Any

import click

from lanmail import conffile, config, names
from lanmail.accounts import Directory
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
    loaded = command.settings_of(where)
    directory = Directory(where, lambda: loaded)
    key = _parsed(name)
    for kind, taken in (("account", directory.names()), ("group", directory.groups())):
        if not key[1] and key[0] in taken:
            command.fail(f"there is {'an' if kind == 'account' else 'a'} {kind} '{key[0]}' already", os.EX_DATAERR)
    if key[1] and key[1] not in loaded.server.local_domains:
        command.fail(f"{key[1]} is not a local domain (see server.domain and server.extra_domains)", os.EX_DATAERR)
    for target in targets:
        _check_target(directory, key, target)
    written, present = _written(where, key)
    wanted = [*present, *(target for target in targets if target.lower() not in map(str.lower, present))]
    config.edit(where.aliases, {(written or name,): wanted})
    click.echo(f"alias {written or name}: {', '.join(wanted)}")


def _check_target(directory: Directory, key: tuple[str, str], target: str) -> None:
    try:
        local, domain = names.alias_target(target)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    if (local.lower(), domain) == key:
        command.fail("an alias cannot lead to itself", os.EX_DATAERR)
    if not directory.reaches(local, domain):
        command.fail(f"there is no account, alias or group '{target}'", os.EX_NOUSER)


@alias.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all aliases."""
    found = [
        {"name": _text(key), "targets": [_text(target) for target in targets]}
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
    key = _parsed(name)
    written, present = _written(where, key)
    if written is None:
        command.fail(f"there is no alias '{name}'", os.EX_NOUSER)
    unwanted = {target.lower() for target in targets}
    missing = sorted(unwanted - set(map(str.lower, present)))
    if missing:
        command.fail(f"alias {written} does not lead to {', '.join(missing)}", os.EX_NOUSER)
    left = [target for target in present if target.lower() not in unwanted] if targets else []
    config.edit(where.aliases, {(written,): left or None})
    click.echo(f"alias {written}: {', '.join(left)}" if left else f"alias {written} removed")


def _parsed(name: str) -> tuple[str, str]:
    try:
        return names.alias_key(name)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)


def _written(where: Paths, key: tuple[str, str]) -> tuple[str | None, list[str]]:
    """How an alias is spelled in the file, and its targets as they stand there; (None, []) when it is not there."""
    if not os.path.lexists(where.aliases):
        return None, []
    document = conffile.read(where.aliases)
    config.aliases(document)
    for written, value in document.data.items():
        if names.alias_key(written) == key:
            targets: Any = [value] if isinstance(value, str) else value
            return written, list(targets)
    return None, []


def _text(name: tuple[str, str]) -> str:
    return f"{name[0]}@{name[1]}" if name[1] else name[0]
