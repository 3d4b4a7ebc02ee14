"""`lanmail mailbox`: look after the Maildirs. One file per subcommand; here they are only put together."""

import click

from lanmail.cli import command
from lanmail.cli.mailbox import acl, check, exporting, importing, index, listing, quota


@click.group(cls=command.Group, short_help="Look after the mail itself: folders, damage, moving in and out.")
def mailbox() -> None:
    """The Maildirs of the accounts: what lies in them, whether it is sound, and how mail gets in and out.

    Everything works with the programs running or not. FOLDER is written as clients show it: Sent, Projekte.2026,
    Entwürfe; INBOX is the folder where new mail arrives.
    """


for subcommand in (
    listing.list_,
    check.check,
    check.repair,
    importing.import_,
    exporting.export,
    acl.show,
    quota.quota_,
    index.index,
):
    mailbox.add_command(subcommand)
