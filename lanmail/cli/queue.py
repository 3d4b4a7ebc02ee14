"""`lanmail queue`: what lies in the spools, and what to do with it."""

import os
import time
from collections.abc import Callable
from typing import Any

import click

from lanmail import log, printable
from lanmail.administration import backlog
from lanmail.cli import command, values
from lanmail.paths import Paths

_SHOWN = 64 << 10


@click.group(cls=command.Group, short_help="Look at waiting, deferred and held mail; retry, hold, release, remove.")
def queue() -> None:
    """Mail that is on its way: in the queue, on the way out, in pickup, or held for you to look at.

    An ID may be shortened to its unambiguous beginning. Everything works with the programs running or not.
    """


@queue.command("list")
@click.option("--spool", "spools", multiple=True, type=click.Choice(backlog.SPOOLS), help="Only this spool.")
@command.json_option
@command.rooted
def list_(where: Paths, spools: tuple[str, ...], as_json: bool) -> None:
    """List all entries, the oldest first."""
    found = list(backlog.items(where, spools or backlog.SPOOLS))
    if as_json:
        command.print_json([_data(item) for item in found])
        return
    rows = [[item.id, item.spool, item.state, _duration(backlog.age(item)), values.size(item.size), _sender(item),
             _some(item.recipients), _one_line(item.reason)] for item in found]
    command.print_table(["ID", "SPOOL", "STATE", "AGE", "SIZE", "SENDER", "RECIPIENTS", "REASON"], rows,
                        "nothing is waiting")


@queue.command()
@click.argument("id")
@command.json_option
@command.rooted
def show(where: Paths, id: str, as_json: bool) -> None:
    """Show one entry: its envelope, why it waits, and the beginning of the message."""
    item = _find(where, id)
    text = backlog.read(where, item, _SHOWN)
    if as_json:
        command.print_json({**_data(item), "message": text.decode("utf-8", "replace"), "cut": item.size > len(text)})
        return
    facts = {"id": item.id, "file": item.file, "state": item.state, "age": _duration(backlog.age(item)),
             "size": values.size(item.size), "origin": item.origin, "tries": item.tries or None,
             "next try": item.next and f"in {_duration(max(0.0, item.next - time.time()))}", "reason": item.reason}
    for name, value in facts.items():
        if value is not None:
            click.echo(f"{name + ':':<10}{printable.lines(str(value))}")
    click.echo()
    click.echo(printable.lines(text.decode("utf-8", "replace")).rstrip("\n"))
    if item.size > len(text):
        click.echo(f"… {values.size(item.size - len(text))} more")


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All deferred entries.")
@command.rooted
def retry(where: Paths, ids: tuple[str, ...], everything: bool) -> int:
    """Try deferred entries now."""
    chosen = [item for item in backlog.items(where, backlog.TRIED) if item.state == "deferred"] \
        if everything else _all(where, ids)
    return _each(where, chosen, backlog.retry, "will be tried now", quiet_if_empty="nothing is deferred")


@queue.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--why", default="held by hand", help="The reason, for whoever finds it.")
@command.rooted
def hold(where: Paths, ids: tuple[str, ...], why: str) -> int:
    """Take entries out of the way until they are released."""
    return _each(where, _all(where, ids), lambda paths, item: backlog.hold(paths, item, why), "held")


@queue.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@command.rooted
def release(where: Paths, ids: tuple[str, ...]) -> int:
    """Put held entries back to where they were. A mail held as a loop goes on its way."""
    return _each(where, _all(where, ids), backlog.release, "released")


@queue.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@command.rooted
def remove(where: Paths, ids: tuple[str, ...], yes: bool) -> int:
    """Remove entries for good. The sender is told nothing."""
    chosen = _all(where, ids)
    for item in chosen:
        if not yes:
            click.confirm(f"Remove {item.id} from {_sender(item)} to {_some(item.recipients)}?", abort=True)
    return _each(where, chosen, backlog.remove, "removed")


def _each(where: Paths, chosen: list[backlog.Item], action: Callable[[Paths, backlog.Item], Any], done: str, *,
          quiet_if_empty: str = "") -> int:
    """Do it to each; the exit code tells when one of them could not be done."""
    if not chosen and quiet_if_empty:
        click.echo(quiet_if_empty)
    command.become_owner_of(where.spool)
    log.setup("lanmail", where.log)
    code = os.EX_OK
    for item in chosen:
        try:
            action(where, item)
        except backlog.Busy as error:
            code = os.EX_TEMPFAIL
            click.echo(f"lanmail: {error}", err=True)
        except FileNotFoundError:
            code = os.EX_NOINPUT
            click.echo(f"lanmail: {item.id} went on its way meanwhile; see: lanmail trace {item.id}", err=True)
        except ValueError as error:
            code = os.EX_DATAERR
            click.echo(f"lanmail: {error}", err=True)
        else:
            click.echo(f"{item.id} {done}")
    return code


def _all(where: Paths, ids: tuple[str, ...]) -> list[backlog.Item]:
    if not ids:
        raise click.UsageError("name one or more ids, or use --all")
    return [_find(where, one) for one in ids]


def _find(where: Paths, text: str) -> backlog.Item:
    try:
        return backlog.find(where, text)
    except LookupError as error:
        command.fail(str(error), os.EX_NOINPUT)


def _data(item: backlog.Item) -> dict[str, Any]:
    """One entry for --json; times are seconds since 1970."""
    return {
        "id": item.id, "spool": item.spool, "state": item.state, "file": item.file, "size": item.size,
        "arrived": item.arrived, "sender": item.sender, "recipients": item.recipients, "origin": item.origin,
        "tries": item.tries, "next": item.next, "reason": item.reason,
    }


def _sender(item: backlog.Item) -> str:
    return "?" if item.sender is None else f"<{item.sender}>"


def _some(recipients: list[str]) -> str:
    if not recipients:
        return "?"
    return recipients[0] if len(recipients) == 1 else f"{recipients[0]} +{len(recipients) - 1}"


def _one_line(text: str | None) -> str:
    return printable.lines((text or "").split("\n", 1)[0])[:80]


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
