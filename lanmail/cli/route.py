"""`lanmail route`: which way a mail would go, without sending one."""

import asyncio
import os
from typing import Any

import click

from lanmail import accounts, address, transports
from lanmail.administration import wayout
from lanmail.cli import command
from lanmail.errors import MailError
from lanmail.paths import Paths
from lanmail.settings import Settings


@click.group("route", cls=command.Group, short_help="Which way a mail would go; try the log-in there.")
def route() -> None:
    """The way out of a mail."""


@route.command()
@click.argument("recipient", metavar="ADDRESS")
@click.option("--account", "name", metavar="NAME", help="As if this account sent the mail.")
@click.option("--dry", is_flag=True, help="Only say it; connect nowhere.")
@command.json_option
@command.rooted
def test(where: Paths, recipient: str, name: str | None, dry: bool, as_json: bool) -> None:
    """Say which way mail to ADDRESS goes, and try it: connect and log in, but send nothing.

    Exit code 1 when the mail could not go out now.
    """
    loaded = command.settings_of(where)
    directory = accounts.Directory(where, lambda: loaded)
    try:
        to = address.parse(recipient)
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)
    if name is not None and directory.account(name) is None:
        command.fail(f"there is no account '{name}'", os.EX_NOUSER)
    report = _Report(as_json)
    found = directory.resolve(to)
    report.put("recipient", str(to))
    if found.kind == "unknown":
        report.end(f"{to} is local, but nobody has this name: mail to it is refused", good=False)
    if found.accounts:
        report.put("accounts", list(found.accounts))
    if found.groups:
        report.put("groups", list(found.groups))
    for one in found.external:
        _outside(where, loaded, directory, one, name, report, dry=dry)
    report.end()


def _outside(where: Paths, loaded: Settings, directory: accounts.Directory, to: address.Address, name: str | None,
             report: "_Report", *, dry: bool) -> None:
    account = directory.account(name) if name is not None else None
    found = wayout.look(loaded, account, to)
    report.put("settings of", name if found.own else "outgoing in lanmail.toml")
    if found.denied:
        report.end(found.denied, good=False)
    report.put("transport", found.way.transport)
    report.put("destination", found.destination)
    for key, text in wayout.changes(found.way, loaded, account is not None):
        report.put(key, text)
    if dry:
        return
    try:
        asyncio.run(wayout.probe(transports.House(where, lambda: loaded, report.step), found, report.step))
    except MailError as error:
        report.end(str(error), good=False)


class _Report:
    """What is found, told step by step, or as one JSON value at the end."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._found: dict[str, Any] = {}
        self._steps: list[str] = []

    def put(self, key: str, value: "str | list[str] | None") -> None:
        self._found[key.replace(" ", "_").replace("/", "").lower()] = value
        if not self._json:
            click.echo(f"{key:<13} {', '.join(value) if isinstance(value, list) else value}")

    def step(self, text: str) -> None:
        self._steps.append(text)
        if not self._json:
            click.echo(f"  {text}")

    def end(self, problem: str = "", *, good: bool = True) -> None:
        """Finish the report; does not return when something is wrong."""
        if self._json:
            command.print_json({**self._found, "steps": self._steps, "problem": problem or None})
        elif problem:
            click.echo(problem, err=True)
        elif self._steps:
            click.echo("ok: the mail would go out")
        if not good:
            click.get_current_context().exit(1)
