"""`lanmail source folders`: which folders of an IMAP mailbox are fetched."""

import click

from lanmail import config, incoming, printable
from lanmail.cli import command
from lanmail.cli.source import places, testing
from lanmail.paths import Paths


@click.group(cls=command.Group, short_help="Which folders of an IMAP mailbox are fetched.")
def folders() -> None:
    """Which folders of an IMAP mailbox are fetched: those in `folders`, or with "*" all but those in `exclude`."""


@folders.command()
@click.argument("name")
@click.option("--look", is_flag=True, help="Log in there, and show the folders that are fetched.")
@command.json_option
@command.rooted
def show(where: Paths, name: str, look: bool, as_json: bool) -> None:
    """Show which folders of the source NAME are fetched and which are left out."""
    loaded = command.settings_of(where)
    place = places.one(where, loaded, name)
    source = place.source
    seen: list[str] | None = None
    if look:
        try:
            found = testing.look(where, loaded, place.account, place.name, source, lambda _text: None)
        except testing.Failed as failed:
            command.fail(failed.told(), failed.code)
        seen = list(found.folders)
    if as_json:
        command.print_json({"source": str(place), "folders": source.folders, "exclude": source.exclude,
                            "fetched": seen})
        return
    everything = "*" in source.folders
    click.echo(f"fetched:  {'all folders' if everything else ', '.join(source.folders)}")
    if everything:
        click.echo(f"left out: {', '.join(source.exclude) or 'none'}")
    for folder in seen or ():
        click.echo(f"  {printable.line(folder)}")


@folders.command("restore-default", short_help="Leave out again what is left out by default.")
@click.argument("name", required=False)
@click.option("--global", "everybody", is_flag=True, help="The list of [incoming] in lanmail.toml, for all sources.")
@command.rooted
def restore_default(where: Paths, name: str | None, everybody: bool) -> None:
    """Take the own list of excluded folders away from the source NAME, or with --global that of [incoming]."""
    if (name is None) is not everybody:
        raise click.UsageError("name a source, or say --global")
    loaded = command.settings_of(where)
    if name is None:
        config.edit(where.config_file, {("incoming", "exclude"): None})
        excluded = incoming.EXCLUDED
    else:
        place = places.one(where, loaded, name)
        config.edit(place.file, {place.key("exclude"): None})
        excluded = places.one(where, loaded, name).source.exclude
    click.echo(f"left out from now on: {', '.join(excluded)}")
