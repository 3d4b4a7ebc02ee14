"""`lanmail webspace`: put our PHP scripts onto a web space, and see that they work there."""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Any

import click

from lanmail import accounts, config, outgoing, paths, transports, webspace
from lanmail.cli import account, command
from lanmail.errors import MailError
from lanmail.outgoing import Outgoing
from lanmail.transports.webspace import Transport

PASSWORD_LENGTH = 48


@click.group("webspace", cls=command.Group, short_help="Send by a web space: upload and try the PHP scripts.")
def webspace_() -> None:
    """Our PHP scripts on a web space (transport = "webspace")."""


@webspace_.command()
@click.argument("name", metavar="ACCOUNT", required=False)
@click.option("--global", "everybody", is_flag=True, help="The web space of [outgoing] in lanmail.toml.")
@click.option("--yes", is_flag=True, help="Take the key that the SFTP server shows for the right one, without asking.")
@command.rooted
def upload(where: paths.Paths, name: str | None, everybody: bool, yes: bool) -> None:
    """Upload the scripts to the web space of ACCOUNT, or --global, and try the call.

    Makes a script password when none is named. May be repeated at any time; the scripts must stay where they are.
    """
    file = _file(where, name, everybody)
    _make_password(where, file, name, _way(where, name))
    while True:
        way = _way(where, name)
        try:
            asyncio.run(_upload(way, _house(where)))
        except MailError as error:
            shown = getattr(error, "fingerprint", "")
            if not shown or way.webspace.host_key:
                command.fail(error.text, os.EX_UNAVAILABLE)
            click.echo(f"sftp://{way.webspace.host} shows the key {shown}")
            if not yes and not click.confirm("Is it the right one (compare with what the provider publishes)?"):
                command.fail("nothing was uploaded", os.EX_NOPERM)
            config.edit(file, {("outgoing", "webspace", "host_key"): shown})
        else:
            break
    click.echo("the web space is ready")


@webspace_.command()
@click.argument("name", metavar="ACCOUNT", required=False)
@click.option("--global", "everybody", is_flag=True, help="The web space of [outgoing] in lanmail.toml.")
@command.rooted
def check(where: paths.Paths, name: str | None, everybody: bool) -> None:
    """Put a file there and call the script, without sending anything."""
    _file(where, name, everybody)
    try:
        asyncio.run(Transport(_house(where)).probe(_way(where, name), name, click.echo))
    except MailError as error:
        command.fail(error.text, os.EX_UNAVAILABLE)


def _file(where: paths.Paths, name: str | None, everybody: bool) -> Path:
    """The file with the settings that are meant."""
    if (name is None) is not everybody:
        command.fail("name an ACCOUNT, or say --global", os.EX_USAGE)
    return where.config_file if name is None else account.existing(where, name)


def _way(where: paths.Paths, name: str | None) -> Outgoing:
    loaded = command.settings_of(where)
    if name is None:
        return loaded.outgoing
    own = accounts.Directory(where, lambda: loaded).account(name)
    return outgoing.of(loaded.outgoing, own.outgoing if own is not None else None)


def _house(where: paths.Paths) -> transports.House:
    return transports.House(where, lambda: command.settings_of(where))


def _make_password(where: paths.Paths, file: Path, name: str | None, way: Outgoing) -> None:
    """A long one, in a file of its own, when the settings name none."""
    if way.webspace.script_password:
        return
    reference = f"secrets/webspace-{name}" if name is not None else "secrets/webspace"
    path = where.conf / reference
    if not os.path.lexists(path):
        command.private_file(where, path, secrets.token_urlsafe(PASSWORD_LENGTH)[:PASSWORD_LENGTH] + "\n")
    config.edit(file, {("outgoing", "webspace", "script_password"): f"file:{reference}"})
    click.echo(f"made a script password: {path}")


async def _upload(way: Outgoing, house: transports.House) -> None:
    section: Any = way.webspace
    files = webspace.scripts(way, house)
    click.echo(f"logging in at {section.upload}://{section.host or '(no host)'} as {section.user or '(nobody)'}")
    async with webspace.files(way, house) as there:
        for directory in sorted({os.path.dirname(path) for path in files} - {""}):
            await there.make_directory(directory)
        for number, path in enumerate(files, 1):
            click.echo(f"uploading {path} ({number} of {len(files)})")
            await there.put(path, files[path])
    await Transport(house).probe(way, None, click.echo)
    said = await webspace.call(way, house, "ping", webspace.name_of("copy", "ping"))
    if f"'{said.get('copy')}'".encode() not in files[webspace.CONFIG]:
        command.fail(f"{webspace.url_of(section)} is another copy of the scripts than the one uploaded; correct "
                     "webspace.url or webspace.directory", os.EX_UNAVAILABLE)
