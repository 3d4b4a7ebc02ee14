"""`lanmail oauth status`: how each address's tokens are, for people and for monitoring."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import click

from lanmail.cli import command
from lanmail.errors import ConfigError, MailError
from lanmail.oauth import apps, appstate, store
from lanmail.oauth.apps import App
from lanmail.oauth.store import Access, Record, Store
from lanmail.paths import Paths

OK, WARNING, BROKEN = 0, 1, 2
_LATE = 300.0  # seconds that an access token may be over before it counts as broken
_SOON = 14 * 86400.0  # seconds before the end of a refresh token
_SECRET_DAYS = 30
_PLAIN = {store.NEEDS_CONSENT: "needs a log-in", store.APP_ERROR: "app is wrong", store.PAUSED: "paused"}

_NOTHING: dict[str, Any] = {
    "app": "", "address": "", "account": "", "mailbox": "", "login_as": "", "state": "", "scope": "", "granted": None,
    "refreshed": None, "tokens": [], "level": BROKEN, "findings": [],
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong or will be."""

    level: int
    text: str


@click.command()
@click.argument("addresses", metavar="[ADDRESS]...", nargs=-1)
@command.json_option
@command.rooted
def status(where: Paths, addresses: tuple[str, ...], as_json: bool) -> None:
    """Show all tokens: until when they are good, and what is wrong.

    Exit code 0: all is well; 1: something will need a hand, or is delayed; 2: mail stands still somewhere.
    """
    kept = Store(where)
    wanted = {one.lower() for one in addresses}
    rows = [_row(where, kept, app, address) for app, address in kept.all() if not wanted or address in wanted]
    for one in sorted(wanted - {row["address"] for row in rows}):
        rows.append(_missing(one))
    if as_json:
        command.print_json(rows)
    else:
        _print(rows)
    worst = max((row["level"] for row in rows), default=OK)
    if worst:
        click.get_current_context().exit(worst)


def _row(where: Paths, kept: Store, name: str, address: str) -> dict[str, Any]:
    row = _NOTHING | {"app": name, "address": address, "state": "broken"}
    try:
        record = kept.read(name, address, decrypt=False)
        there = [kept.access(name, address, one, decrypt=False) for one in kept.resources(name, address)]
    except MailError as error:
        return row | {"findings": [error.text]}
    if record is None:
        return row | {"findings": ["signed out meanwhile"], "level": OK}
    tokens = [one for one in there if one is not None]
    app: App | None = None
    try:
        app = apps.load(where, name)
    except ConfigError as error:
        found = [Finding(BROKEN, f"app {name}: {error.problems[0].text}")]
    else:
        found = []
    found += [*_of_record(record), *_of_tokens(record, tokens), *(_of_app(where, app) if app else ())]
    return row | {
        "account": record.account, "mailbox": record.mailbox, "login_as": record.login_as, "scope": record.scope,
        "state": next((one.state for one in tokens if one.state != store.OK), record.state),
        "granted": _stamp(record.granted), "refreshed": _stamp(record.refreshed),
        "tokens": [{"resource": one.resource, "expires": _stamp(one.expires), "fingerprint": one.fingerprint}
                   for one in tokens],
        "level": max((one.level for one in found), default=OK), "findings": [one.text for one in found],
    }


def _missing(address: str) -> dict[str, Any]:
    return _NOTHING | {"address": address, "state": "none",
                       "findings": [f"nobody has logged in: {command.typed()} oauth login {address}"]}


def _of_record(record: Record) -> Iterator[Finding]:
    now = time.time()
    again = f"{command.typed()} oauth login {record.address} --app {record.app}"
    if record.state == store.NEEDS_CONSENT:
        yield Finding(BROKEN, f"somebody has to log in again ({record.why or 'the provider wants it'}): {again}")
    elif record.state == store.PAUSED:
        yield Finding(WARNING, f"paused{f': {record.why}' if record.why else ''}")
    if record.failing and record.state == store.OK:
        text = str(record.error.get("text", ""))
        yield Finding(WARNING, f"no fresh token since {_stamp(record.failing)}{f': {text}' if text else ''}")
    if record.testing:
        yield Finding(WARNING, f"the app is in \"Testing\": each log-in ends after 7 days, this one "
                               f"{_stamp(record.granted + 7 * 86400)}; publish it (\"In production\"), then {again}")
    elif record.refresh_expires and record.refresh_expires - now < _SOON:
        yield Finding(WARNING, f"the log-in ends {_stamp(record.refresh_expires)}: {again}")


def _of_tokens(record: Record, tokens: list[Access]) -> Iterator[Finding]:
    if not tokens and record.state == store.OK:
        yield Finding(BROKEN, "there is no token for fetching and sending; does lanmail-tokend run?")
    for one in tokens:
        if one.state == store.APP_ERROR:
            yield Finding(BROKEN, f"no token for {one.resource}: {one.error.get('text', '')}".rstrip(": "))
        elif one.state == store.OK == record.state and one.expires < time.time() - _LATE:
            yield Finding(BROKEN, f"the token for {one.resource} ended {_stamp(one.expires)}; does lanmail-tokend run?")


def _of_app(where: Paths, app: App) -> Iterator[Finding]:
    known = appstate.read(where, app.name)
    if known.waits(appstate.stamp(where, app), time.time()):
        yield Finding(BROKEN, f"{app.title or app.name} refuses the app itself since {_stamp(known.broken)}: "
                              f"{known.error.get('text', '')}".rstrip(": "))
    if known.skew:
        yield Finding(WARNING, f"this machine's clock differs from the provider's by {abs(known.skew):.0f} s")
    if app.client_secret_expires:
        days = (date.fromisoformat(app.client_secret_expires) - date.today()).days
        if days < 0:
            yield Finding(BROKEN, f"the secret of app {app.name} ended on {app.client_secret_expires}")
        elif days <= _SECRET_DAYS:
            yield Finding(WARNING, f"the secret of app {app.name} ends on {app.client_secret_expires}, in {days} days")


def _stamp(moment: float) -> str | None:
    """Local time for people, which sorts; None for never."""
    return time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(moment)) if moment else None


def _print(rows: list[dict[str, Any]]) -> None:
    table = []
    for row in rows:
        ends = min((one["expires"] for one in row["tokens"] if one["expires"]), default="-")
        state = _PLAIN.get(row["state"], row["state"])
        table.append([row["address"], row["app"], row["account"] or "-", state, ends, row["refreshed"] or "-"])
    command.print_table(["address", "app", "account", "state", "good until", "renewed"], table,
                        f"no tokens yet; log in: {command.typed()} oauth login ADDRESS")
    for row in rows:
        for text in row["findings"]:
            click.echo(f"{row['address']}: {text}")
