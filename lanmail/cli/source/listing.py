"""`lanmail source list` and `show`: how fetching goes."""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lanmail import incoming, printable, remote, units
from lanmail.cli import command, values
from lanmail.cli.source import places
from lanmail.paths import Paths
from lanmail.sources import health, register, status
from lanmail.sources import place as state
from lanmail.sources.health import Health
from lanmail.sources.register import Place
from lanmail.sources.status import Status


@click.command("list", short_help="List all sources and how fetching from them goes.")
@click.option("--account", metavar="NAME", default="", help="Only those of this account.")
@command.json_option
@command.rooted
def list_(where: Paths, account: str, as_json: bool) -> int:
    """List all external mailboxes and how fetching from them goes.

    Exit code for monitoring: 0 when all is well, 1 when one of them cannot be fetched at the moment or is late, 2 when
    somebody has to do something: a log-in is refused, or a setting is missing.
    """
    loaded = command.settings_of(where)
    now = time.time()
    rows: list[list[str]] = []
    told: list[dict[str, Any]] = []
    worst = health.OK
    for place in places.all_of(where, loaded, account):
        known = status.load(where, place.account, place.name)
        found = health.of(place.source, known, now)
        worst = max(worst, found.level)
        told.append(_data(place, known, found))
        rows.append([str(place), printable.line(_mailbox(place)), found.word, _ago(known.succeeded, now),
                     str(known.fetched), _due(place, known, now), printable.line(found.text)])
    if as_json:
        command.print_json(told)
    else:
        command.print_table(["SOURCE", "MAILBOX", "STATE", "LAST SUCCESS", "MAILS", "NEXT", "PROBLEM"], rows,
                            "no external mailboxes yet; make one: lanmail source add ACCOUNT ADDRESS", right=(4,))
    return worst


def _mailbox(place: Place) -> str:
    source = place.source
    host = source.host or "(no host)"
    return f"{source.user}, {host}" if "@" in source.user else f"{source.user or '(nobody)'} at {host}"


def _data(place: Place, known: Status, found: Health) -> dict[str, Any]:
    source = place.source
    return {"source": str(place), "account": place.account, "name": place.name, "protocol": source.protocol,
            "host": source.host, "port": incoming.port_of(source), "user": source.user, "state": found.word,
            "problem": found.text or None, "level": found.level, "status": asdict(known)}


def _ago(moment: float, now: float) -> str:
    return f"{spell(max(0.0, now - moment))} ago" if moment else "never"


def _due(place: Place, known: Status, now: float) -> str:
    if place.source.interface == "disabled" or known.stopped:
        return "-"
    if not known.next:
        return "soon"
    return f"in {spell(known.next - now)}" if known.next > now else "now"


def spell(seconds: float) -> str:
    """A span of time in the largest unit that fits: 90 is "1m"."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}"
    return f"{int(seconds)}s"


@click.command(short_help="Show one source: its settings and how fetching went.")
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="All settings, those with their default as well.")
@command.json_option
@command.rooted
def show(where: Paths, name: str, everything: bool, as_json: bool) -> None:
    """Show the source NAME: what holds for it and from where, and how fetching went."""
    loaded = command.settings_of(where)
    place = places.one(where, loaded, name)
    known = status.load(where, place.account, place.name)
    found = health.of(place.source, known, time.time())
    boxes = register.remembered(where, place.account, place.name)
    own = remote.given(place.own)
    settings = {key: (value, "source" if key in own else "default" if value == _plain(key) else "[incoming]")
                for key, value in place.source.model_dump(mode="json").items()}
    if as_json:
        command.print_json({**_data(place, known, found), "file": str(place.file), "remembered": boxes,
                            "settings": {key: {"value": value, "from": at} for key, (value, at) in settings.items()}})
        return
    click.echo(f"{place}: {found.word}{': ' if found.text else ''}{printable.line(found.text)}")
    for label, text in _facts(place, known, boxes).items():
        click.echo(f"  {label:<16} {text}")
    for key, (value, at) in settings.items():
        if everything or at != "default":
            click.echo(f"  {key:<16} {_written(key, value)}{'' if at == 'source' else f'   ({at})'}")


def _plain(key: str) -> Any:
    """The default of a key as JSON has it."""
    return incoming.Source().model_dump(mode="json")[key]


def _facts(place: Place, known: Status, boxes: dict[str, int]) -> dict[str, str]:
    now = time.time()
    facts = {"file": f"{place.file} [sources.{place.name}]", "last try": _ago(known.tried, now),
             "last success": _ago(known.succeeded, now), "next try": _due(place, known, now),
             "fetched": f"{known.fetched} mails ({values.size(known.octets)})"
             + (f", the last {_ago(known.last_fetched, now)}" if known.last_fetched else ""),
             "on the server": f"{known.kept} mails, {known.waiting} still to be fetched, {known.large} too large",
             "remembered": f"{sum(boxes.values())} mails"}
    if known.failures:
        facts["failing"] = f"{known.failures} times in a row, since {_ago(known.failing_since, now)}"
    return facts


def _written(key: str, value: Any) -> str:
    field = incoming.Source.model_fields[key]
    if isinstance(value, float) and "duration" in repr(field.metadata):
        return units.format_duration(value)
    if key.endswith("_size"):
        return units.format_size(int(value))
    return values.words(value)


def require_directory(where: Paths, place: Place) -> Path:
    """Where the state of a source lies; ends with 69 when there is none yet."""
    directory = state.directory(where, place.account, place.name)
    if not directory.is_dir():
        command.fail(f"nothing was fetched from {place} yet", os.EX_UNAVAILABLE)
    return directory
