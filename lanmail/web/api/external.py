"""external.*: mailboxes elsewhere whose mail is fetched into an account.

Settings are those of [sources.NAME] in the account's file. A password is given as {"secret": "…"} and never comes out.
An account may look after its own mailboxes; `account` may then be left out. What it may set: selfservice.py.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from lanmail import conffile, config, incoming, remote, schema, secret
from lanmail.administration import enrolment
from lanmail.incoming import Incoming, Source
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from lanmail.sources import Probe, explain, health, looking, place, providers, register, status
from lanmail.sources.register import Place
from lanmail.web.api import oauthapps, selfservice
from lanmail.web.api.frame import Call, Params, Refused, method

T = TypeVar("T")
SECRETS = frozenset({"password", "proxy_password"})
AGAIN = 15.0  # seconds until an account may ask again for a visit that failed
_AT_A_TIME = 6  # tests, of one process: each may take a minute and a half
_testing = threading.BoundedSemaphore(_AT_A_TIME)


class Owned(Params):
    """An account; one that calls for itself may leave it out."""

    account: str | None = Field(None, min_length=1, max_length=200)


class Which(Owned):
    """Which account, or all of them, and a page of the list."""

    level: int = Field(0, ge=0, le=2, description="1: only those with a problem; 2: only those that need somebody")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=500)


class One(Owned):
    """An external mailbox."""

    name: str = Field(min_length=1, max_length=64)

    @property
    def label(self) -> str:
        """What the record of changes says."""
        return f"{self.account}/{self.name}" if self.account else self.name


class New(Owned):
    """A mailbox elsewhere. Servers of well-known providers are found by the address."""

    address: str = Field(min_length=1, max_length=320)
    name: str | None = Field(None, min_length=1, max_length=64, description="how to call it; else after its server")
    provider: str | None = Field(None, max_length=64, description="one of external.providers; else by the address")
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)
    test: bool = Field(True, description="log in there first; nothing is stored when that fails")


class Changed(One):
    """Settings to be changed; null takes one away."""

    settings: dict[str, Any] = Field(max_length=100)
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")


class Removed(One):
    """A mailbox that is no longer fetched."""

    forget: bool = Field(False, description="forget as well which mails were fetched")


class Nothing(Params):
    """No parameters."""


def account_of(call: Call, given: str | None) -> str:
    """Whose mailboxes it is about. Refused."""
    if given is None:
        if call.caller.account is None:
            raise Refused("invalid_field", "name the account", "account")
        return call.caller.account
    return call.only(given)


def _file(call: Call, given: str | None) -> Path:
    account = account_of(call, given)
    path = enrolment.find(call.house.paths, account)
    if path is None:
        raise Refused("not_found", f"there is no account {account[:100]!r}", "account")
    return path


def find(call: Call, given: One, *, change: bool = True) -> Place:
    """The mailbox that is meant, if the caller may look after it. Refused."""
    path, loaded = _file(call, given.account), call.house.settings()
    read = config.load_account(path, loaded.account_defaults)
    own = read.sources.get(given.name)
    if own is None:
        raise Refused("not_found", f"{path.stem} has no external mailbox {given.name!r}", "name")
    found = Place(path.stem, given.name, path, own, incoming.of(loaded.incoming, own))
    if change and call.caller.account is not None:
        selfservice.refuse_foreign(found)
    return found


def known(call: Call, found: Place) -> dict[str, Any]:
    """What is told of a mailbox."""
    state = status.load(call.house.paths, found.account, found.name)
    judged = health.of(found.source, state, time.time())
    mine = call.caller.account is not None
    settings = found.source.model_dump(mode="json", exclude=set(SECRETS))
    return {
        "account": found.account, "name": found.name, "protocol": found.source.protocol, "host": found.source.host,
        "port": incoming.port_of(found.source), "user": found.source.user, "state": judged.word,
        "problem": judged.text or None, "advice": explain.advice(judged.text, found.source.host),
        "level": _level(call, found),
        "status": asdict(state), "consent": _consent(call, found),
        "settings": {key: value for key, value in settings.items() if not mine or key in selfservice.MAY},
        "own": sorted(key for key in remote.given(found.own) if not mine or key in selfservice.MAY),
        "changeable": not (mine and found.own.multidrop),
        "password": None, "password_set": bool(found.source.password), "proxy_password": None,
        "proxy_password_set": bool(found.source.proxy_password) and not mine, "version": conffile.version(found.file)}


def _consent(call: Call, found: Place) -> dict[str, Any] | None:
    """How the log-in at the provider is, where there is one."""
    if found.source.auth != "oauth2":
        return None
    record = Store(call.house.paths).read(found.source.app, found.source.user, decrypt=False)
    if record is None or (call.caller.account is not None and record.account not in ("", found.account)):
        return {"app": found.source.app, "state": "none", "why": "", "granted": None}
    return {"app": found.source.app, "state": record.state, "why": record.why, "granted": record.granted or None}


@method("external.list", Which, needs="self", reads=True)
def list_(call: Call, given: Which) -> dict[str, Any]:
    """External mailboxes and how fetching from them goes, the worst first; of one account, or for administrators all.

    `levels` counts those that are well (0), that cannot be reached now (1), and that need somebody (2).
    """
    account = account_of(call, given.account) if given.account or call.caller.account else ""
    broken: list[str] = []
    judged = [(_level(call, one), one) for one in register.all_of(
        call.house.paths, call.house.settings(), account, lambda path, _error: broken.append(path.stem),
        call.house.read)]
    levels = [sum(1 for level, _ in judged if level == wanted) for wanted in (health.OK, health.WARNING, health.BROKEN)]
    found = sorted((one for one in judged if one[0] >= given.level), key=lambda one: -one[0])
    page = [one for _, one in found[given.offset : given.offset + given.limit]]
    return {"total": len(found), "levels": levels, "mailboxes": [known(call, one) for one in page], "broken": broken}


def _level(call: Call, found: Place) -> int:
    consent = _consent(call, found)
    if consent is not None and consent["state"] in ("none", "needs_consent"):
        return health.BROKEN
    state = status.load(call.house.paths, found.account, found.name)
    return health.of(found.source, state, time.time()).level


@method("external.get", One, needs="self", reads=True)
def get(call: Call, given: One) -> dict[str, Any]:
    """One mailbox: settings, which of them are its own, how fetching went, and how many mails are remembered."""
    found = find(call, given, change=False)
    return known(call, found) | {"remembered": register.remembered(call.house.paths, found.account, found.name)}


@method("external.providers", Nothing, needs="self", reads=True)
def providers_(call: Call, given: Nothing) -> dict[str, Any]:
    """Well-known providers, and the apps by which people log in at one."""
    del given
    found = [{"name": one.name, "title": one.title, "imap": one.imap, "pop3": one.pop3, "advice": one.advice,
              "german": one.german, "app": one.app} for one in providers.known().values()]
    return {"providers": found, "apps": oauthapps.for_people(call.house.paths)}


@method("external.create", New, needs="self")
def create(call: Call, given: New) -> dict[str, Any]:
    """Fetch the mail of a mailbox elsewhere from now on. It is tried first, unless test is false."""
    path = _file(call, given.account)
    mine = call.caller.account is not None
    if mine:
        selfservice.check(given.settings)
    keys, typed = _taken(given.settings)
    keys = {key: value for key, value in keys.items() if value is not None}
    provider = _provider(call, given, keys)
    keys = _completed(call, keys, given.address, provider)
    own = _model(keys, typed)
    taken = set(config.load_account(path, call.house.settings().account_defaults).sources)
    if mine and len(taken) >= selfservice.MOST:
        raise Refused("refused_by_rule", f"more than {selfservice.MOST} mailboxes are set up by the administrator")
    if mine:
        keys, own = _settled(call, path.stem, None, own, keys, typed)
    name = _name(given.name, incoming.of(call.house.settings().incoming, own).host, provider, taken)
    found = _try(call, path.stem, name, own, typed.get("password", secret.NONE)) if given.test else None
    made = _again(lambda: _made(call, path, name, keys, typed), really=True)
    return made | {"found": found, "hint": provider.advice if provider else ""}


def _provider(call: Call, given: New, keys: dict[str, Any]) -> providers.Provider | None:
    try:
        return providers.find(call.house.settings(), given.address, given.provider or "", str(keys.get("host", "")))
    except KeyError:
        raise Refused("invalid_field", f"there is no provider {given.provider!r}", "provider") from None


def _completed(call: Call, keys: dict[str, Any], address: str, provider: providers.Provider | None) -> dict[str, Any]:
    """What follows from the address and the provider, where nothing else is said."""
    protocol = keys.get("protocol", "imap")
    found: dict[str, Any] = {"interface": "standard", "protocol": protocol, "user": address}
    server = "" if provider is None else provider.pop3 if protocol == "pop3" else provider.imap
    if keys.get("app"):
        found["auth"] = "oauth2"
        if "host" not in keys and call.caller.account is None:
            found |= selfservice.servers(call.house.paths, str(keys["app"]), address, protocol) or {"host": server}
    elif provider is not None and "host" not in keys:
        if not server:
            raise Refused("invalid_field", f"{provider.title} offers no POP3; take IMAP", "settings.protocol")
        if provider.app:
            raise Refused("invalid_field", f"{provider.advice} Choose the log-in at the provider.", "settings.app")
        found["host"] = server
    return found | keys


def _name(wished: str | None, host: str, provider: providers.Provider | None, taken: set[str]) -> str:
    if wished is None:
        return register.free(provider.name, taken) if provider else register.name_for(host, taken)
    try:
        chosen = incoming.name(wished)
    except ValueError as error:
        raise Refused("invalid_field", str(error), "name") from None
    if chosen in taken:
        raise Refused("exists", f"there is an external mailbox {chosen!r} already", "name")
    return chosen


def _made(call: Call, path: Path, name: str, keys: dict[str, Any], typed: dict[str, Secret]) -> dict[str, Any]:
    """Write it down, unless somebody made one of that name meanwhile."""
    version = conffile.version(path)
    if name in config.load_account(path).sources:
        raise Refused("exists", f"there is an external mailbox {name!r} already", "name")
    paths = call.house.paths
    if "proxy_password" in typed:
        keys = keys | {"proxy_password": register.store_password(paths, path.stem, name, typed["proxy_password"])}
    register.make(paths, path, name, keys, typed.get("password", secret.NONE), version=version)
    place.request(paths, path.stem, name)
    return known(call, find(call, One(account=path.stem, name=name), change=False))


@method("external.modify", Changed, needs="self")
def modify(call: Call, given: Changed) -> dict[str, Any]:
    """Change settings of a mailbox; all of them or, if one is wrong, none."""
    return _again(lambda: _modified(call, given), really=given.if_version is None)


def _again(work: Callable[[], T], *, really: bool) -> T:
    """Once more when somebody else was faster, and nobody asked to be told."""
    for left in (3, 2, 1, 0):
        try:
            return work()
        except conffile.Conflict:
            if not (really and left):
                raise
    raise AssertionError


def _modified(call: Call, given: Changed) -> dict[str, Any]:
    mine = call.caller.account is not None
    if mine:
        selfservice.check(given.settings)
    changes, typed = _taken(given.settings)
    version = given.if_version or conffile.version(_file(call, given.account))
    before = find(call, given)
    kept = before.own.model_dump(mode="python", include=remote.given(before.own), by_alias=True)
    after = {key: value for key, value in (kept | changes).items() if value is not None}
    own = _model(after, typed)
    if mine:
        changes, own = _settled(call, before.account, before.own, own, changes, typed)
    paths = call.house.paths
    for key in typed:
        changes[key] = register.store_password(paths, before.account, before.name, typed[key])
    config.edit(before.file, {before.key(key): value for key, value in changes.items()}, version=version)
    for key in SECRETS & changes.keys():
        if (old := getattr(before.own, key)) != changes[key]:
            register.forget_password(paths, old)
    if own.interface != "disabled":
        place.request(paths, before.account, before.name)
    return known(call, find(call, given, change=False))


def _settled(call: Call, account: str, before: Source | None, own: Source, keys: dict[str, Any],
             typed: dict[str, Secret]) -> tuple[dict[str, Any], Source]:
    """Keys and source as the rules for accounts want them."""
    besides = selfservice.settled(call.house.paths, call.house.settings(), account, before, own,
                                  typed="password" in typed)
    made = own.model_dump(mode="python", include=remote.given(own)) | besides
    if besides.get("password", "") is None:
        typed.pop("password", None)
    if before is None:
        besides = {key: value for key, value in besides.items() if value is not None}
    return keys | besides, _model({key: value for key, value in made.items() if value is not None}, typed)


def _taken(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Secret]]:
    """Settings, and apart from them the secrets that were typed. Refused."""
    typed: dict[str, Secret] = {}
    for key, value in settings.items():
        if key in SECRETS and isinstance(value, dict):
            text = value.get("secret")
            if set(value) != {"secret"} or not isinstance(text, str) or not 1 <= len(text) <= 1024 or any(
                    one in text for one in "\r\n\0"):
                raise Refused("invalid_field", 'write a password as {"secret": "…"}, on one line', f"settings.{key}")
            typed[key] = Secret(text)
    return {key: value for key, value in settings.items() if key not in typed}, typed


def _model(keys: dict[str, Any], typed: dict[str, Secret]) -> Source:
    """The source that would be. Refused."""
    try:
        return Source.model_validate(keys | dict.fromkeys(typed, "file:secrets/typed"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            raise Refused("invalid_field", f"unknown key {key[:100]!r}", f"settings.{key[:100]}") from None
        text = first["msg"].removeprefix("Value error, ")
        raise Refused("invalid_field", f"{key}: {text}", f"settings.{key}", [schema.broken(Source, first)]) from None


def _try(call: Call, account: str, name: str, own: Source, password: Secret) -> dict[str, Any] | None:
    """What is found there, before anything is stored; a log-in at a provider comes later. Refused."""
    way = incoming.of(call.house.settings().incoming, own)
    if way.interface == "disabled" or way.auth == "oauth2":
        return None
    try:
        return described(_look(call, account, name, way, lambda _text: None, password))
    except looking.Failed as failed:
        field = {"settings": None, "login": "settings.password", "server": "settings.host"}[failed.kind]
        raise Refused("refused_by_rule", " ".join([str(failed), *failed.advice]), field) from None


def _look(call: Call, account: str, name: str, source: Source, say: Callable[[str], None],
          password: Secret = secret.NONE) -> Probe:
    if not _testing.acquire(blocking=False):
        raise Refused("busy", "several mailboxes are being tried just now; try again in a minute")
    try:
        return looking.look(call.house.paths, call.house.settings(), account, name, source, say, password)
    finally:
        _testing.release()


def described(found: Probe) -> dict[str, Any]:
    """What a test found."""
    return {**asdict(found), "oldest": found.oldest or None}


@method("external.test", One, needs="self")
def test(call: Call, given: One) -> dict[str, Any]:
    """Log in there and look, without fetching: banner, capabilities, mails, the oldest, folders; or what is wrong."""
    found = find(call, given)
    _not_too_often(call, found)
    steps: list[str] = []
    try:
        seen = _look(call, found.account, found.name, found.source, steps.append)
    except looking.Failed as failed:
        return {"ok": False, "steps": steps, "problem": str(failed), "advice": failed.advice, "found": None}
    return {"ok": True, "steps": steps, "problem": None, "advice": [], "found": described(seen)}


def _not_too_often(call: Call, found: Place) -> None:
    """Providers lock mailboxes after some wrong log-ins: an account that tries again and again has to wait."""
    last = status.load(call.house.paths, found.account, found.name)
    if call.caller.account is not None and last.failures and 0 <= time.time() - last.tried < AGAIN:
        raise Refused("rate_limited", f"it was tried a moment ago; wait {AGAIN:.0f} seconds")


@method("external.fetch_now", One, needs="self", always=True)
def fetch_now(call: Call, given: One) -> dict[str, Any]:
    """Do not wait for the next visit. It also tries again where log-ins were refused too often."""
    found = find(call, given, change=False)
    if found.source.interface == "disabled":
        raise Refused("refused_by_rule", 'it is switched off: interface is "disabled"')
    _not_too_often(call, found)
    place.request(call.house.paths, found.account, found.name)
    return {"account": found.account, "name": found.name, "asked": True}


@method("external.forget", One, needs="self")
def forget(call: Call, given: One) -> dict[str, Any]:
    """Forget which mails were fetched; whatever is still on the server comes once more."""
    found = find(call, given)
    return {"forgotten": register.forget(call.house.paths, found.account, found.name)}


@method("external.delete", Removed, needs="self")
def delete(call: Call, given: Removed) -> dict[str, Any]:
    """Fetch nothing from there any more. Mail that was fetched stays; on the server nothing is changed."""
    found, paths = find(call, given), call.house.paths
    config.edit(found.file, {("sources", found.name): None})
    for key in SECRETS:
        register.forget_password(paths, getattr(found.own, key))
    forgotten = register.forget(paths, found.account, found.name) if given.forget else 0
    return {"account": found.account, "name": found.name, "forgotten": forgotten}


@method("external.default_folders", Nothing, needs="self", reads=True)
def default_folders(call: Call, given: Nothing) -> dict[str, Any]:
    """The folders that are left out by default."""
    del given
    default: Incoming = call.house.settings().incoming
    return {"exclude": list(default.exclude)}
