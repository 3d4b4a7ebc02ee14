"""`lanmail smime`: who signs, to whom can be encrypted, and how long the certificates are good."""

from typing import Any

import click

from lanmail import accounts, outgoing, rewriting, smime
from lanmail.cli import command
from lanmail.errors import MailError
from lanmail.paths import Paths


@click.group("smime", cls=command.Group, short_help="Certificates that sign and encrypt mail (S/MIME).")
def smime_() -> None:
    """Certificates that sign and encrypt mail to the outside.

    Own ones are named in outgoing.smime of lanmail.toml or of an account; those of recipients lie in conf/smime/certs.
    """


@smime_.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List all certificates; exit code 1 when one that signs cannot be used or is not good now."""
    rows = [*_own(where), *_recipients(where)]
    if as_json:
        command.print_json(rows)
    else:
        command.print_table(["address", "for", "until", ""],
                            [[row["address"], row["for"], row["until"] or "-", row["problem"] or "ok"] for row in rows],
                            "no certificates")
    if any(row["problem"] and row["for"] == "signing" for row in rows):
        click.get_current_context().exit(1)


def _own(where: Paths) -> list[dict[str, Any]]:
    loaded = command.settings_of(where)
    directory = accounts.Directory(where, lambda: loaded)
    rows = []
    for name in directory.names():
        account = directory.account(name)
        if account is None:
            continue
        section = outgoing.of(loaded.outgoing, account.outgoing).smime
        if not section.sign:
            continue
        try:
            rows.append(_row(name, "signing", smime.own(section, where.conf).certificate))
        except MailError as error:
            rows.append({"address": name, "for": "signing", "until": None, "problem": error.text})
    return rows


def _recipients(where: Paths) -> list[dict[str, Any]]:
    found = smime.directory(where.conf / rewriting.CERTIFICATES)
    return [_row(name, "encrypting", found[name]) for name in sorted(found)]


def _row(name: str, use: str, certificate: smime.Certificate) -> dict[str, Any]:
    good = smime.is_good(certificate, smime.now())
    return {"address": name, "for": use, "until": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
            "problem": None if good else "not good now"}
