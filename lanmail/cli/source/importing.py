"""`lanmail source import`: what fetchmail or getmail fetched is fetched by us from now on."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lanmail import accounts, names, printable
from lanmail.cli import command
from lanmail.cli.source import carried, fetchmail, getmail, places, writing
from lanmail.cli.source.carried import Mailbox
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import register

LIMIT = 1 << 20
Reader = Callable[[str], tuple[list[Mailbox], list[str]]]


@dataclass(slots=True)
class Plan:
    """What becomes of one mailbox: a source of an account, or the reason why not."""

    mailbox: Mailbox
    account: str = ""
    name: str = ""
    problem: str = ""

    @property
    def place(self) -> str:
        return f"{self.account}/{self.name}" if self.name else ""


@click.command("import", short_help="Take over what fetchmail or getmail fetched.")
@click.option("--from-fetchmailrc", "fetchmailrc", type=click.Path(path_type=Path), metavar="FILE",
              help="The run control file of fetchmail; - is standard input.")
@click.option("--from-getmailrc", "getmailrc", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
              help="A configuration file of getmail, repeatable.")
@click.option("--account", "name", metavar="NAME", help="The account that gets all of it, whatever the file says.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be set up.")
@command.json_option
@command.rooted
def import_(where: Paths, fetchmailrc: Path | None, getmailrc: tuple[Path, ...], name: str | None, dry_run: bool,
            as_json: bool) -> None:
    """Make sources of the mailboxes in another program's configuration.

    Passwords go into files of their own in conf/secrets/. Whatever cannot come along is told, line by line. A mailbox
    that is a source already is left as it is, so the same command may be given again.

    Switch the other program off before the first fetch, or both fetch the same mail. Exit code 65 when a mailbox could
    not be taken over.
    """
    loaded = command.settings_of(where)
    files: list[tuple[Path, Reader]] = [(fetchmailrc, fetchmail.mailboxes)] if fetchmailrc else []
    files += [(path, getmail.mailboxes) for path in getmailrc]
    if not files:
        raise click.UsageError("name a file with --from-fetchmailrc or --from-getmailrc")
    directory = accounts.Directory(where, lambda: loaded)
    if name is not None and directory.account(name) is None:
        command.fail(f"there is no account '{name}'", os.EX_NOUSER)
    plans: list[Plan] = []
    told: list[dict[str, Any]] = []
    for path, reader in files:
        found, general = _read(path, reader)
        for mailbox in found:
            plans.append(_plan(where, loaded, directory, mailbox, name, plans))
        described = [_described(plan) for plan in plans[len(plans) - len(found):]]
        told.append({"file": str(path), "remarks": general, "mailboxes": described})
    if not dry_run:
        for plan in plans:
            if not plan.problem:
                writing.make(where, plan.account, plan.name, plan.mailbox.keys, plan.mailbox.password)
    if as_json:
        command.print_json({"dry_run": dry_run, "files": told})
    else:
        _tell(told, dry_run=dry_run)
    if any(plan.problem and not plan.name for plan in plans):
        click.get_current_context().exit(os.EX_DATAERR)


def _read(path: Path, reader: Reader) -> tuple[list[Mailbox], list[str]]:
    try:
        raw = sys.stdin.buffer.read(LIMIT) if str(path) == "-" else path.read_bytes()[:LIMIT]
    except OSError as error:
        command.fail(f"{path}: {error.strerror}", os.EX_NOINPUT)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    try:
        return reader(text)
    except carried.Unreadable as error:
        return command.fail(f"{path}: {error}", os.EX_DATAERR)


def _plan(where: Paths, loaded: Settings, directory: accounts.Directory, mailbox: Mailbox, wanted: str | None,
          others: list[Plan]) -> Plan:
    plan = Plan(mailbox)
    account = wanted or _account(directory, mailbox)
    if not account:
        names = " ".join(mailbox.local) or "whoever started it"
        plan.problem = f"its mail was for {names}, and no account here is called so; name one with --account"
        return plan
    plan.account = account.lower()
    sources = [place for place in places.all_of(where, loaded) if place.account == plan.account]
    for place in sources:
        if all(getattr(place.source, key) == mailbox.keys[key] for key in ("host", "user", "protocol")):
            plan.name, plan.problem = place.name, f"is there already: {place}"
            return plan
    taken = {place.name for place in sources} | {one.name for one in others if one.account == plan.account}
    plan.name = register.name_for(mailbox.keys["host"], taken)
    return plan


def _account(directory: accounts.Directory, mailbox: Mailbox) -> str:
    """Who gets the mail; the postmaster has a collective mailbox."""
    if mailbox.keys.get("multidrop"):
        return directory.postmaster() or ""
    wished = [*mailbox.local, mailbox.keys["user"].partition("@")[0]]
    return next((name for name in wished if not names.account_problem(name) and directory.account(name)), "")


def _described(plan: Plan) -> dict[str, Any]:
    return {"line": plan.mailbox.line, "mailbox": plan.mailbox.place, "source": plan.place or None,
            "problem": plan.problem or None, "password": bool(plan.mailbox.password), "keys": plan.mailbox.keys,
            "remarks": [{"line": one.line, "text": one.text} for one in plan.mailbox.remarks]}


def _tell(told: list[dict[str, Any]], *, dry_run: bool) -> None:
    made = 0
    for file in told:
        click.echo(f"{file['file']}:")
        for one in file["mailboxes"]:
            where = f"not taken over: {one['problem']}" if one["problem"] else f"→ {one['source']}"
            click.echo(f"  {printable.line(one['mailbox'])} {where}")
            made += one["problem"] is None
            for remark in one["remarks"]:
                click.echo(f"    line {remark['line']}: {remark['text']}")
        for text in file["remarks"]:
            click.echo(f"  {text}")
    click.echo(f"{made} {'source' if made == 1 else 'sources'} {'would be made' if dry_run else 'made'}")
    if made and not dry_run:
        click.echo("now switch the other program off, and try each with: lanmail source test NAME")
