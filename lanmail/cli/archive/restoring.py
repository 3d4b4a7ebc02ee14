"""`lanmail archive restore`: put mail of the archive into a mailbox again."""

import os

import click

from lanmail import changes, envelope, folder, log, maildir, printable, subscriptions
from lanmail.archiving import finding, store
from lanmail.cli import command
from lanmail.cli.archive import opening
from lanmail.cli.mailbox import home, intake, progress, tally
from lanmail.paths import Paths

_CHUNK = 1 << 20


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
    there = set() if again else {_id_of(base) for base in tally.files_in(target.path)}
    code = os.EX_OK
    with progress.shown(len(mails)) as line:
        for mail in dict.fromkeys(mails):
            if mail.id in there:
                line.say(f"{mail.id} lies there already")
            elif (why := _put(where, target, mail)) is None:
                line.say(f"{mail.id} restored: {printable.line(mail.subject)}")
                log.restored(id=mail.id, account=root.name, folder=name)
            else:
                line.say(f"lanmail: {mail.id}: {printable.line(why)}", err=True)
                code = os.EX_DATAERR
            line.step()
    return code


def _target(root: str, name: str) -> folder.Folder:
    try:
        path = maildir.path_of(root, name)
        maildir.prepare(root)
        if not maildir.exists(root, name):
            maildir.create(root, name)
            subscriptions.add(root, name)
    except ValueError as error:
        command.fail(f"'{name}': {error}", os.EX_USAGE)
    return folder.Folder(path, root)


def _id_of(base: str) -> str:
    """The id of the mail that a message came from, by delivery or by an earlier restore."""
    return base.partition(",")[0].partition(_MARK)[0]


_MARK = "-restored."  # behind the id, and behind it what makes the name a new one: UIDs are never used again


def _put(where: Paths, target: folder.Folder, mail: finding.Found) -> str | None:
    """One message into its place, durably; why it cannot be, or None."""
    try:
        descriptor = store.open_file(where.archive, {"file": mail.file})
    except OSError as error:
        return f"its file in the archive cannot be read ({error.strerror}); see: lanmail archive verify"
    draft = intake.Draft(target.path)
    try:
        offset = _body(descriptor)
        if offset is None:
            return "its file in the archive is damaged; see: lanmail archive verify"
        while block := os.pread(descriptor, _CHUNK, offset):
            draft.write(block)
            offset += len(block)
        draft.finish(mail.arrived)
        draft.flush()
        sizes = draft.size, draft.wire_size
        base = f"{mail.id}{_MARK}{os.urandom(4).hex()},S={sizes[0]},W={sizes[1]}"
        changes.adopt(target, [changes.Source(draft.path, (), sizes, name=base)])
        draft.flush()
        changes.secure(target, ())
        target.flush()
    finally:
        os.close(descriptor)
        draft.drop()
    return None


def _body(descriptor: int) -> int | None:
    """Where the message begins behind the lines of its envelope."""
    try:
        head, offset = envelope.decode(os.pread(descriptor, envelope.LIMIT + 4096, 0))
    except ValueError:
        return None
    return offset if head is not None else None
