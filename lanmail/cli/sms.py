"""`lanmail sms`: try the gateway for short messages."""

import asyncio
import os
import time

import click

from lanmail import secret, spool
from lanmail.cli import command
from lanmail.clients import tunnel
from lanmail.errors import MailError
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sms import gateways, gsm7


@click.group("sms", cls=command.Group, short_help="Try the gateway for short messages.")
def sms_() -> None:
    """Short messages when mail comes: the gateway stands in lanmail.toml, the number in an account's file."""


@sms_.command()
@click.argument("number")
@click.option("--text", default="Test of lanmail: äöü ß €", show_default=True, help="What it says.")
@click.option("--dry", is_flag=True, help="Only show what would be handed over.")
@command.rooted
def test(where: Paths, number: str, text: str, dry: bool) -> int:
    """Send one short message to NUMBER now, by the gateway in lanmail.toml.

    Quiet times and caps do not count. Exit code 75 when the gateway does not take it.
    """
    loaded = command.settings_of(where)
    options = loaded.sms
    if not options.gateway:
        command.fail("sms.gateway in lanmail.toml names no gateway: smstools, gammu, http or mail", os.EX_CONFIG)
    try:
        to = gateways.international(number, options.country_code)
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)
    one = gateways.Message(spool.new_id(), to, gsm7.fit(text), "lanmail", "Test", "", time.time())
    alphabet = "GSM" if gsm7.is_gsm(one.text) else "Unicode"
    click.echo(f"to:       {one.to}\ntext:     {one.text}   ({len(one.text)} characters, {alphabet})\n"
               f"gateway:  {options.gateway}, {gateways.place(options)}")
    try:
        if dry:
            _show(one, loaded)
            return os.EX_OK
        command.become_owner_of(where.spool)
        click.echo(f"answer:   {_send(where, loaded, one)}")
    except MailError as error:
        click.echo(f"answer:   {error}")
        return os.EX_TEMPFAIL
    return os.EX_OK


def _show(one: gateways.Message, loaded: Settings) -> None:
    """What a gateway by HTTP would be asked; for the others the lines above say it."""
    if loaded.sms.gateway != "http":
        return
    asked = gateways.request(one, loaded.sms, secret.Secret("***") if loaded.sms.password else secret.NONE)
    click.echo(f"\n{asked.method} {asked.url}")
    for name, value in asked.headers:
        click.echo(f"{name}: {value}")
    click.echo("\n" + b"".join(asked.body).decode())


def _send(where: Paths, loaded: Settings, one: gateways.Message) -> str:
    """Hand it over; what was said. MailError."""
    if loaded.sms.gateway != "mail":
        via = tunnel.of(loaded.outgoing, where.conf)
        return asyncio.run(gateways.send(one, loaded.sms, where, via))
    queue = spool.queue(where)
    try:
        queue.put(*gateways.mail(one, loaded.sms, loaded.server.domain, loaded.server.hostname), one.id)
    finally:
        queue.close()
    return f"queued as a mail, see: lanmail trace {one.id}"
