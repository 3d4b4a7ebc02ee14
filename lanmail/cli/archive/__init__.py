"""`lanmail archive`: find mail in it, look after it. One file per subcommand; here they are only put together."""

import click

from lanmail.cli import command
from lanmail.cli.archive import (
    counting,
    exporting,
    holding,
    purging,
    reindexing,
    restoring,
    searching,
    showing,
    verifying,
)


@click.group(cls=command.Group, short_help="The archive: find mail, prove that nothing was changed, hold, export.")
def archive() -> None:
    """The archive: all mail of accounts with `archive = true`, received and sent, which nobody changes any more.

    An ID may be shortened to its unambiguous beginning. With --account only that is found, and as much of it shown, as
    this account may see: what it received or sent. Everything works with the programs running or not.
    """


for subcommand in (
    searching.search,
    showing.show,
    restoring.restore,
    verifying.verify,
    verifying.head,
    counting.stats,
    exporting.export,
    holding.hold,
    purging.purge,
    purging.erase,
    reindexing.reindex,
):
    archive.add_command(subcommand)
