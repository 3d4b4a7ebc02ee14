"""`lanmail archive export`: messages with the lines of the journal that prove them, for auditors."""

import os
from collections.abc import Callable
from typing import Any

import click

from lanmail import mbox
from lanmail.archiving import exporting, journal, retention, store
from lanmail.cli import command, values
from lanmail.cli.archive import choosing
from lanmail.cli.mailbox import outputs, progress, rights
from lanmail.cli.mailbox.outputs import Output
from lanmail.paths import Paths

FORMATS = ("eml", "maildir", "mbox")
Mails = dict[int, dict[str, Any]]


@click.command(short_help="Write messages and their lines of the journal to a directory, .zip or .tar.")
@click.argument("query", nargs=-1)
@click.option("--to", required=True, type=click.Path(), help="A new directory, or a new .zip, .tar or .tar.gz.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="eml", show_default=True,
              help="Single messages, a Maildir, or one mbox file.")
@click.option("--id", "ids", multiple=True, help="This mail; instead of a search.")
@command.rooted
def export(where: Paths, query: tuple[str, ...], to: str, form: str, ids: tuple[str, ...]) -> None:
    """Write what a search finds, or everything, with its lines of the journal (journal.jsonl).

    eml and maildir are the files of the archive octet by octet, envelope lines on top: their SHA-256 is that in the
    journal. mbox has the messages without envelope lines. Both forms of a mail are written. Nothing that is there is
    overwritten.
    """
    with rights.of_owner(where.archive), progress.shown() as line:
        contents = retention.read(where)
        chosen = contents.mails
        if ids or query:
            wanted = choosing.named(contents, ids) | (choosing.searched(where, " ".join(query)) if query else set())
            chosen = choosing.of_ids(contents, wanted)
        if not chosen:
            command.fail("there is nothing to export", os.EX_NOINPUT)
        line.total, line.total_octets = len(chosen), sum(int(data["size"]) for data in chosen.values())
        missing: list[str] = []
        with outputs.to(os.path.abspath(to)) as output:
            _WRITERS[form](where, chosen, output, line, missing)
            _journal(where, chosen, output)
    for text in missing:
        click.echo(f"lanmail: {text}", err=True)
    click.echo(f"{len(chosen) - len(missing)} messages, {values.size(line.octets)}, and their lines: {to}")
    if missing:
        click.get_current_context().exit(os.EX_DATAERR)


def _each(where: Paths, chosen: Mails, line: progress.Progress, missing: list[str],
          write: Callable[[dict[str, Any], bytes], None]) -> None:
    """Give every file to `write`."""
    for data in chosen.values():
        try:
            with open(store.open_file(where.archive, data), "rb") as stream:
                raw = stream.read()
        except OSError as error:
            missing.append(f"{data['id']} is not exported: {data['file']}: {error.strerror}")
            continue
        write(data, raw)
        line.step(octets=len(raw))


def _messages(where: Paths, chosen: Mails, output: Output, line: progress.Progress, missing: list[str]) -> None:
    """YYYY-MM/NUMBER-ID.eml"""
    def write(data: dict[str, Any], raw: bytes) -> None:
        with output.open(exporting.name_of(data), journal.moment(data["arrived"])) as stream:
            stream.write(raw)

    _each(where, chosen, line, missing, write)


def _maildir(where: Paths, chosen: Mails, output: Output, line: progress.Progress, missing: list[str]) -> None:
    for place in ("tmp", "new", "cur"):
        output.directory(f"Maildir/{place}")

    def write(data: dict[str, Any], raw: bytes) -> None:
        with output.open(f"Maildir/cur/{str(data['file'])[12:]}", journal.moment(data["arrived"])) as stream:
            stream.write(raw)

    _each(where, chosen, line, missing, write)


def _mbox(where: Paths, chosen: Mails, output: Output, line: progress.Progress, missing: list[str]) -> None:
    with output.open("archive.mbox", journal.moment(next(iter(chosen.values()))["arrived"])) as stream:
        def write(data: dict[str, Any], raw: bytes) -> None:
            mbox.write(stream, store.split(raw)[1], ("\\Seen",), journal.moment(data["arrived"]))

        _each(where, chosen, line, missing, write)


def _journal(where: Paths, chosen: Mails, output: Output) -> None:
    """The lines of these messages as they stand in the journal, and the last one, to which all are chained."""
    ends: list[journal.Line] = []
    with output.open("journal.jsonl", os.stat(journal.path(where)).st_mtime) as stream:
        for line in exporting.lines(where, chosen, ends):
            stream.write(line)
    for last in ends:
        with output.open("head.json", 0.0) as stream:
            stream.write(exporting.end(last, len(chosen)))


_WRITERS = {"eml": _messages, "maildir": _maildir, "mbox": _mbox}
