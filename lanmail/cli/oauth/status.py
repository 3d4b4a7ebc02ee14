"""`lanmail oauth status`: how each address's tokens are, for people and for monitoring."""

from typing import Any

import click

from lanmail.cli import command
from lanmail.oauth import health, store
from lanmail.oauth.health import Finding, Row
from lanmail.paths import Paths

_PLAIN = {store.NEEDS_CONSENT: "needs a log-in", store.APP_ERROR: "app is wrong", store.PAUSED: "paused"}


@click.command()
@click.argument("addresses", metavar="[ADDRESS]...", nargs=-1)
@command.json_option
@command.rooted
def status(where: Paths, addresses: tuple[str, ...], as_json: bool) -> None:
    """Show all tokens: until when they are good, and what is wrong.

    Exit code 0: all is well; 1: something will need a hand, or is delayed; 2: mail stands still somewhere.
    """
    rows = [_told(one) for one in health.rows(where, {one.lower() for one in addresses})]
    if as_json:
        command.print_json(rows)
    else:
        _print(rows)
    worst = max((row["level"] for row in rows), default=health.OK)
    if worst:
        click.get_current_context().exit(worst)


def _told(row: Row) -> dict[str, Any]:
    record = row.record
    return {
        "app": row.app, "address": row.address, "account": record.account if record else "",
        "mailbox": record.mailbox if record else "", "login_as": record.login_as if record else "",
        "state": row.state, "scope": record.scope if record else "",
        "granted": health.stamp(record.granted) if record else None,
        "refreshed": health.stamp(record.refreshed) if record else None,
        "tokens": [{"resource": one.resource, "expires": health.stamp(one.expires), "fingerprint": one.fingerprint}
                   for one in row.tokens],
        "level": row.level, "findings": [_said(row, one) for one in row.findings]}


def _said(row: Row, one: Finding) -> str:
    """With the command that mends it."""
    app = f" --app {row.app}" if row.app else ""
    return f"{one.text}: {command.typed()} oauth login {row.address}{app}" if one.again else one.text


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
