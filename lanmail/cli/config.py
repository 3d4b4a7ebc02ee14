"""`lanmail config`: check, show and change the settings."""

import os
from typing import Any

import click

from lanmail import config as config_
from lanmail import schema
from lanmail.administration import asking
from lanmail.cli import command, values
from lanmail.paths import Paths
from lanmail.settings import Settings

_RELOAD = "running programs take it over when they are asked to: lanmail config reload"


@click.group(cls=command.Group, short_help="Check, show and change the settings.")
def config() -> None:
    """Settings in conf/lanmail.toml, which may be edited by hand as well."""


@config.command()
@command.json_option
@command.rooted
def check(where: Paths, as_json: bool) -> None:
    """Say all that is wrong in conf/, accounts and aliases included; exit code 78 if there is anything."""
    problems = config_.check(where)
    if as_json:
        command.print_json([{"file": item.file, "line": item.line, "text": item.text} for item in problems])
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        if not problems:
            count = len(list(config_.account_files(where)))
            click.echo(f"{where.config_file}: ok ({count} account{'' if count == 1 else 's'})")
    if problems:
        click.get_current_context().exit(os.EX_CONFIG)


@config.command()
@click.argument("key", required=False)
@click.option("--changed", is_flag=True, help="Only settings that differ from their defaults.")
@command.json_option
@command.rooted
def show(where: Paths, key: str | None, changed: bool, as_json: bool) -> None:
    """Show the settings in force, defaults included; all of them, a section, or one KEY like smtpd.max_size."""
    found = _flat(command.settings_of(where), changed)
    if key:
        chosen = {name: value for name, value in found.items() if name == key or name.startswith(f"{key}.")}
        if not chosen and not changed:
            command.fail(f"there is no key '{key}'{schema.guess(Settings, key)}", os.EX_USAGE)
        found = chosen
    if as_json:
        command.print_json(found.get(key, found) if key else found)
    elif key and key in found:
        click.echo(values.words(found[key]) if not isinstance(found[key], dict) else schema.toml(found[key]))
    else:
        for name, value in found.items():
            click.echo(f"{name} = {schema.toml(value)}")


def _flat(loaded: Settings, changed: bool) -> dict[str, Any]:
    """Every key with its value as it is written."""
    tree = loaded.model_dump(mode="json")
    default = Settings.model_validate({"server": {"domain": loaded.server.domain}}).model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, _ in schema.fields(Settings):
        value, usual = tree, default
        for part in key:
            value, usual = value[part], usual[part]
        if not changed or value != usual or key == ("server", "domain"):
            found[".".join(key)] = value
    return found


@config.command("set")
@click.argument("key")
@click.argument("value", nargs=-1, required=True)
@command.rooted
def set_(where: Paths, key: str, value: tuple[str, ...]) -> None:
    """Change one setting; several VALUEs make a list. Comments in the file stay.

    \b
    lanmail config set smtpd.max_size 100MB
    lanmail config set server.listen 0.0.0.0 ::
    """
    written = values.change(Settings, where.config_file, key, list(value))
    click.echo(f"{key} = {schema.toml(written)}")
    click.echo(_RELOAD)


@config.command()
@click.argument("key")
@command.rooted
def unset(where: Paths, key: str) -> None:
    """Take one setting out of the file, so that its default counts."""
    values.change(Settings, where.config_file, key, [])
    loaded = command.settings_of(where)
    click.echo(f"{key} = {schema.toml(_flat(loaded, False)[key])} (the default)")
    click.echo(_RELOAD)


@config.command()
@command.rooted
def reload(where: Paths) -> None:
    """Have all running programs take over what stands in the files; refused when it is broken.

    Ports, addresses and numbers of processes count when the programs are started again.
    """
    command.settings_of(where)
    asking.ask(where)
    click.echo("asked; running programs take the settings over within seconds")


@config.command("schema")
@click.option("--account", is_flag=True, help="The schema of accounts/NAME.toml instead of lanmail.toml.")
@click.option("--groups", is_flag=True, help="The schema of groups.toml.")
@command.rooted
def schema_(_where: Paths, account: bool, groups: bool) -> None:
    """Print the JSON Schema, with which editors complete and check the file.

    Save it and write `#:schema PATH` into the first line of the file (taplo, VS Code with Even Better TOML).
    """
    made = config_.group_json_schema if groups else config_.account_json_schema if account else config_.json_schema
    command.print_json(made())
