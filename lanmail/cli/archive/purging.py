"""`lanmail archive purge` and `erase`: what leaves the archive. Each message that goes leaves a line in the journal."""

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from lanmail import accounts, log, printable
from lanmail.archiving import journal, retention
from lanmail.cli import command, values
from lanmail.cli.archive import choosing
from lanmail.cli.mailbox import progress, rights
from lanmail.errors import Temporary
from lanmail.paths import Paths

Mails = dict[int, dict[str, Any]]


@click.command(short_help="Take out what is older than its accounts keep it.")
@click.option("--yes", is_flag=True, help="Do it; without this only say what would go.")
@command.json_option
@command.rooted
def purge(where: Paths, yes: bool, as_json: bool) -> None:
    """Take out mail whose time is over: archive_years of its accounts, the longest of them; 0 is for ever.

    The years are full calendar years after the one in which the mail came in. What is on legal hold stays. Without
    --yes nothing is done.
    """
    log.setup("lanmail", where.log)
    with rights.of_owner(where.archive), progress.shown() as line:
        contents = retention.read(where)
        due = retention.expired(contents, _years(where), time.time())
        left = retention.leftovers(where, contents)
        if yes:
            retention.remove(where, left)
            _out(where, due, line, retention.RETENTION, "kept for as long as archive_years says")
    if as_json:
        command.print_json({"done": yes, "messages": len(due), "octets": _octets(due), "unfinished": len(left),
                            "ids": sorted({data["id"] for data in due.values()})})
        return
    months = Counter(str(data["arrived"])[:7] for data in due.values())
    octets: Counter[str] = Counter()
    for data in due.values():
        octets[str(data["arrived"])[:7]] += int(data["size"])
    rows = [[month, str(count), values.size(octets[month])] for month, count in sorted(months.items())]
    command.print_table(["MONTH", "MESSAGES", "SIZE"], rows, "nothing is old enough", right=(1, 2))
    if left:
        click.echo(f"{len(left)} that were purged before are still there" + (": removed" if yes else ""))
    if due:
        click.echo(f"{len(due)} messages, {values.size(_octets(due))}: " + ("purged" if yes else
                   "would be purged; with --yes they are"))


@click.command(short_help="Take single mails out, with a reason.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why, for the journal; it stays there for ever.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command.rooted
def erase(where: Paths, ids: tuple[str, ...], reason: str, yes: bool) -> None:
    """Take mails out of the archive before their time: private ones, or because somebody has the right to it.

    The message goes; its line in the journal stays (when, from whom, to whom, how large), and one more says who took it
    out and why. What is on legal hold stays: end the hold first.
    """
    log.setup("lanmail", where.log)
    with rights.of_owner(where.archive):
        contents = retention.read(where)
        chosen = choosing.of_ids(contents, choosing.named(contents, ids))
    for data in chosen.values():
        if (name := contents.held(data)) is not None:
            command.fail(f"{data['id']} is on legal hold ({name})", os.EX_DATAERR)
    for data in chosen.values():
        click.echo(printable.line(f"{data['id']}  {data['arrived']}  <{data['sender']}> to "
                                  f"{', '.join(data['recipients'][:3])}  {values.size(data['size'])}  {data['form']}"))
    if not yes:
        click.confirm("Erase for good?", abort=True)
    with rights.of_owner(where.archive), progress.shown() as line:
        _out(where, chosen, line, retention.ERASED, reason)
    click.echo(f"{len(chosen)} erased")


def _out(where: Paths, mails: Mails, line: progress.Progress, why: str, reason: str) -> None:
    line.total, line.total_octets = len(mails), _octets(mails)
    retention.purge(where, mails, why, reason, journal.who(), lambda count, octets: line.step(count, octets))
    if mails:
        log.event("purged", messages=len(mails), octets=_octets(mails), why=why, reason=reason, by=journal.who())


def _octets(mails: Mails) -> int:
    return sum(int(data["size"]) for data in mails.values())


def _years(where: Paths) -> Callable[[str], int]:
    """How long an account keeps its mail; 0, for ever, when its file cannot be read."""
    loaded = command.settings_of(where)
    directory = accounts.Directory(where, lambda: loaded)

    def years(name: str) -> int:
        try:
            account = directory.account(name)
        except Temporary as error:
            click.echo(f"lanmail: the mail of {name} stays: {error.text}", err=True)
            return 0
        return (account or loaded.account_defaults).archive_years
    return years
