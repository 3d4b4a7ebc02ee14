"""oauth_token.*: the log-ins at providers. lanmail-tokend keeps the tokens; nothing of them comes out here.

An account sees and ends those that were made from it.
"""

import asyncio
from typing import Any

from pydantic import Field

from lanmail import tokens
from lanmail.errors import ConfigError
from lanmail.oauth import apps, ending, health, uses
from lanmail.oauth.health import Row
from lanmail.oauth.store import Store
from lanmail.web.api import external
from lanmail.web.api.frame import Call, Params, Refused, method

LONGEST = 60.0


class Which(external.Owned):
    """Those of an account, or all."""


class One(Params):
    """A log-in: an address at an app."""

    app: str = Field(min_length=1, max_length=64)
    address: str = Field(min_length=1, max_length=320)


@method("oauth_token.list", Which, needs="self", reads=True)
def list_(call: Call, given: Which) -> dict[str, Any]:
    """Every log-in: until when its tokens are good, what is wrong, and what it is for."""
    paths = call.house.paths
    account = external.account_of(call, given.account) if given.account or call.caller.account else ""
    found = [row for row in health.rows(paths) if not account or (row.record and row.record.account == account)]
    used: dict[tuple[str, str], list[str]] = {}
    for use in uses.of(paths, call.house.settings(), call.house.read) if not account else ():
        used.setdefault((use.app, use.address.lower()), []).append(use.where)
    return {"tokens": [_told(call, row) | {"used": used.get((row.app, row.address), [])} for row in found]}


def _told(call: Call, row: Row) -> dict[str, Any]:
    record = row.record
    try:
        app = apps.load(call.house.paths, row.app)
        title, revocable, page = app.title or row.app, bool(app.revoke_url), app.consent_page
    except ConfigError:
        title, revocable, page = row.app, False, ""
    return {"app": row.app, "title": title, "address": row.address, "account": record.account if record else "",
            "state": row.state, "level": row.level, "findings": [one.text for one in row.findings],
            "german": [one.german for one in row.findings],
            "again": any(one.again for one in row.findings),
            "granted": record.granted or None if record else None,
            "refreshed": record.refreshed or None if record else None,
            "expires": min((one.expires for one in row.tokens), default=None),
            "revocable": revocable, "consent_page": page}


def _mine(call: Call, given: One) -> str:
    """The address, if the caller may look after it. Refused."""
    address = given.address.lower()
    store = Store(call.house.paths)
    there = (given.app, address) in set(store.all(given.app))
    if call.caller.account is not None and there:
        record = store.read(given.app, address, decrypt=False)
        there = record is not None and record.account == call.caller.account
    if not there:
        raise Refused("not_found", "nobody has logged in for this address", "address")
    return address


def _only_mine(call: Call, given: One, address: str) -> None:
    """Refused when other people's mail stands still afterwards."""
    mine = call.caller.account
    known = uses.of(call.house.paths, call.house.settings(), call.house.read)
    if mine is not None and any(use.account != mine for use in known
                                if use.app == given.app and use.address.lower() == address):
        raise Refused("refused_by_rule", "this log-in is used elsewhere here, too; ask the administrator")


@method("oauth_token.refresh", One, needs="self")
def refresh(call: Call, given: One) -> dict[str, Any]:
    """Ask lanmail-tokend for a fresh token now."""
    address = _mine(call, given)
    resources = Store(call.house.paths).resources(given.app, address) or [tokens.MAIL]
    for resource in resources:
        tokens.request(call.house.paths, given.app, address, "now", resource)
    return {"app": given.app, "address": address, "asked": True}


@method("oauth_token.sign_out", One, needs="self")
def sign_out(call: Call, given: One) -> dict[str, Any]:
    """Delete the tokens here. The provider still lists us among those that may read the mail."""
    address = _mine(call, given)
    _only_mine(call, given, address)
    asyncio.run(ending.sign_out(call.house.paths, given.app, address))
    return {"app": given.app, "address": address, "end_session_url": _end_session(call, given.app)}


def _end_session(call: Call, name: str) -> str:
    try:
        return apps.load(call.house.paths, name).end_session_url
    except ConfigError:
        return ""


@method("oauth_token.revoke", One, needs="self")
def revoke(call: Call, given: One) -> dict[str, Any]:
    """Take the grant back at the provider, and delete the tokens here, whatever the provider says to it."""
    address = _mine(call, given)
    _only_mine(call, given, address)
    try:
        app = apps.load(call.house.paths, given.app)
    except ConfigError as error:
        raise Refused("refused_by_rule", error.problems[0].text, "app") from None
    if not app.revoke_url:
        by_hand = f"; people take it back themselves at {app.consent_page}" if app.consent_page else ""
        raise Refused("refused_by_rule", f"app {app.name} has no revoke_url{by_hand}", "app")
    problem = asyncio.run(ending.revoke(call.house.paths, app, address))
    return {"app": app.name, "address": address, "problem": problem or None, "consent_page": app.consent_page}
