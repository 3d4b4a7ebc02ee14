"""`lanmail forward`: all mail of an account goes on to others."""

import os
import time
from typing import Any

import click

from lanmail import conffile, config, units
from lanmail.accounts import Directory
from lanmail.administration import forwards
from lanmail.cli import command
from lanmail.cli.account import existing
from lanmail.errors import ConfigError
from lanmail.paths import Paths
from lanmail.settings import Account


@click.group(cls=command.Group, short_help="Send all mail of an account on to others.")
def forward() -> None:
    """Forwards: all mail of an account goes on to another account, a group or an address elsewhere.

    They stand in the section [forward] of conf/accounts/NAME.toml, which may be edited by hand as well; changes count
    at once. People switch their own one by mail, too: LMS Forwarding on eva@example.org, LMS Forwarding off.
    """


@forward.command(short_help="Show all forwards, or where the mail of one account ends.")
@click.argument("name", required=False)
@command.json_option
@command.rooted
def show(where: Paths, name: str | None, as_json: bool) -> None:
    """Show who forwards his mail, or for one account where its mail ends, over all forwards on the way."""
    directory = _directory(where)
    names = [existing(where, name).stem] if name is not None else list(directory.names())
    found = []
    for one in names:
        try:
            account = _account(where, directory, one)
        except ConfigError as error:
            click.echo(f"lanmail: {error}", err=True)
            continue
        if name is not None or account.forward.to:
            found.append(_shown(directory, account))
    if as_json:
        command.print_json(found if name is None else found[0])
    elif name is None:
        rows = [[one["account"], ", ".join(one["to"]), "stays" if one["keep"] else "no", one["problem"] or ""]
                for one in found]
        command.print_table(["ACCOUNT", "TO", "COPY", "NOTES"], rows,
                            "nobody forwards his mail; to do so: lanmail forward on NAME TARGET")
    else:
        click.echo("\n".join(_lines(found[0])))


def _shown(directory: Directory, account: Account) -> dict[str, Any]:
    way = forwards.follow(directory, account)
    return {"account": account.name, "to": account.forward.to, "keep": account.forward.keep,
            "ends": {"mailboxes": list(way.mailboxes), "outside": list(way.outside)}, "problem": _problem(account, way)}


def _problem(account: Account, way: forwards.Way) -> str | None:
    """What is not as it looks."""
    said = []
    if account.einvoice.enabled and account.forward.to:
        said.append("does not count: it is an e-invoice mailbox")
    if way.circles:
        said.append(f"a circle: {way.circles[0]}")
    if way.denied:
        said.append(f"not sent to {', '.join(way.denied)} (deny_internet)")
    if way.unknown:
        said.append(f"nobody is {', '.join(way.unknown)}")
    return "; ".join(said) or None


def _lines(one: dict[str, Any]) -> list[str]:
    if not one["to"]:
        return [f"{one['account']} does not forward its mail"]
    copy = "a copy stays" if one["keep"] else "no copy stays"
    lines = [f"{one['account']} forwards to {', '.join(one['to'])}; {copy}"]
    ends = [f"the mailbox of {name}" for name in one["ends"]["mailboxes"]] + one["ends"]["outside"]
    lines.append(f"its mail ends in: {', '.join(ends)}")
    return lines + ([f"note: {one['problem']}"] if one["problem"] else [])


@forward.command(short_help="Forward all mail of an account.")
@click.argument("name")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@click.option("--keep/--no-keep", default=None, help="Whether a copy stays in the mailbox; at first not.")
@command.rooted
def on(where: Paths, name: str, targets: tuple[str, ...], keep: bool | None) -> None:
    """Forward all mail of an account to TARGET: an account, alias, group, or address elsewhere; several are possible.

    The targets take the place of those before; without one only --keep is changed.
    """
    path, directory = existing(where, name), _directory(where)
    account = _account(where, directory, name)
    if account.einvoice.enabled:
        command.fail(f"{account.name} is an e-invoice mailbox, whose mail goes by einvoice.forward and "
                     "einvoice.other_forward", os.EX_DATAERR)
    wanted = _wanted(directory, account, targets)
    if not wanted and not account.forward.to:
        command.fail(f"to whom? lanmail forward on {account.name} TARGET", os.EX_USAGE)
    given: dict[str, Any] = {"to": wanted or None, "keep": keep}
    config.edit(path, {("forward", key): value for key, value in given.items() if value is not None})
    found = _shown(_directory(where), _account(where, directory, name))
    click.echo("\n".join(_lines(found)))


def _wanted(directory: Directory, account: Account, targets: tuple[str, ...]) -> list[str]:
    found = []
    for target in [part.strip() for one in targets for part in one.split(";") if part.strip()]:
        try:
            wanted = units.forward_to(target)
        except ValueError as error:
            command.fail(str(error), os.EX_DATAERR)
        refused = forwards.refusal(directory, account, wanted)
        if refused is not None:
            command.fail(*refused)
        found.append(wanted)
    return list(dict.fromkeys(found))


@forward.command(short_help="Forward mail of an account no longer.")
@click.argument("name")
@command.rooted
def off(where: Paths, name: str) -> None:
    """Forward mail of an account no longer: it stays in the mailbox."""
    path, directory = existing(where, name), _directory(where)
    account = _account(where, directory, name)
    if account.forward.to:
        config.edit(path, {"forward.to": conffile.Default("[]")})
    click.echo(f"mail of {account.name} {'stays here now' if account.forward.to else 'was not forwarded'}")
    if account.autoresponder.active(time.time()) and account.autoresponder.forward:
        click.echo(f"note: its autoresponder still sends it on to {', '.join(account.autoresponder.forward)}")


def _directory(where: Paths) -> Directory:
    loaded = command.settings_of(where)
    return Directory(where, lambda: loaded)


def _account(where: Paths, directory: Directory, name: str) -> Account:
    """The account as its file is now. ConfigError."""
    return config.load_account(existing(where, name), command.settings_of(where).account_defaults)
