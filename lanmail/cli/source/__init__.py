"""`lanmail source`: mailboxes elsewhere whose mail is fetched. One file per subcommand; here they are put together."""

import click

from lanmail.cli import command
from lanmail.cli.source import adding, changing, fetching, folders, importing, listing, testing


@click.group(cls=command.Group, short_help="Mailboxes elsewhere whose mail is fetched.")
def source() -> None:
    """External mailboxes, fetched by POP3 or IMAP into an account. NAME is ACCOUNT/NAME, or NAME where only one is
    called so.
    """


for subcommand in (
    listing.list_,
    listing.show,
    adding.add,
    testing.test,
    fetching.fetch,
    changing.set_,
    changing.passwd,
    folders.folders,
    changing.forget,
    changing.remove,
    importing.import_,
):
    source.add_command(subcommand)
