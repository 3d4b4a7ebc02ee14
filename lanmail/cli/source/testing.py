"""`lanmail source test`: step by step to a mailbox elsewhere, without fetching or changing anything."""

import os
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from lanmail import printable, secret
from lanmail.cli import command, values
from lanmail.cli.source import places
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.settings import Settings
from lanmail.sources import Probe, looking

_CODES = {"settings": os.EX_CONFIG, "login": os.EX_NOPERM, "server": os.EX_UNAVAILABLE}


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


def look(where: Paths, loaded: Settings, account: str, name: str, source: Source, say: Callable[[str], None],
         password: Secret = secret.NONE) -> Probe:
    """Try a source, with `password` where there is one. Failed."""
    try:
        return looking.look(where, loaded, account, name, source, say, password)
    except looking.Failed as error:
        raise Failed(str(error), _CODES[error.kind], error.advice) from None


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
