"""`lanmail archive reindex`: make the index of the archive."""

import os

import click

from lanmail import log
from lanmail.archiving import following, index, journal
from lanmail.cli import command, values
from lanmail.cli.archive import opening
from lanmail.cli.mailbox import progress
from lanmail.paths import Paths


@click.command(short_help="Make the index anew by which the archive is searched.")
@click.option("--missing", is_flag=True, help="Only add what is not in it yet; also goes on where this was stopped.")
@command.json_option
@command.rooted
def reindex(where: Paths, missing: bool, as_json: bool) -> int:
    """Make the index anew by which the archive is searched.

    Nothing is in it that is not in the archive; archived and `search` keep it up to date by themselves. Stopped in the
    middle, it goes on by itself when somebody searches.
    """
    if not journal.path(where).exists():
        command.fail("the archive is empty; see: lanmail account set NAME archive=true", os.EX_NOINPUT)
    command.become_owner_of(where.state)
    log.setup("lanmail", where.log)
    try:
        with progress.shown() as line:
            now = opening.fill(where, line, anew=not missing)
    except following.Busy as error:
        command.fail(f"{error}; try again when it is done", os.EX_TEMPFAIL)
    size = index.size(index.path(where))
    if as_json:
        command.print_json({"added": now.added, "removed": now.removed, "octets": now.octets, "size": size})
    else:
        click.echo(f"{now.added} mails indexed ({values.size(now.octets)}); the index has {values.size(size)}")
    return os.EX_OK
