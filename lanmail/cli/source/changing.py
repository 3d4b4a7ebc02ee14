"""`lanmail source set`, `passwd`, `remove` and `forget`."""

import os

import click

from lanmail import config, schema
from lanmail.cli import account, command, values
from lanmail.cli.source import listing, places, writing
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.sources import place as state
from lanmail.sources import register

_SECRET = frozenset({"password", "proxy_password"})


@click.command("set", short_help="Change settings of a source.")
@click.argument("name")
@click.argument("settings", metavar="KEY=VALUE...", nargs=-1, required=True)
@command.rooted
def set_(where: Paths, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of the source NAME: every=15m, delete=true, folders=INBOX,Sales.

    KEY= without a value takes the setting away, so that the default of [incoming] counts again. A change counts at the
    next visit.
    """
    place = places.one(where, command.settings_of(where), name)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            command.fail(f"'{setting}' is not KEY=VALUE", os.EX_USAGE)
        if key in _SECRET and text and not text.startswith(("file:", "credential:")):
            command.fail("passwords are not given on the command line; use: lanmail source passwd", os.EX_USAGE)
        written = values.change(Source, place.file, key, [text] if text else [], below=("sources", place.name))
        click.echo(f"{place}: {key} = {schema.toml(written)}" if text else f"{place}: {key} is as in [incoming]")


@click.command(short_help="Change the password of a source.")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@command.rooted
def passwd(where: Paths, name: str, password_stdin: bool) -> None:
    """Enter the password for the mailbox of the source NAME; it is stored in conf/secrets/, and tried at once."""
    place = places.one(where, command.settings_of(where), name)
    password = read_password(password_stdin)
    reference = writing.put_password(where, place.account, place.name, password)
    config.edit(place.file, {place.key("password"): reference})
    if place.own.password != reference:
        register.forget_password(where, place.own.password)
    state.request(where, place.account, place.name)
    click.echo(f"password of {place} stored in {where.conf / reference.removeprefix('file:')}")


def read_password(from_stdin: bool) -> Secret:
    """The password of a mailbox elsewhere: asked for once on the terminal, or the first line of standard input."""
    if from_stdin:
        return Secret(account.read_password())
    return Secret(str(click.prompt("password", hide_input=True, err=True)))


@click.command(short_help="Remove a source; nothing is fetched from there any more.")
@click.argument("name")
@click.option("--forget", "forget_too", is_flag=True, help="Forget as well which mails were fetched.")
@command.rooted
def remove(where: Paths, name: str, forget_too: bool) -> None:
    """Remove the source NAME. Mail that was fetched stays; on the server nothing is changed.

    Which mails were fetched stays remembered, so that a source for the same mailbox under the same name does not
    fetch them again.
    """
    place = places.one(where, command.settings_of(where), name)
    config.edit(place.file, {("sources", place.name): None})
    register.forget_password(where, place.own.password)
    click.echo(f"source {place} removed")
    if forget_too:
        click.echo(f"{register.forget(where, place.account, place.name)} mails forgotten")


@click.command(short_help="Forget which mails were fetched: all come again.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command.rooted
def forget(where: Paths, name: str, yes: bool) -> None:
    """Forget which mails of the mailbox NAME were fetched; whatever is still on the server is fetched once more."""
    place = places.one(where, command.settings_of(where), name)
    listing.require_directory(where, place)
    if not yes and not click.confirm(f"All mail that is still in the mailbox of {place} will come again. Go on?"):
        command.fail("nothing was forgotten", os.EX_NOPERM)
    forgotten = register.forget(where, place.account, place.name)
    click.echo(f"{forgotten} mails forgotten; they come again at the next visit")

