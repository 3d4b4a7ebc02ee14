"""`lanmail einvoice`: e-invoice mailboxes, what they do with a mail, and what they got."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from lanmail import config, printable, units
from lanmail.accounts import Directory
from lanmail.cli import account, command, values
from lanmail.invoices import ledger
from lanmail.invoices.examiner import Examiner
from lanmail.paths import Paths
from lanmail.rules import einvoice as rule
from lanmail.settings import Account

_LAST = 10


@click.group(cls=command.Group, short_help="E-invoice mailboxes: mail with an e-invoice goes its own way.")
def einvoice() -> None:
    """E-invoice mailboxes: mail with an e-invoice (EN 16931: XRechnung, ZUGFeRD) goes its own way.

    The settings stand in [einvoice] of the account's file; a change counts at once.
    """


@einvoice.command()
@click.argument("name")
@click.option("--forward", metavar="TO", help="Who gets mail with an e-invoice; several: \"a;b\".")
@click.option("--keep/--no-keep", default=None, help="Leave a copy of such mail here, or not.")
@click.option("--other-forward", metavar="TO", help="Who gets all other mail.")
@click.option("--other-keep/--no-other-keep", default=None, help="Leave a copy of that here, or not.")
@command.rooted
def on(where: Paths, name: str, forward: str | None, keep: bool | None, other_forward: str | None,
       other_keep: bool | None) -> None:
    """Make an account an e-invoice mailbox; what is not given stays as it was."""
    path = account.existing(where, name)
    given = {"forward": forward, "other_forward": other_forward}
    changes: dict[str | tuple[str, ...], Any] = {("einvoice", "enabled"): True}
    for key, text in given.items():
        if text is not None:
            changes["einvoice", key] = _targets(where, text)
    for key, value in {"keep": keep, "other_keep": other_keep}.items():
        if value is not None:
            changes["einvoice", key] = value
    config.edit(path, changes)
    found = _account(where, name)
    for line in _told(found):
        click.echo(line)
    for line in _warnings(found):
        click.echo(f"warning: {line}", err=True)


@einvoice.command()
@click.argument("name")
@command.rooted
def off(where: Paths, name: str) -> None:
    """Make it an ordinary mailbox again; the other settings stay in the file."""
    path = account.existing(where, name)
    config.edit(path, {("einvoice", "enabled"): False})
    click.echo(f"{path.stem} is no e-invoice mailbox")


@einvoice.command()
@click.argument("name")
@command.json_option
@command.rooted
def show(where: Paths, name: str, as_json: bool) -> None:
    """Show what an account does, and the e-invoices it got last."""
    found = _account(where, name)
    lines = ledger.read(rule.file_of(where, found.name))
    if as_json:
        command.print_json({"name": found.name, **found.einvoice.model_dump(mode="json"),
                            "warnings": _warnings(found), "invoices": len(lines),
                            "last": [{"id": one.id, "kind": one.kind, "seller": one.seller, "number": one.number}
                                     for one in lines[-_LAST:]]})
        return
    for line in [*_told(found), *(f"warning: {line}" for line in _warnings(found)), ""]:
        click.echo(line)
    rows = [[one.id, one.kind, one.seller, one.number] for one in lines[-_LAST:]]
    command.print_table(["ID", "KIND", "SELLER", "NUMBER"], rows, "no e-invoices yet")
    if len(lines) > _LAST:
        click.echo(f"and {len(lines) - _LAST} before these, in {rule.file_of(where, found.name)}")


@einvoice.command("test")
@click.argument("name")
@click.argument("message", metavar="MESSAGE")
@command.json_option
@command.rooted
def test_(where: Paths, name: str, message: str, as_json: bool) -> None:
    """Say what the account would do with a mail (a file, - is standard input), and why; nothing is sent or kept.

    Exit code 0 when it has an e-invoice, 1 when it has none, 75 when that cannot be decided.
    """
    found, loaded = _account(where, name), command.settings_of(where)
    data = sys.stdin.buffer.read() if message == "-" else Path(message).read_bytes()
    with Examiner(rule.limits(loaded)) as examiner:
        result = rule.single(examiner.examine(data, rule.wish(found.einvoice, loaded)))
    lines = [ledger.line("", one) for one, _ in result.invoices]
    before = ledger.earlier(ledger.read(rule.file_of(where, found.name)), lines)
    plan = rule.decide(found.einvoice, result, before)
    verdict = result.verdict
    said = {"name": found.name, "enabled": found.einvoice.enabled, **verdict.as_json(message),
            "count": len(lines), "duplicate_of": plan.duplicate_of, "forwarded_to": plan.targets,
            "copy_stays": plan.keep, "header": plan.label.decode().replace("\n\t", " ").strip()}
    if as_json:
        command.print_json(said)
    else:
        _print(found, said, result.verdict.is_einvoice)
    click.get_current_context().exit(0 if verdict.is_einvoice else os.EX_TEMPFAIL if verdict.kind == "undecided" else 1)


def _print(found: Account, said: dict[str, Any], good: bool) -> None:
    for key in ("kind", "reason", "format", "profile", "number", "issue_date", "seller", "gross", "currency",
                "duplicate_of", "header"):
        if said[key]:
            click.echo(f"{key.replace('_', ' '):<14} {printable.line(str(said[key]))}")
    click.echo(f"{'forwarded to':<14} {', '.join(said['forwarded_to']) or 'nobody'}")
    click.echo(f"{'copy':<14} {'stays' if said['copy_stays'] else 'none'}")
    if good and (found.einvoice.save or found.einvoice.post):
        click.echo(f"{'XML':<14} to {' and '.join(filter(None, (found.einvoice.save, found.einvoice.post)))}")
    if not found.einvoice.enabled:
        click.echo(f"but {found.name} is no e-invoice mailbox; make it one: lanmail einvoice on {found.name}")


def _account(where: Paths, name: str) -> Account:
    path = account.existing(where, name)
    return config.load_account(path, command.settings_of(where).account_defaults)


def _targets(where: Paths, text: str) -> list[str]:
    """What a list of targets means; ends with 65 or 67 when one cannot be reached."""
    try:
        targets = units.forward_list(text)
    except ValueError as error:
        command.fail(str(error), os.EX_DATAERR)
    loaded = command.settings_of(where)
    directory = Directory(where, lambda: loaded)
    for target in targets:
        local, _, domain = target.rpartition("@")
        if not directory.reaches(local or domain, domain.lower() if local else ""):
            command.fail(f"there is no account or alias '{target}'", os.EX_NOUSER)
    return list(targets)


def _told(found: Account) -> list[str]:
    own = found.einvoice
    if not own.enabled:
        return [f"{found.name} is no e-invoice mailbox; make it one: lanmail einvoice on {found.name}"]
    lines = [f"{found.name} is an e-invoice mailbox",
             f"{'mail with an e-invoice':<24} {_way(own.forward, own.keep)}",
             f"{'all other mail':<24} {_way(own.other_forward, own.other_keep)}",
             f"{'duplicates':<24} {'marked' if own.duplicates == 'mark' else 'marked, and only kept here'}"]
    lines += [f"{'the XML':<24} {place}" for place in (own.save, own.post) if place]
    opened = [word for word, wanted in (("ZIP", own.zip), ("winmail.dat", own.tnef)) if wanted]
    return [*lines, f"{'opened':<24} {values.words(opened)}"] if opened else lines


def _way(targets: list[str], keep: bool) -> str:
    if not targets:
        return "stays here"
    return f"goes on to {', '.join(targets)}, {'and a copy stays' if keep else 'without a copy here'}"


def _warnings(found: Account) -> list[str]:
    if not found.einvoice.enabled:
        return []
    pairs = (("forward.to", found.forward.to), ("sms.to", found.sms.to))
    return [f"{key} does not count in an e-invoice mailbox" for key, value in pairs if value]
