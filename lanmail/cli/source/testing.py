"""`lanmail source test`: step by step to a mailbox elsewhere, without fetching or changing anything."""

import asyncio
import os
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from lanmail import imapwire, incoming, pop3wire, printable, secret, sources, spool, tlsclient, tunnel
from lanmail.cli import command, values
from lanmail.cli.source import explain, places
from lanmail.errors import MailError
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.settings import Settings
from lanmail.smtplogin import Credentials
from lanmail.sources import Probe, Refused, Visit

PATIENCE = 30.0  # seconds that a server may be silent while a person looks on


class Failed(Exception):
    """It did not work; `code` is the exit code, `advice` what helps."""

    def __init__(self, text: str, code: int, advice: list[str]) -> None:
        super().__init__(text)
        self.code, self.advice = code, advice

    def told(self, *more: str) -> str:
        """All of it, a line each."""
        return "\n  ".join([printable.line(str(self)), *self.advice, *more])


@click.command("test", short_help="Log in at a mailbox elsewhere and look, without fetching.")
@click.argument("name")
@command.json_option
@command.rooted
def test(where: Paths, name: str, as_json: bool) -> None:
    """Connect to the mailbox NAME, log in and look what is there; nothing is fetched or changed.

    Exit code 77 when the log-in is refused, 69 when the server cannot be used, 78 when something is not set.
    """
    loaded = command.settings_of(where)
    place = places.one(where, loaded, name)
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        if not as_json:
            click.echo(f"  {text}")

    if not as_json:
        click.echo(f"{place}: {place.source.user or '(nobody)'} at {place.source.host or '(no host)'} "
                   f"by {place.source.protocol.upper()}")
    try:
        found = look(where, loaded, place.account, place.name, place.source, say)
    except Failed as failed:
        if as_json:
            command.print_json({"source": str(place), "steps": told, "problem": str(failed), "advice": failed.advice})
            raise click.exceptions.Exit(failed.code) from None
        new = [f"a new password: lanmail source passwd {place}"] if failed.code == os.EX_NOPERM else []
        command.fail(failed.told(*new), failed.code)
    if as_json:
        command.print_json({"source": str(place), "steps": told, "problem": None, **_described(found)})
    else:
        tell(found)
        click.echo("ok: mail can be fetched")


class _Trial(Visit):
    """A visit with a password that is not stored yet."""

    password: Secret = secret.NONE

    async def credentials(self) -> Credentials | None:
        if not self.password:
            return await super().credentials()
        return Credentials(self.settings.user, self.password)


def look(where: Paths, loaded: Settings, account: str, name: str, source: Source, say: Callable[[str], None],
         password: Secret = secret.NONE) -> Probe:
    """Try a source, with `password` where there is one. Failed."""
    problem = incoming.problem(source) if source.interface != "disabled" else ""
    if problem:
        raise Failed(problem, os.EX_CONFIG, [])
    patient = source.model_copy(update={"timeout": min(source.timeout, PATIENCE)})
    try:
        return asyncio.run(_look(where, loaded, account, name, patient, say, password))
    except MailError as error:
        code = os.EX_NOPERM if isinstance(error, Refused) else os.EX_UNAVAILABLE
        raise Failed(error.text, code, explain.advice(error.text, source.host) + _shown(source, where, error)) from None
    except (imapwire.Broken, pop3wire.Broken, OSError, TimeoutError) as error:
        text = f"{source.host}: {error or type(error).__name__}"
        raise Failed(text, os.EX_UNAVAILABLE, explain.advice(text, source.host)) from None


def _shown(source: Source, where: Paths, error: MailError) -> list[str]:
    """The certificate that was not trusted, to be compared with the right one."""
    if "not trusted" not in error.text or incoming.tls_of(source) != "implicit":
        return []
    try:
        return [f"it shows: {asyncio.run(_certificate(source, where))}"]
    except (MailError, OSError, TimeoutError):
        return []


async def _certificate(source: Source, where: Paths) -> str:
    context = tlsclient.context(tlsclient.Wish(source.tls_min, source.tls_max, verify=False))
    made = await tunnel.connect(source.host, incoming.port_of(source), tunnel.of(source, where.conf), PATIENCE)
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(sock=made, ssl=context, server_hostname=source.host)
    found = tlsclient.certificate(writer.get_extra_info("ssl_object"))
    writer.transport.abort()
    return found


async def _look(where: Paths, loaded: Settings, account: str, name: str, source: Source,
                say: Callable[[str], None], password: Secret) -> Probe:
    driver = sources.make(source.protocol)
    queue = spool.queue(where)
    try:
        trial = _Trial(where, loaded, account, name, source, queue)
        trial.password = password
        return await driver.probe(trial, say)
    finally:
        await driver.close()
        queue.close()


def _described(found: Probe) -> dict[str, Any]:
    return {**asdict(found), "oldest": found.oldest or None}


def tell(found: Probe) -> None:
    """What was found, a line each."""
    lines = {"banner": found.banner, "TLS": found.tls or "none: everything goes in clear",
             "certificate": found.certificate, "logged in by": found.login,
             "capabilities": " ".join(found.capabilities), "mails": f"{found.messages} ({values.size(found.octets)})",
             "oldest": found.oldest, "folders": ", ".join(found.folders)}
    for name, text in lines.items():
        if text:
            click.echo(textwrap.fill(printable.line(text), shutil.get_terminal_size().columns - 1,
                                     initial_indent=f"  {name:<13} ", subsequent_indent=" " * 16,
                                     break_long_words=False, break_on_hyphens=False))
