"""`lanmail mailbox list`: the accounts with their mail, or the folders of one."""

import dataclasses
import datetime
from typing import Any

import click

from lanmail.cli import command, values
from lanmail.cli.mailbox import home, tally
from lanmail.cli.mailbox.damage import many
from lanmail.paths import Paths

_NUMBERS = (1, 2, 3)


@click.command("list", short_help="List the accounts with their mail, or the folders of one.")
@click.argument("account", required=False)
@command.json_option
@command.rooted
def list_(where: Paths, account: str | None, as_json: bool) -> None:
    """List the accounts with all their mail, or the folders of ACCOUNT.

    Sizes are those that clients see, with CRLF line ends. NEWEST is when the last message arrived.
    Everything is read from file names, so that a folder of 100,000 takes less than a second.
    """
    if account is None:
        _accounts(where, as_json)
    else:
        _folders(where, account, as_json)


def _accounts(where: Paths, as_json: bool) -> None:
    found = []
    for root, has_account in home.all_of(where):
        parts = tally.of_account(str(root))
        found.append((tally.total(root.name, parts), len(parts), has_account))
    if as_json:
        command.print_json([
            {"account": one.folder, "folders": folders, "has_account": has_account, **counts(one)}
            for one, folders, has_account in found
        ])
        return
    rows = [[one.folder, str(one.messages), str(one.unseen), values.size(one.size), str(folders), moment(one.newest),
             "" if has_account else "no such account; its mail is still there"] for one, folders, has_account in found]
    command.print_table(["ACCOUNT", "MESSAGES", "UNSEEN", "SIZE", "FOLDERS", "NEWEST", "NOTES"], rows,
                        "no accounts yet; make one: lanmail account add NAME", right=(*_NUMBERS, 4))


def _folders(where: Paths, account: str, as_json: bool) -> None:
    parts = tally.of_account(str(home.of(where, account)))
    if as_json:
        command.print_json([{"folder": one.folder, **counts(one), "uidvalidity": one.uidvalidity,
                             "special_use": one.special} for one in parts])
        return
    rows = [[one.folder, str(one.messages), str(one.unseen), values.size(one.size), moment(one.newest),
             one.special or "", str(one.uidvalidity or "-")] for one in parts]
    command.print_table(["FOLDER", "MESSAGES", "UNSEEN", "SIZE", "NEWEST", "USE", "UIDVALIDITY"], rows,
                        f"{account} has no Maildir yet; the first mail or log-in makes it", right=_NUMBERS)
    if len(parts) > 1:
        whole = tally.total("", parts)
        click.echo(f"{many(whole.messages, 'message', 'messages')}, {values.size(whole.size)} in {len(parts)} folders")


def counts(one: tally.Tally) -> dict[str, Any]:
    """The numbers of a folder or account, for --json."""
    return {key: value for key, value in dataclasses.asdict(one).items()
            if key in ("messages", "unseen", "size", "newest")}


def moment(seconds: float | None) -> str:
    """A time as a person reads it, here and now."""
    if seconds is None:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "?"
