"""`lanmail mailbox import`: mail from files, Maildirs and other servers into an account."""

import asyncio
import dataclasses
import datetime
import os
from pathlib import Path
from typing import Any

import click

from lanmail import maildir, mbox, messagefile
from lanmail.cli import command
from lanmail.cli.mailbox import copying, count, home, intake, journal, naming, progress, remote, rights, server
from lanmail.clients import imapclient, smtplogin
from lanmail.clients.imapwire import Broken
from lanmail.errors import Temporary
from lanmail.paths import Paths


@click.command("import", short_help="Bring mail from files, Maildirs or another server into an account.")
@click.argument("account")
@click.argument("sources", metavar="SOURCE...", nargs=-1)
@click.option("--into", metavar="FOLDER", default="", help="Put everything below this folder (or into it).")
@click.option("--folder", "folders", multiple=True, metavar="NAME",
              help="Only this folder of the source and those below it, repeatable; levels are separated by a slash.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Not this folder, repeatable; * stands for anything.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD",
              help="Only mail that arrived on this day or later.")
@click.option("--keep-uids", is_flag=True, help="Keep the UIDs of a Maildir, where the folder here is new and empty.")
@click.option("--mbox", "variant", type=click.Choice(mbox.VARIANTS), default="auto",
              help="How mbox files quote lines that begin with From.")
@click.option("--unique", is_flag=True, help="Not what any folder of the account has already.")
@click.option("--again", is_flag=True, help="Copy even what is there already.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be copied.")
@server.options
@command.json_option
@command.rooted
def import_(
    where: Paths, account: str, sources: tuple[str, ...], into: str, folders: tuple[str, ...],
    exclude: tuple[str, ...], since: datetime.datetime | None, keep_uids: bool, variant: str, unique: bool,
    again: bool, dry_run: bool, as_json: bool, **given: Any,
) -> None:
    """Bring mail into an account: from mbox files, Maildirs, single messages (.eml), directories of them, or from
    another IMAP server: imaps://USER@HOST/ (TLS), imap://USER@HOST/ (STARTTLS), or --host and --user.

    Flags, keywords and dates come along. A directory tree becomes folders: Thunderbird's Local Folders with its .sbd, a
    Maildir with its subfolders. Sent, Drafts, Trash and Junk become ours, whatever language they are named in.

    Nothing comes twice: what an earlier run copied is known (state/import), and a message with the Message-ID and size
    of one that is there is not copied again. Stop it with Ctrl-C; the same command goes on where it ended.

    Nothing is changed at the source. Exit code 74 when a message could not be copied, 69 when the server cannot be
    reached, 77 when it does not let us in, else 0.
    """
    root = home.of(where, account)
    wishes = copying.Wishes(folders, exclude, since.date() if since else None, keep_uids, unique, variant)
    at, paths, wishes = _server(sources, given, wishes)
    with progress.shown() as line, rights.of_owner(where.maildirs):
        if not dry_run:
            maildir.prepare(str(root))
        try:
            _run(where, root, paths, at, into, wishes, line, again=again, dry_run=dry_run, as_json=as_json)
        except journal.Running as error:
            command.fail(f"{error}; wait until it is done", os.EX_TEMPFAIL)
        except messagefile.Unable as error:
            command.fail(f"{error}; what came so far stays, and the same command goes on from here", os.EX_IOERR)
        except KeyboardInterrupt:
            line.clear()
            command.fail("stopped; the same command goes on from here", 130)


def _server(sources: tuple[str, ...], given: dict[str, Any],
            wishes: copying.Wishes) -> tuple[imapclient.Target | None, list[str], copying.Wishes]:
    """The server to copy from, if any, and the paths; a URL may name a folder."""
    urls = [source for source in sources if server.is_url(source)]
    paths = [source for source in sources if source not in urls]
    if len(urls) > 1:
        raise click.UsageError("one server at a time")
    if not sources and not given["host"]:
        raise click.UsageError("name the mbox file, Maildir or directory to import, or the server (imaps://USER@HOST/)")
    if not urls and not given["host"]:
        return None, paths, wishes
    at, folder = server.of(urls[0] if urls else None, given)
    return at, paths, dataclasses.replace(wishes, folders=(folder, *wishes.folders)) if folder else wishes


def _run(where: Paths, root: Path, paths: list[str], at: imapclient.Target | None, into: str, wishes: copying.Wishes,
         line: progress.Progress, *, again: bool, dry_run: bool, as_json: bool) -> None:
    try:
        if into:
            maildir.path_of("", into)
    except ValueError as error:
        command.fail(f"--into {into}: no folder can be called so: {error}", os.EX_USAGE)
    with journal.opened(where.state, root, dry_run=dry_run) as known:
        made = intake.Intake(str(root), known, dry_run=dry_run, again=again)
        work = copying.Copying(made, naming.Naming(str(root), into), wishes, line)
        try:
            work.all_of(paths)
            if at is not None:
                _from_server(at, work)
        except ValueError as error:
            command.fail(str(error), os.EX_DATAERR)
        finally:
            made.close()
    count.tell(work.counts.values(), made.problems, line, dry_run=dry_run, as_json=as_json)
    if any(one.failed for one in work.counts.values()):
        click.get_current_context().exit(os.EX_IOERR)


def _from_server(at: imapclient.Target, work: copying.Copying) -> None:
    try:
        asyncio.run(remote.Remote(at, work).run())
    except smtplogin.Refused as error:
        command.fail(f"{at}: {error.text}", os.EX_NOPERM)
    except Temporary as error:
        command.fail(f"{error.text}{_advice(error.text)}", os.EX_UNAVAILABLE)
    except Broken as error:
        command.fail(f"{at}: {error}; what came so far stays, and the same command goes on from here",
                     os.EX_UNAVAILABLE)


def _advice(text: str) -> str:
    """What helps when TLS does not come about."""
    if "not trusted" in text:
        return "; trust its certificate with --tls-ca FILE or --tls-fingerprint, or ask whoever runs it"
    return "; is it the right port? imaps:// is TLS at once, imap:// is STARTTLS" if "TLS handshake" in text else ""
