"""`lanmail archive restore`: put mail of the archive into a mailbox again."""

import os

import click

from lanmail import log, printable
from lanmail.archiving import restoring
from lanmail.cli import command
from lanmail.cli.archive import opening
from lanmail.cli.mailbox import home, progress
from lanmail.folders import folder
from lanmail.paths import Paths


@click.command(short_help="Put mail of the archive into a mailbox again.")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--to", "account", metavar="ACCOUNT", required=True, help="Whose mailbox.")
@click.option("--folder", "name", default="INBOX", help="Which folder; it is made if need be.", show_default=True)
@click.option("--again", is_flag=True, help="Also what lies in that folder already.")
@opening.account_option
@command.rooted
def restore(where: Paths, ids: tuple[str, ...], account: str, name: str, again: bool, accounts: tuple[str, ...]) -> int:
    """Put mail of the archive into a folder: as it came, unread, with its old date.

    No rule is asked, nothing is answered or forwarded, and the archive stays as it is. What lies in that folder already
    is not put there twice.
    """
    root = home.of(where, account)
    with opening.reader(where) as reader:
        mails = [opening.find(reader, one, opening.scope_of(accounts)) for one in ids]
    log.setup("lanmail", where.log)
    target = _target(str(root), name)
    there = set() if again else restoring.ids_in(target)
    code = os.EX_OK
    with progress.shown(len(mails)) as line:
        for mail in dict.fromkeys(mails):
            if mail.id in there:
                line.say(f"{mail.id} lies there already")
            elif (why := restoring.put(where, target, mail)) is None:
                line.say(f"{mail.id} restored: {printable.line(mail.subject)}")
                log.restored(id=mail.id, account=root.name, folder=name)
            else:
                line.say(f"lanmail: {mail.id}: {printable.line(why)}", err=True)
                code = os.EX_DATAERR
            line.step()
    return code


def _target(root: str, name: str) -> folder.Folder:
    try:
        return restoring.target(root, name)
    except ValueError as error:
        command.fail(f"'{name}': {error}", os.EX_USAGE)
