"""`lanmail archive hold`: mail that must stay, whatever its age."""

import os

import click

from lanmail import accounts, log
from lanmail.archiving import journal, retention
from lanmail.cli import command
from lanmail.cli.archive import choosing
from lanmail.cli.mailbox import rights
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Legal holds: mail that must stay, whatever its age.")
def hold() -> None:
    """Legal holds: mail that neither `purge` nor `erase` takes out, for a law suit or an audit.

    A hold has a name and a reason, and stands in the journal: setting and ending it leaves a trace.
    """


@hold.command()
@click.argument("name")
@click.option("--account", "names", multiple=True, help="All mail of this account, what comes later, too.")
@click.option("--id", "ids", multiple=True, help="This mail.")
@click.option("--query", default="", help="What `lanmail archive search` finds by this now.")
@click.option("--reason", required=True, help="Why, for the journal.")
@command.rooted
def add(where: Paths, name: str, names: tuple[str, ...], ids: tuple[str, ...], query: str, reason: str) -> None:
    """Set a hold on accounts, single mails, or what a search finds."""
    if not (names or ids or query):
        raise click.UsageError("say what is to be held: --account, --id or --query")
    loaded = command.settings_of(where)
    known = accounts.Directory(where, lambda: loaded).names()
    log.setup("lanmail", where.log)
    with rights.of_owner(where.archive):
        contents = retention.read(where)
        if name in contents.holds:
            command.fail(f"there is a hold {name} already; take another name", os.EX_DATAERR)
        archived = {one for data in contents.mails.values() for one in retention.accounts_of(data)}
        for one in names:
            if one not in known and one not in archived:
                command.fail(f"there is no account '{one}'", os.EX_NOUSER)
        held = choosing.named(contents, ids) | (choosing.searched(where, query) if query else set())
        if query and not held and not names:
            command.fail("the search finds nothing: there is nothing to be held", os.EX_DATAERR)
        retention.hold(where, name, reason, journal.who(), accounts=names, ids=held, query=query)
    log.event("hold", hold=name, accounts=",".join(names) or None, mails=len(held), reason=reason, by=journal.who())
    parts = [f"all mail of {', '.join(names)}"] if names else []
    parts += [f"{len(held)} mails"] if held else []
    click.echo(f"hold {name}: {' and '.join(parts)}")


@hold.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List the holds that are set."""
    with rights.of_owner(where.archive):
        found = retention.read(where).holds.values()
    if as_json:
        command.print_json([{"name": one.name, "since": one.since, "accounts": sorted(one.accounts),
                             "ids": sorted(one.ids), "query": one.query, "reason": one.reason, "by": one.by}
                            for one in found])
        return
    rows = [[one.name, one.since[:10], ", ".join(sorted(one.accounts)) or "-", str(len(one.ids)), one.by, one.reason]
            for one in found]
    command.print_table(["HOLD", "SINCE", "ACCOUNTS", "MAILS", "BY", "REASON"], rows, "no holds", right=(3,))


@hold.command()
@click.argument("name")
@click.option("--reason", required=True, help="Why, for the journal.")
@command.rooted
def remove(where: Paths, name: str, reason: str) -> None:
    """End a hold; its mail may go again when its time is over."""
    log.setup("lanmail", where.log)
    with rights.of_owner(where.archive):
        if name not in retention.read(where).holds:
            command.fail(f"there is no hold '{name}'", os.EX_NOINPUT)
        retention.release(where, name, reason, journal.who())
    log.event("hold-ended", hold=name, reason=reason, by=journal.who())
    click.echo(f"hold {name} ended")
