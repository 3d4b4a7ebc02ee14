"""`lanmail oauth export`, `import` and `rotate-key`: tokens on their way to another server, or under another key."""

import asyncio
import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lanmail import tokens
from lanmail.cli import command
from lanmail.errors import MailError
from lanmail.oauth import exporting, rotation, store
from lanmail.paths import Paths


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input instead of asking.")
@click.option("--keep", is_flag=True, help="Go on here, too: for a copy in a safe place, not for a move.")
@command.rooted
def export_(where: Paths, file: Path, passphrase_stdin: bool, keep: bool) -> None:
    """Write apps, their secrets and all log-ins into FILE, encrypted with a passphrase.

    From then on nothing is renewed here (paused), for two servers that renew the same log-in lock each other out.
    """
    command.settings_of(where)
    if os.path.lexists(file):
        command.fail(f"{file} exists already", os.EX_CANTCREAT)
    passphrase = _passphrase(stdin=passphrase_stdin, new=True)
    if not os.access(file.parent, os.W_OK):
        command.fail(f"{file.parent}: no file can be made there", os.EX_CANTCREAT)
    kept = store.Store(where)
    with _as_owner(where.state):
        records = asyncio.run(_records(kept, keep=keep))
    try:
        parcel = exporting.pack(where, records)
        exporting.write(file, exporting.seal(parcel, passphrase))
    except BaseException:
        if not keep:
            with _as_owner(where.state):
                asyncio.run(exporting.give_back(kept, records))
        raise
    for one in parcel.missing:
        click.echo(f"not packed, hand it over yourself: {one}")
    click.echo(f"{len(parcel.apps)} apps and {len(parcel.grants)} log-ins are in {file}")
    if keep:
        click.echo("nothing was paused here: import it only when this server has stopped")
    else:
        click.echo(f"paused here. On the new server: lanmail oauth import {file.name}")


@contextlib.contextmanager
def _as_owner(directory: Path) -> Iterator[None]:
    """What is written meanwhile, the programs can read; FILE itself belongs to whoever typed the command."""
    user, group = os.geteuid(), os.getegid()
    command.become_owner_of(directory)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


async def _records(kept: store.Store, *, keep: bool) -> list[store.Record]:
    if not keep:
        return await exporting.take(kept)
    return [record for app, address in kept.all() if (record := kept.read(app, address)) is not None]


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input instead of asking.")
@click.option("--replace", is_flag=True, help="Put it in the place of apps and log-ins that are here already.")
@command.rooted
def import_(where: Paths, file: Path, passphrase_stdin: bool, replace: bool) -> None:
    """Take over apps, secrets and log-ins from a FILE that `lanmail oauth export` made, and renew all of them.

    Exit code 1 when some could not be taken over.
    """
    command.settings_of(where)
    try:
        parcel = exporting.open_(file, _passphrase(stdin=passphrase_stdin, new=False))
        command.become_owner_of(where.conf)
        written = exporting.unpack_apps(where, parcel, functools.partial(command.private_file, where), replace=replace)
    except MailError as error:
        command.fail(error.text, os.EX_DATAERR)
    click.echo(f"made on {parcel.made} by {parcel.origin}: {len(parcel.apps)} apps, {len(parcel.grants)} log-ins")
    for name in written:
        click.echo(f"app {name}")
    command.become_owner_of(where.state)
    kept, bad = store.Store(where), False
    kept.prepare()
    for grant in parcel.grants:
        who = f"{grant.get('address')} (app {grant.get('app')})"
        try:
            record = asyncio.run(exporting.unpack_grant(kept, grant, replace=replace))
        except MailError as error:
            click.echo(f"{who}: {error.text}", err=True)
            bad = True
            continue
        if record is None:
            click.echo(f"{who}: is logged in here already, which stays (--replace takes what is in the file)")
            continue
        tokens.request(where, record.app, record.address, "import")
        click.echo(f"{who}: taken over" + (", but needs a log-in" if record.state != store.OK else ""))
    click.echo(f"lanmail-tokend renews them; look with {command.typed()} oauth status")
    if bad:
        click.get_current_context().exit(1)


def _passphrase(*, stdin: bool, new: bool) -> str:
    if stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        text = click.prompt("passphrase", hide_input=True, confirmation_prompt=new)
    if new and len(text) < exporting.SHORTEST:
        command.fail(f"a passphrase has at least {exporting.SHORTEST} characters; the file is only as safe as it",
                     os.EX_DATAERR)
    return str(text)


@click.command("rotate-key")
@click.option("--drop-old", is_flag=True, help="Take away the old keys, once nothing is encrypted with them any more.")
@command.rooted
def rotate_key(where: Paths, drop_old: bool) -> None:
    """Make new keys for the tokens on disk, and encrypt everything with them.

    The old keys stay behind the new ones until --drop-old. Where systemd hands the keys over (LoadCredential=), restart
    the programs in between.
    """
    command.settings_of(where)
    kept = store.Store(where)
    if not drop_old:
        for path in rotation.add_keys(where):
            click.echo(f"a new key is on top of {path}")
    with _as_owner(where.state):
        count = asyncio.run(rotation.encrypt_again(kept))
    if drop_old:
        for path in rotation.drop_old(where):
            click.echo(f"{path} has one key now")
    else:
        click.echo(f"{count} log-ins are encrypted with it; later: {command.typed()} oauth rotate-key --drop-old")
