"""`lanmail archive show`: read one mail."""

import os
from typing import Any

import click

from lanmail import charset, envelope, message, printable
from lanmail.archiving import finding, index, store
from lanmail.cli import command, values
from lanmail.cli.archive import opening
from lanmail.mime import decoding, htmltext, textparts, textsearch, tree
from lanmail.paths import Paths

_SHOWN = ("From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID")
_LONGEST = 1 << 20  # characters of text


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
        head, data = _read(where, _file(reader, mail, sent))
    if raw:
        click.echo(data, nl=False)
        return
    if as_json:
        found = {**opening.data(mail), "text": _text(data)}
        if mail.is_own:
            found["envelope"] = _envelope(head)
        command.print_json(found)
        return
    for name, value in _facts(mail, data):
        click.echo(f"{name + ':':<13}{printable.lines(value)}")
    if with_envelope:
        for name, value in _envelope_facts(head):
            click.echo(f"{name + ':':<13}{printable.lines(value)}")
    click.echo()
    click.echo(printable.lines(_text(data)).rstrip("\n"))


def _file(reader: index.Reader, mail: finding.Found, sent: bool) -> str:
    if not sent:
        return mail.file
    forms = finding.sent_forms(reader, mail)
    if not forms:
        command.fail("it went out as it is, or not at all: there is no other form of it", os.EX_NOINPUT)
    return forms[-1]


def _read(where: Paths, file: str) -> tuple[envelope.Envelope, bytes]:
    try:
        return store.read(where.archive, {"file": file})
    except (FileNotFoundError, ValueError) as error:
        command.fail(f"the archive has no sound file {file} ({error}); see: lanmail archive verify", os.EX_DATAERR)


def _facts(mail: finding.Found, data: bytes) -> list[tuple[str, str]]:
    header = data[: message.header_end(data)]
    found = [(name, " ".join(message.decode_words(textsearch.unfolded(value)).split()))
             for name in _SHOWN for value in message.fields(header, name.encode())]
    names = ", ".join(name or "(without a name)" for name in mail.attachments)
    accounts = ", ".join(f"{name} ({direction})" for name, direction in mail.accounts)
    return [*found, *([("Attachments", names)] if names else []), ("Archived", opening.moment(mail.arrived)),
            ("Accounts", accounts), ("Size", values.size(mail.size)), ("Id", mail.id)]


def _envelope(head: envelope.Envelope) -> dict[str, Any]:
    return {"sender": "" if head.sender is None else str(head.sender),
            "recipients": [str(one.address) for one in head.recipients]}


def _envelope_facts(head: envelope.Envelope) -> list[tuple[str, str]]:
    said = _envelope(head)
    return [("Sender", f"<{said['sender']}>"), *(("Recipient", f"<{one}>") for one in said["recipients"])]


def _text(data: bytes) -> str:
    """The texts of a message one behind the other; of alternatives the plain one."""
    found = []
    nodes = [tree.outline(data)]
    for node in nodes:
        plain = [one for one in node.parts if _subtype(one) == b"plain"]
        alternatives = node.kind == tree.MULTIPART and _subtype(node) == b"alternative"
        nodes += plain if alternatives and plain else node.parts
        if textparts.is_searched(node):
            body = decoding.decode(data[node.middle : node.end], node.content.encoding)
            text = charset.decode(body, node.content.charset)
            found.append(htmltext.visible(text, _LONGEST) if _subtype(node) == b"html" else text)
    return "\n".join(found)[:_LONGEST]


def _subtype(node: tree.Node) -> bytes:
    return node.content.subtype.lower() if node.content.type else b"plain"
