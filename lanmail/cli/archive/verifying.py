"""`lanmail archive verify` and `head`: whether everything is as it was archived, and what to keep to prove it."""

import os
import time
from collections import deque
from typing import Any

import click

from lanmail import printable
from lanmail.archiving import journal, verification
from lanmail.cli import command, values
from lanmail.cli.mailbox import progress, rights
from lanmail.paths import Paths


@click.command(short_help="Compare every message with the journal, and name what is not as it was.")
@click.option("--head", "kept", metavar="N:HASH", help="A line that you wrote down before (lanmail archive head).")
@command.json_option
@command.rooted
def verify(where: Paths, kept: str | None, as_json: bool) -> None:
    """Compare every message with the journal, and the journal with itself.

    Names each message that was changed, removed or put there, and each line of the journal that was changed, removed,
    added, moved or cut off. Ends with 65 when there is any. With --head it also compares a line that was kept
    elsewhere: only that shows whether the whole journal was written anew.
    """
    place = _kept(kept) if kept else None
    with rights.of_owner(where.archive), progress.shown() as line:
        def step(done: int, octets: int, total: int) -> None:
            line.total, line.done, line.octets = total, done - 1, octets
            line.step()
        report = verification.verify(where, kept=place, step=step)
    if as_json:
        command.print_json(verification.data(report))
    else:
        _tell(report)
    if report.findings:
        click.get_current_context().exit(os.EX_DATAERR)


def _kept(text: str) -> journal.Place:
    try:
        return verification.kept(text)
    except ValueError as error:
        command.fail(str(error), os.EX_USAGE)


def _tell(report: verification.Report) -> None:
    for one in report.findings:
        click.echo(printable.line(f"{one.kind:<10} {one.file + ': ' if one.file else ''}{one.text}"))
        if one.line is not None:
            click.echo(printable.line(f"{'':<10} {_message(one.line)}"))
    for note in report.notes:
        click.echo(printable.line(f"note       {note}"))
    click.echo(f"{report.messages} messages, {values.size(report.octets)}, {report.purged} purged; "
               f"{report.lines} lines in the journal")
    if report.lines:
        click.echo(f"it ends with {report.end.seq}:{report.end.hash}")
    wrong = len(report.findings)
    click.echo(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong" if wrong else "everything is as it was archived")


def _message(line: dict[str, Any]) -> str:
    """A message as a person knows it, from its line."""
    to = [str(one) for one in line.get("recipients") or ["?"]]
    more = f" +{len(to) - 1}" if len(to) > 1 else ""
    form = "" if line.get("form") == "accepted" else f" ({line.get('form')})"
    return (f"line {line['seq']}, id {line.get('id')}{form}, <{line.get('sender')}> to <{to[0]}>{more}, "
            f"{line.get('arrived')}, {line.get('message_id') or 'no Message-ID'}")


@click.command(short_help="Print where the journal ends, to be kept elsewhere.")
@command.json_option
@command.rooted
def head(where: Paths, as_json: bool) -> None:
    """Print the number and the hash of the last line of the journal.

    Write it down, print it, or let archived.report mail it: whoever has it can prove later that nothing up to this line
    was changed (lanmail archive verify --head N:HASH).
    """
    with rights.of_owner(where.archive):
        last = next(iter(deque(journal.lines(journal.path(where)), 1)), None)
    if last is None:
        command.fail("nothing was archived yet", os.EX_NOINPUT)
    if as_json:
        command.print_json({"head": f"{last.seq}:{last.place.hash}", "seq": last.seq, "hash": last.place.hash,
                            "time": last.data["time"], "asked": journal.stamp(time.time())})
    else:
        click.echo(f"{last.seq}:{last.place.hash}")
