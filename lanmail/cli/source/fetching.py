"""`lanmail source fetch`: do not wait for the next visit."""

import os
import time
from dataclasses import dataclass

import click

from lanmail import printable
from lanmail.cli import command, values
from lanmail.cli.source import places
from lanmail.paths import Paths
from lanmail.sources import explain, status
from lanmail.sources import place as state
from lanmail.sources.register import Place
from lanmail.sources.status import Status

TAKEN = 15.0  # seconds after which a wish that still lies there means that nobody takes it
_POLL = 0.1


@dataclass(slots=True)
class Wish:
    """A visit that was asked for: when, and what was known before."""

    place: Place
    before: Status
    found: Status | None = None


@click.command(short_help="Fetch now.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All sources that are not switched off.")
@click.option("--no-wait", is_flag=True, help="Only ask for it.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait for the end.")
@command.json_option
@command.rooted
def fetch(where: Paths, names: tuple[str, ...], everything: bool, no_wait: bool, timeout: float, as_json: bool) -> None:
    """Fetch from these sources now, and tell what came.

    Also tries again where log-ins were refused too often. lanmail-fetchmail does the work and must be running. Exit
    code 69 when it is not, 74 when something could not be fetched, 75 when it takes too long.
    """
    loaded = command.settings_of(where)
    if not names and not everything:
        raise click.UsageError("name the sources to fetch from, or say --all")
    chosen = [places.one(where, loaded, name) for name in names] if names else [
        place for place in places.all_of(where, loaded) if place.source.interface != "disabled"]
    for place in chosen:
        if place.source.interface == "disabled":
            command.fail(f'{place} is switched off; lanmail source set {place} interface=standard', os.EX_CONFIG)
    command.become_owner_of(where.state)
    wishes = [_ask(where, place) for place in chosen]
    if no_wait:
        click.echo(f"asked for {', '.join(str(one.place) for one in wishes) or 'nothing'}")
        return
    _wait(where, wishes, timeout, quiet=as_json)
    _tell(wishes, as_json=as_json)


def _ask(where: Paths, place: Place) -> Wish:
    wish = Wish(place, status.load(where, place.account, place.name))
    state.request(where, place.account, place.name)
    return wish


def _wait(where: Paths, wishes: list[Wish], timeout: float, *, quiet: bool) -> None:
    """Until all visits are over; ends with 69 when nobody takes the wishes, with 75 when it takes too long."""
    begun = time.monotonic()
    while True:
        for wish in wishes:
            now = status.load(where, wish.place.account, wish.place.name)
            if wish.found is None and now.tried > wish.before.tried:
                wish.found = now
        if all(wish.found for wish in wishes):
            return
        passed = time.monotonic() - begun
        if passed > TAKEN and any(state.is_requested(where, one.place.account, one.place.name) for one in wishes):
            command.fail("nobody takes the wish: is lanmail-fetchmail running? (lanmail up, or systemctl start "
                         "lanmail-fetchmail); it fetches as soon as it is started", os.EX_UNAVAILABLE)
        if passed > timeout:
            late = ", ".join(str(wish.place) for wish in wishes if not wish.found)
            command.fail(f"{late}: still at it; see lanmail source list", os.EX_TEMPFAIL)
        time.sleep(_POLL)


def _tell(wishes: list[Wish], *, as_json: bool) -> None:
    failed = False
    told = []
    for wish in wishes:
        found = wish.found
        assert found is not None
        failed = failed or bool(found.failures)
        mails, octets = found.fetched - wish.before.fetched, found.octets - wish.before.octets
        told.append({"source": str(wish.place), "fetched": mails, "octets": octets, "waiting": found.waiting,
                     "kept": found.kept, "large": found.large, "seconds": found.seconds,
                     "problem": found.error if found.failures else None})
        if as_json:
            continue
        if found.failures:
            advice = explain.advice(found.error, wish.place.source.host)
            click.echo("\n  ".join([f"{wish.place}: {printable.line(found.error)}", *advice]), err=True)
            continue
        more = f", {found.waiting} still to come" if found.waiting else ""
        large = f", {found.large} too large" if found.large else ""
        click.echo(f"{wish.place}: {mails} {'mail' if mails == 1 else 'mails'} ({values.size(octets)}) in "
                   f"{found.seconds:.1f} s{more}{large}")
    if as_json:
        command.print_json(told)
    if failed:
        click.get_current_context().exit(os.EX_IOERR)
