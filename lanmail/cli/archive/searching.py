"""`lanmail archive search`: find mail."""

import os
import time
from itertools import islice

import click

from lanmail.archiving import finding, index, query, reading
from lanmail.cli import command, values
from lanmail.cli.archive import opening
from lanmail.cli.mailbox import progress
from lanmail.paths import Paths

_SUBJECT, _PERSON = 50, 28
_HEAD = ("ID", "DATE", "DIR", "FROM", "TO", "SUBJECT", "ATT", "SIZE")


@click.command(short_help="Find mail by words, people, dates, attachments.",
               context_settings={"ignore_unknown_options": True})
@click.argument("words", metavar="[QUERY]...", nargs=-1)
@opening.account_option
@click.option("--substring", is_flag=True, help="Find words inside of others, too; looks through all texts.")
@click.option("--relevance", is_flag=True,
              help="What fits best first, not the newest; of more than 1,000, the newest 1,000.")
@click.option("--limit", default=50, type=click.IntRange(1, 100_000), help="Show so many at most.", show_default=True)
@click.option("--offset", default=0, type=click.IntRange(0), help="Pass over so many first.")
@command.json_option
@command.rooted
def search(where: Paths, words: tuple[str, ...], accounts: tuple[str, ...], substring: bool, relevance: bool,
           limit: int, offset: int, as_json: bool) -> int:
    """Find mail in the archive, the newest first. All words must be there, in any inflection.

    \b
    Vertrag Müller         both words, anywhere: Verträge and Mueller, too
    "neue Preise"          one behind the other
    -Entwurf               not this word; a minus stands before anything
    Rechn*                 words that begin so
    from:eva  to:  subject:  filename:pdf
    has:attachment  larger:5MB  smaller:100KB
    after:2026-03  before:today  on:2026-03-15  (also 15.3.2026, yesterday, 7d)
    account:meier  direction:in|out
    id:  message-id:

    Put the query into single quotes, or -- before it when it begins with a minus. Without one all mail is listed.
    """
    try:
        asked = query.parse(" ".join(words), time.time())
    except query.QueryError as error:
        command.fail(str(error), os.EX_USAGE)
    scope = opening.scope_of(accounts)
    if substring and relevance:
        raise click.UsageError("--substring knows no --relevance")
    with opening.reader(where) as reader:
        if substring:
            found = _scan(reader, asked, scope, offset, limit + 1)
        else:
            found = finding.search(reader, asked, scope, limit=limit + 1, offset=offset, relevance=relevance)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        command.print_json({"found": [reading.data(mail) for mail in found], "more": more, "offset": offset})
    else:
        command.print_table(_HEAD, [_row(mail) for mail in found], "nothing found", right=(6, 7))
        if not found and asked.phrases and not substring:
            click.echo("(--substring also finds words inside of others)", err=True)
        if more:
            click.echo(f"there is more; go on with: --offset {offset + limit}", err=True)
    return os.EX_OK


def _scan(reader: index.Reader, asked: query.Query, scope: finding.Scope, offset: int, limit: int
          ) -> list[finding.Found]:
    with progress.shown(finding.count(reader, asked, scope)) as line:
        return list(islice(finding.scan(reader, asked, scope, line.step), offset, offset + limit))


def _row(mail: finding.Found) -> list[str]:
    return [mail.id, opening.moment(mail.date), mail.direction, _cut(mail.author or f"<{mail.sender}>", _PERSON),
            _cut(mail.recipients, _PERSON), _cut(mail.subject, _SUBJECT), str(len(mail.attachments) or "-"),
            values.size(mail.size)]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
