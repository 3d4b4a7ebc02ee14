"""`lanmail archive show`: read one mail."""

import os

import click

from lanmail import envelope, printable
from lanmail.archiving import finding, index, reading
from lanmail.cli import command, values
from lanmail.cli.archive import opening
from lanmail.paths import Paths


@click.command(short_help="Show one mail: what its header says, and its text.")
@click.argument("id")
@click.option("--raw", is_flag=True, help="The message as it is, octet by octet.")
@click.option("--envelope", "with_envelope", is_flag=True, help="Sender and all recipients, blind copies too.")
@click.option("--sent", is_flag=True, help="The form in which it went out, where that was changed.")
@opening.account_option
@command.json_option
@command.rooted
def show(where: Paths, id: str, raw: bool, with_envelope: bool, sent: bool, accounts: tuple[str, ...],
         as_json: bool) -> None:
    """Show one mail of the archive: its header in short, its text, and what is attached."""
    with opening.reader(where) as reader:
        mail = opening.find(reader, id, opening.scope_of(accounts))
        if (with_envelope or sent) and not mail.is_own:
            command.fail("that is only shown to who sent the mail, or without --account", os.EX_NOPERM)
        head, data = _read(where, mail, _file(reader, mail, sent))
    if raw:
        click.echo(data, nl=False)
        return
    if as_json:
        found = {**reading.data(mail), "text": reading.texts(data)}
        if mail.is_own:
            found["envelope"] = reading.envelope_of(head)
        command.print_json(found)
        return
    for name, value in _facts(mail, data):
        click.echo(f"{name + ':':<13}{printable.lines(value)}")
    if with_envelope:
        for name, value in _envelope_facts(head):
            click.echo(f"{name + ':':<13}{printable.lines(value)}")
    click.echo()
    click.echo(printable.lines(reading.texts(data)).rstrip("\n"))


def _file(reader: index.Reader, mail: finding.Found, sent: bool) -> str:
    if not sent:
        return mail.file
    forms = finding.sent_forms(reader, mail)
    if not forms:
        command.fail("it went out as it is, or not at all: there is no other form of it", os.EX_NOINPUT)
    return forms[-1]


def _read(where: Paths, mail: finding.Found, file: str) -> tuple[envelope.Envelope, bytes]:
    try:
        return reading.read(where, mail, file)
    except (FileNotFoundError, ValueError) as error:
        command.fail(f"the archive has no sound file {file} ({error}); see: lanmail archive verify", os.EX_DATAERR)


def _facts(mail: finding.Found, data: bytes) -> list[tuple[str, str]]:
    names = ", ".join(name or "(without a name)" for name in mail.attachments)
    accounts = ", ".join(f"{name} ({direction})" for name, direction in mail.accounts)
    return [*reading.facts(data), *([("Attachments", names)] if names else []),
            ("Archived", opening.moment(mail.arrived)), ("Accounts", accounts), ("Size", values.size(mail.size)),
            ("Id", mail.id)]


def _envelope_facts(head: envelope.Envelope) -> list[tuple[str, str]]:
    said = reading.envelope_of(head)
    return [("Sender", f"<{said['sender']}>"), *(("Recipient", f"<{one}>") for one in said["recipients"])]
