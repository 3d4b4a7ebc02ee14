"""outgoing.*: how mail of the office, or of one account, leaves: [outgoing] in lanmail.toml and accounts/NAME.toml."""

import asyncio
from typing import Any

from pydantic import Field

from lanmail import address, conffile, config, outgoing, transports
from lanmail.administration import wayout
from lanmail.errors import MailError
from lanmail.settings import Account
from lanmail.web.api import secrets
from lanmail.web.api.accounts import flat, own_keys
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.api.ownrules import path_of

LONGEST = 60.0  # seconds that a test may take


class Of(Params):
    """Whose way out."""

    name: str | None = Field(None, min_length=1, max_length=200, description="an account; without: that of all")


class Changed(Params):
    """Settings of [outgoing] of an account."""

    name: str = Field(min_length=1, max_length=200)
    settings: dict[str, Any] | None = Field(max_length=100, description="null: as for all again")
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")


class Tried(Params):
    """A way out to be tried."""

    name: str | None = Field(None, min_length=1, max_length=200, description="as if this account sent the mail")
    to: str = Field("", max_length=320, description="an address elsewhere; needed where recipients decide the way (mx)")


@method("outgoing.get", Of, needs="read", reads=True)
def get(call: Call, given: Of) -> dict[str, Any]:
    """The way out: "settings" are what counts, "own" keys stand with the account, "changes" is what else is done."""
    return _known(call, given.name)


@method("outgoing.set", Changed)
def set_(call: Call, given: Changed) -> dict[str, Any]:
    """Change how mail of an account leaves. Whoever names a server takes nothing of the log-in at that of all."""
    path = path_of(call, given.name)
    settings = given.settings
    if settings is None:  # every key that stands there goes
        settings = {}
        for key in own_keys(conffile.read(path).data):
            if key.startswith("outgoing."):
                _put(settings, key.split(".")[1:])
    changes = flat(secrets.stored(call, path.stem, {"outgoing": settings}))
    if changes or given.if_version is not None:
        config.edit(path, changes, version=given.if_version)
    return _known(call, path.stem)


@method("outgoing.test", Tried)
def test(call: Call, given: Tried) -> dict[str, Any]:
    """Reach the server and log in, but send nothing: "ok", the steps, and the problem. Takes a minute at most."""
    found = wayout.look(call.house.settings(), _account(call, given.name), _address(call, given.to))
    if found.way.transport == "mx" and not found.domain:
        raise Refused("invalid_field", "to: must be an address elsewhere, whose server is to be tried", "to")
    steps: list[str] = []
    problem = found.denied
    if not problem:
        house = transports.House(call.house.paths, call.house.settings)
        try:
            asyncio.run(asyncio.wait_for(wayout.probe(house, found, steps.append), LONGEST))
        except TimeoutError:
            problem = f"no end after {LONGEST:.0f} seconds"
        except (MailError, OSError) as error:
            problem = str(error)
    return {"ok": not problem, "steps": steps, "problem": problem or None, "transport": found.way.transport,
            "destination": found.destination, "own": found.own}


def _known(call: Call, name: str | None) -> dict[str, Any]:
    loaded = call.house.settings()
    account = _account(call, name)
    found = wayout.look(loaded, account, None)
    file = call.house.paths.config_file if account is None else call.house.paths.accounts / f"{account.name}.toml"
    own = sorted(key.removeprefix("outgoing.") for key in own_keys(conffile.read(file).data)
                 if key.startswith("outgoing."))
    return {"name": account.name if account is not None else None, "settings": _dumped(found.way), "own": own,
            "office": {"transport": loaded.outgoing.transport, "destination": outgoing.destination(loaded.outgoing)},
            "destination": found.destination, "denied": bool(found.denied), "version": conffile.version(file),
            "changes": [{"what": what, "how": how} for what, how in wayout.changes(found.way, loaded, bool(account))]}


def _dumped(way: outgoing.Outgoing) -> dict[str, Any]:
    return way.model_dump(mode="json", warnings=False)


def _account(call: Call, name: str | None) -> Account | None:
    if name is None:
        return None
    return config.load_account(path_of(call, name), call.house.settings().account_defaults)


def _address(call: Call, text: str) -> address.Address | None:
    if not text:
        return None
    try:
        found = address.parse(text)
    except ValueError as error:
        raise Refused("invalid_field", f"to: {error}", "to") from None
    if call.house.directory.is_local(found.domain):
        raise Refused("invalid_field", f"to: {text} is one of ours; mail to it does not leave", "to")
    return found


def _put(made: dict[str, Any], key: list[str]) -> None:
    for part in key[:-1]:
        made = made.setdefault(part, {})
    made[key[-1]] = None
