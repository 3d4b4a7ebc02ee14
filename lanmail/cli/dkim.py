"""`lanmail dkim`: keys that sign mail to the outside, and whether DNS has their public halves."""

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from lanmail import config, dkim, units
from lanmail.cli import command
from lanmail.clients import resolver
from lanmail.errors import MailError
from lanmail.outgoing import DkimKey
from lanmail.paths import Paths

TXT_STRING = 255  # RFC 1035 §3.3: octets of one string of a TXT record
_TAG = re.compile(r"(?:^|;)\s*([A-Za-z]\w*)\s*=\s*([^;]*)")


@click.group("dkim", cls=command.Group, short_help="Sign mail to the outside (DKIM).")
def dkim_() -> None:
    """Keys that sign mail to the outside.

    relay signs what accounts, devices and programs of the office send, when a key for the domain of its From stands in
    dkim.keys. Receivers find the public half in DNS.
    """


@dkim_.command()
@click.argument("domain")
@click.option("--selector", help="Name of the key; a year and month by default, so that the next one gets another.")
@click.option("--type", "kind", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True,
              help="Everybody understands RSA; Ed25519 is for a second signature beside it.")
@click.option("--bits", type=click.IntRange(1024, 4096), default=2048, show_default=True, help="Length of an RSA key.")
@command.rooted
def genkey(where: Paths, domain: str, selector: str | None, kind: str, bits: int) -> None:
    """Make a key for DOMAIN, note it in lanmail.toml, and print the DNS record to be published.

    Mail is signed from now on, so publish the record first if you can wait: relay takes the setting over when it is
    reloaded.
    """
    try:
        domain = units.domain(domain)
        name = units.domain(selector or time.strftime(f"%Y%m{'e' if kind == 'ed25519' else ''}"))
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)
    keys = command.settings_of(where).dkim.keys
    if any(one.domain == domain and one.selector == name for one in keys):
        command.fail(f"there is a key {name} for {domain} already; choose another --selector", os.EX_CANTCREAT)
    file = f"dkim/{domain}/{name}.pem"
    _make(where, where.conf / file, kind, bits)
    known = [{"domain": one.domain, "selector": one.selector, "key": one.key} for one in keys]
    config.edit(where.config_file, {("dkim", "keys"): [*known, {"domain": domain, "selector": name, "key": file}]})
    click.echo(f"made {where.conf / file} and noted it in {where.config_file}")
    click.echo(f"\npublish this in the DNS of {domain}:\n")
    click.echo(_zone_line(dkim.load(where.conf / file, domain, name)))
    click.echo(f"\nthen: {command.typed()} dkim check, and reload relay (SIGHUP, systemctl reload lanmail-relay)")


def _make(where: Paths, path: Path, kind: str, bits: int) -> None:
    private = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, bits)
    data = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    if os.path.lexists(path):
        command.fail(f"{path} exists already", os.EX_CANTCREAT)
    command.private_file(where, path, data)


def _zone_line(key: dkim.Key) -> str:
    """A line for a zone file, its text in strings as long as DNS allows."""
    text = dkim.record(key)
    strings = " ".join(f'"{text[start : start + TXT_STRING]}"' for start in range(0, len(text), TXT_STRING))
    return f"{key.selector}._domainkey.{key.domain}. IN TXT ( {strings} )"


@dkim_.command("list")
@command.json_option
@command.rooted
def list_(where: Paths, as_json: bool) -> None:
    """List the keys with their DNS records."""
    rows = [_known(where, one) for one in command.settings_of(where).dkim.keys]
    if as_json:
        command.print_json(rows)
        return
    command.print_table(
        ["domain", "selector", "algorithm", "key"],
        [[row["domain"], row["selector"], row["algorithm"] or row["problem"], row["key"]] for row in rows],
        f"no keys; make one with {command.typed()} dkim genkey DOMAIN")
    for row in rows:
        if row["record"]:
            click.echo(f"\n{row['zone']}")


def _known(where: Paths, one: DkimKey) -> dict[str, Any]:
    row: dict[str, Any] = {"domain": one.domain, "selector": one.selector, "key": one.key, "algorithm": None,
                           "record": None, "zone": None, "problem": None}
    try:
        key = dkim.load(where.conf / one.key, one.domain, one.selector)
    except MailError as error:
        return row | {"problem": error.text}
    return row | {"algorithm": key.algorithm, "record": dkim.record(key), "zone": _zone_line(key)}


@dkim_.command()
@command.json_option
@command.rooted
def check(where: Paths, as_json: bool) -> None:
    """Ask DNS for the record of each key and compare; exit code 1 when one is missing or another."""
    loaded = command.settings_of(where)
    asked = resolver.Resolver(lambda: loaded.relay.resolver)
    rows = []
    for one in loaded.dkim.keys:
        row = _known(where, one)
        if row["record"]:
            key = dkim.load(where.conf / one.key, one.domain, one.selector)
            row["problem"] = asyncio.run(_compare(asked, key))
        rows.append(row)
    if as_json:
        command.print_json(rows)
    else:
        command.print_table(["domain", "selector", "DNS"],
                            [[row["domain"], row["selector"], row["problem"] or "ok"] for row in rows], "no keys")
        for row in rows:
            if row["problem"] and row["zone"]:
                click.echo(f"\nto be published:\n{row['zone']}")
    if any(row["problem"] for row in rows):
        click.get_current_context().exit(1)


async def _compare(asked: resolver.Resolver, key: dkim.Key) -> str | None:
    """What is wrong with the published record."""
    name = f"{key.selector}._domainkey.{key.domain}"
    try:
        records = await asked.txt(name)
    except MailError as error:
        return error.text
    found = [dict(_TAG.findall(text)) for text in records]
    keys = ["".join(tags["p"].split()) for tags in found if "p" in tags]
    if not keys:
        return f"{name} has no DKIM record"
    if len(keys) > 1:
        return f"{name} has {len(keys)} records, which counts as none (RFC 6376 §3.6.2.2)"
    if not keys[0]:
        return "revoked: p= is empty"
    return None if keys[0] == dict(_TAG.findall(dkim.record(key)))["p"] else "another key is published"
