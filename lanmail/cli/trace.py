"""`lanmail trace`: the life of one mail through all programs."""

import os
from datetime import datetime

import click

from lanmail import printable
from lanmail.cli import command
from lanmail.monitoring import history
from lanmail.paths import Paths


@click.command()
@click.argument("id", metavar="ID|MESSAGE-ID")
@command.json_option
@command.rooted
def trace(where: Paths, id: str, as_json: bool) -> None:
    """Tell the life of one mail: each step in every program, its bounces, and where it lies now.

    ID is the `id=` of a log line, the id of `lanmail queue list`, or a file name in a Maildir. A Message-ID may be
    given with or without its angle brackets.
    """
    found = history.trace(where, id)
    if not found.ids:
        command.fail(f"nothing is known of {id}: no log line in {where.log} names it, and no spool or Maildir has it",
                     os.EX_NOINPUT)
    if as_json:
        command.print_json({
            "ids": found.ids,
            "events": [{"time": one.time, "program": one.program, "event": one.event, **_rest(one)}
                       for one in found.events],
            "places": found.places,
        })
        return
    for entry_id in found.ids:
        click.echo(entry_id if entry_id == found.ids[0] else f"{entry_id}   (bounce, or the same Message-ID)")
    click.echo()
    rows = [[_time(one.time, found.events[0].time), one.program, one.event, one.text] for one in found.events]
    command.print_table(["TIME", "PROGRAM", "EVENT", "DETAILS"], rows, "no log line names it any more")
    click.echo()
    for place in found.places:
        click.echo(f"now in {printable.line(place, '·')}")
    if not found.places:
        click.echo("now nowhere: handed on, removed, or moved by a client to another name")


def _rest(one: history.Event) -> dict[str, str]:
    return {key: value for key, value in one.fields.items() if key not in ("time", "program", "event")}


def _time(text: str, first: str) -> str:
    """The whole time of the first line, and the distance from it of the others."""
    if text == first:
        return text
    try:
        seconds = (datetime.fromisoformat(text) - datetime.fromisoformat(first)).total_seconds()
    except ValueError:
        return text
    return f"+{seconds:.3f} s".rjust(len(first))
