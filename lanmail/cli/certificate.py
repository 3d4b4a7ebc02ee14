"""`lanmail certificate`: what mail clients are shown."""

import os
from pathlib import Path
from typing import Any

import click

from lanmail import certificates, tls
from lanmail.cli import command
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Show and renew what mail clients are shown.")
def certificate() -> None:
    """The server's certificate, and the authority of our own that signed it."""


@certificate.command()
@command.json_option
@command.rooted
def show(where: Paths, as_json: bool) -> None:
    """Show names, end and fingerprint, to compare with what a mail client shows."""
    loaded = command.settings_of(where)
    shown = [_described(where.conf / loaded.tls.cert, "server")]
    if (where.tls / "ca.pem").exists():
        shown.append(_described(where.tls / "ca.pem", "authority, for mail clients"))
    if as_json:
        command.print_json(shown)
        return
    for number, entry in enumerate(shown):
        if number:
            click.echo()
        for key, value in entry.items():
            click.echo(f"{key:<12} {', '.join(value) if isinstance(value, list) else value}")


def _described(path: Path, what: str) -> dict[str, Any]:
    try:
        found = certificates.load(path)
        fingerprint = tls.fingerprint(path)
    except (OSError, ValueError) as error:
        command.fail(f"{path}: {getattr(error, 'strerror', None) or error}", os.EX_NOINPUT)
    return {
        "what": what,
        "file": str(path),
        "names": certificates.names_of(found),
        "until": f"{found.not_valid_after_utc:%Y-%m-%d}",
        "sha256": fingerprint,
    }


@certificate.command()
@command.rooted
def renew(where: Paths) -> None:
    """Sign the server's certificate anew by our own authority, with the same key and names.

    Running programs show it from the next connection on; mail clients that know the authority notice nothing.
    """
    try:
        done = certificates.renew(where, days=_ALWAYS)
    except (OSError, ValueError) as error:
        command.fail(f"not renewed: {error}", os.EX_CANTCREAT)
    if not done:
        command.fail(
            "not renewed: the certificate is not signed by our own authority (conf/tls/ca.pem)", os.EX_UNAVAILABLE
        )
    path = where.tls / "server.pem"
    click.echo(f"{path} is good until {certificates.load(path).not_valid_after_utc:%Y-%m-%d}")


_ALWAYS = 100_000  # days
