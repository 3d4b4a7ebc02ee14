"""`lanmail archive`: what the archive holds. One file per subcommand; here they are only put together."""

import click

from lanmail.cli import command
from lanmail.cli.archive import reindexing, restoring, searching, showing


@click.group(cls=command.Group, short_help="Search the archive; show and restore mail of it.")
def archive() -> None:
    """The archive: all mail of accounts with `archive = true`, received and sent, which nobody changes any more.

    An ID may be shortened to its unambiguous beginning. With --account only that is found, and as much of it shown, as
    this account may see: what it received or sent.
    """


for subcommand in (
    searching.search,
    showing.show,
    restoring.restore,
    reindexing.reindex,
):
    archive.add_command(subcommand)
