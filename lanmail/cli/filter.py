"""`lanmail filter`: show a message to the filters, and see what they say."""

import os
from pathlib import Path
from typing import Any

import click

from lanmail import atomic, spool
from lanmail.accounts import Directory
from lanmail.cli import command
from lanmail.filters import Broken, Question, asking
from lanmail.filters.options import Filtering
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Show a message to the filters.")
def filter() -> None:
    """What looks at mail before it is put into mailboxes: [filter] in lanmail.toml, and filter in an account's file."""


@filter.command()
@click.argument("file", metavar="MESSAGE", type=click.Path(path_type=Path))
@click.option("--filter", "names", multiple=True, metavar="NAME", help="rspamd, clamd or a path; else those in use.")
@click.option("--account", metavar="NAME", help="With those of this account, too.")
@click.option("--sender", default="", metavar="ADDRESS", help="As if this were the envelope sender.")
@command.json_option
@command.rooted
def test(where: Paths, file: Path, names: tuple[str, ...], account: str | None, sender: str, as_json: bool) -> int:
    """Show the MESSAGE in a file to the filters; deliver nothing.

    Programs run with your rights here, and with those of lanmail-deliver when mail comes. Exit code 69 when one of them
    does not work.
    """
    loaded = command.settings_of(where)
    wanted = [(name, "") for name in names or loaded.filter.use]
    if account is not None:
        own = Directory(where, lambda: loaded).account(account)
        if own is None:
            command.fail(f"there is no account '{account}'", os.EX_NOUSER)
        wanted += [(name, account) for name in own.filter] if not names else []
    if not wanted:
        command.fail('there is no filter: set filter.use in lanmail.toml, or name one with --filter', os.EX_CONFIG)
    descriptor = atomic.open_regular(file)
    try:
        found = [_ask(name, owner, descriptor, sender, f"{account or 'postmaster'}@{loaded.server.domain}",
                      loaded.filter) for name, owner in wanted]
    finally:
        os.close(descriptor)
    if as_json:
        command.print_json(found)
    else:
        for one in found:
            click.echo(f"{one['filter']}: {one['verdict']}" + (f", {one['reason']}" if one["reason"] else ""))
            for line in one["header"]:
                click.echo(f"    {line}")
    return os.EX_UNAVAILABLE if any(one["verdict"] == "does not work" for one in found) else os.EX_OK


def _ask(name: str, owner: str, descriptor: int, sender: str, recipient: str, options: Filtering) -> dict[str, Any]:
    question = Question(spool.new_id(), descriptor, 0, os.fstat(descriptor).st_size, sender, (recipient,), "mx",
                        account=owner)
    try:
        verdict = asking.once(name, question, options)
    except Broken as error:
        return {"filter": name, "verdict": "does not work", "reason": str(error), "header": []}
    return {"filter": name, "verdict": verdict.kind, "reason": verdict.reason,
            "header": verdict.lines.decode("utf-8", "replace").splitlines()}
