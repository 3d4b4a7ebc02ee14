"""`lanmail archive stats`: how much there is, by month, account and direction."""

from collections import defaultdict
from typing import Any

import click

from lanmail.archiving import retention, store
from lanmail.cli import command, values
from lanmail.cli.mailbox import rights
from lanmail.paths import Paths

Sums = dict[str, dict[str, int]]


@click.command(short_help="How much is archived, by month, account and direction.")
@command.json_option
@command.rooted
def stats(where: Paths, as_json: bool) -> None:
    """Count mails and octets. A mail counts for each of its accounts; what was purged does not count."""
    with rights.of_owner(where.archive):
        contents = retention.read(where)
    months, names, directions = _empty(), _empty(), _empty()
    total = {"mails": 0, "octets": 0}
    for data in contents.mails.values():
        _count(total, data)
        _count(months[str(data["arrived"])[:7]], data)
        _count(directions[str(data["direction"])], data)
        for name in retention.accounts_of(data):
            _count(names[name], data)
    if as_json:
        command.print_json({**total, "purged": len(contents.purged), "holds": len(contents.holds), "months": months,
                            "accounts": names, "directions": directions})
        return
    _table("MONTH", months)
    _table("ACCOUNT", names)
    _table("DIRECTION", directions)
    click.echo(f"{total['mails']} mails, {values.size(total['octets'])}; {len(contents.purged)} messages purged")


def _empty() -> Sums:
    return defaultdict(lambda: {"mails": 0, "octets": 0})


def _count(sums: dict[str, int], data: dict[str, Any]) -> None:
    """The form that was sent takes room, and is no mail of its own."""
    sums["mails"] += data["form"] == store.ACCEPTED
    sums["octets"] += int(data["size"])


def _table(head: str, sums: Sums) -> None:
    rows = [[name, str(one["mails"]), values.size(one["octets"])] for name, one in sorted(sums.items())]
    if rows:
        command.print_table([head, "MAILS", "SIZE"], rows, "", right=(1, 2))
        click.echo()
