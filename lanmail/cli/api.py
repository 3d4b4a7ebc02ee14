"""`lanmail api`: keys for scripts that use the HTTP API."""

import os
from typing import Any

import click

from lanmail.cli import command
from lanmail.logins import apikeys, endpoints
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Keys for scripts that use the HTTP API.")
def api() -> None:
    """The HTTP API, at /api/v1/METHOD of httpd; /api/v1/openapi.json describes it."""


@api.group(cls=command.Group)
def key() -> None:
    """Keys; they stand in conf/api.toml, as hashes."""


@key.command()
@click.argument("name")
@click.option("--rights", default="read", show_default=True, metavar="admin|read|account:NAME", help="What it may do.")
@click.option("--network", "networks", multiple=True, metavar="NETWORK", help="Only from here; repeatable.")
@command.json_option
@command.rooted
def add(where: Paths, name: str, rights: str, networks: tuple[str, ...], as_json: bool) -> None:
    """Make a key. It is shown this once; the call says Authorization: Bearer KEY."""
    settings = command.settings_of(where)
    try:
        made = apikeys.add(where.conf / "api.toml", name, rights, list(networks))
    except FileExistsError:
        command.fail(f"there is a key '{name}' already", os.EX_DATAERR)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    if as_json:
        command.print_json({"name": name, "key": made, "rights": rights, "url": f"{endpoints.base(settings)}/api/v1/"})
        return
    click.echo(f"key: {made}   (shown this once)")
    click.echo(f"try: curl -H 'Authorization: Bearer {made}' {endpoints.base(settings)}/api/v1/server.status")
    if not settings.httpd.enabled:
        click.echo("nobody answers yet: lanmail config set httpd.enabled true", err=True)


@key.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all keys."""
    found: list[dict[str, Any]] = [{"name": name, "rights": one.rights, "networks": [str(net) for net in one.networks]}
                                   for name, one in apikeys.load(where.conf / "api.toml").items()]
    if as_json:
        command.print_json(found)
        return
    rows = [[one["name"], one["rights"], ", ".join(one["networks"]) or "everywhere"] for one in found]
    command.print_table(["NAME", "RIGHTS", "FROM"], rows, "no keys; make one: lanmail api key add NAME --rights read")


@key.command()
@click.argument("name")
@command.rooted
def remove(where: Paths, name: str) -> None:
    """Remove a key; it is void at once."""
    if not apikeys.remove(where.conf / "api.toml", name):
        command.fail(f"there is no key '{name}'", os.EX_NOUSER)
    click.echo(f"key {name} removed")
