"""oauth_app.*: who we are at providers. Settings are those of conf/apps/NAME.toml; secrets go in and never come out."""

import asyncio
import re
from typing import Any

from pydantic import Field

from lanmail import conffile, secret
from lanmail.errors import ConfigError
from lanmail.oauth import apps, registry, store, uses
from lanmail.oauth.apps import App
from lanmail.oauth.uses import Use
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.words import findings

SECRETS = frozenset({"client_secret", "private_key", "service_account", "proxy_password"})
Name = Field(min_length=1, max_length=64)


class Nothing(Params):
    """No parameters."""


class Named(Params):
    """An app."""

    name: str = Name


class New(Named):
    """A new app, on top of a preset, of what a provider says of itself, or of three URLs in the settings."""

    preset: str = Field("", max_length=64)
    metadata: str = Field("", max_length=500, description="a provider that describes itself at this URL (RFC 8414)")
    client_id: str = Field("", max_length=500)
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)


class Changed(Named):
    """Settings to be changed; null takes one away, so that the preset's counts again."""

    settings: dict[str, Any] = Field(max_length=100)
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")


class Removed(Named):
    """An app that is no longer needed."""

    force: bool = Field(False, description="even while it is in use")


def for_people(paths: Paths) -> list[dict[str, Any]]:
    """The apps by which people log in: nothing of how."""
    found = []
    for name in apps.names(paths):
        try:
            app = apps.load(paths, name)
        except ConfigError:
            continue
        if app.needs_person and {"imap", "pop3"} & set(app.use):
            found.append({"name": name, "title": app.title or name, "hint": app.hint,
                          "protocols": [one for one in ("imap", "pop3") if one in app.use and app.servers.get(one)]})
    return found


def _uses(call: Call) -> list[Use]:
    return list(uses.of(call.house.paths, call.house.settings(), call.house.read))


def _known(call: Call, name: str, known: list[Use] | None = None) -> dict[str, Any]:
    paths = call.house.paths
    users, places = registry.users(paths, _uses(call) if known is None else known, name)
    row: dict[str, Any] = {"name": name, "problem": None, "problem_de": None, "addresses": users, "places": places,
                           "version": conffile.version(apps.file_of(paths, name))}
    try:
        app = apps.load(paths, name)
    except ConfigError as error:
        wrong = error.problems[0]
        return row | {"problem": wrong.text, "problem_de": findings.placed(wrong), "title": name, "settings": {},
                      "secret_set": False}
    own = conffile.read(apps.file_of(paths, name)).data
    return row | {"title": app.title or app.preset or name,
                  "settings": app.model_dump(mode="json", exclude=set(SECRETS)),
                  "own": sorted(own), "secret_set": bool(app.client_secret), "needs_person": app.needs_person,
                  "scopes": [{"resource": name, "scopes": scopes} for name, scopes in app.resources.items()],
                  "redirect_uri": app.redirect_uri or "http://localhost", "revocable": bool(app.revoke_url),
                  **dict.fromkeys(SECRETS)}


@method("oauth_app.presets", Nothing, needs="read", reads=True)
def presets(call: Call, given: Nothing) -> dict[str, Any]:
    """The providers that are known already."""
    del given
    found = []
    for name in apps.presets(call.house.paths):
        said = apps.preset(name, call.house.paths) or {}
        found.append({"name": name, "title": str(said.get("title", name)), "hint": str(said.get("hint", ""))})
    return {"presets": found}


@method("oauth_app.list", Nothing, needs="read", reads=True)
def list_(call: Call, given: Nothing) -> dict[str, Any]:
    """All apps: what they are for, who has tokens by them, what is wrong."""
    del given
    known = _uses(call)
    return {"apps": [_known(call, name, known) for name in apps.names(call.house.paths)]}


@method("oauth_app.get", Named, needs="read", reads=True)
def get(call: Call, given: Named) -> dict[str, Any]:
    """One app."""
    return _known(call, _name(call, given.name))


@method("oauth_app.create", New)
def create(call: Call, given: New) -> dict[str, Any]:
    """Make an app. `client_secret` is given in the settings as {"secret": "…"}."""
    keys, typed = _taken(given.settings)
    keys |= {key: value for key, value in (("preset", given.preset), ("client_id", given.client_id)) if value}
    keys = {key: value for key, value in keys.items() if value is not None}
    try:
        if given.metadata:
            if not given.metadata.startswith(("https://", "http://")):
                raise Refused("invalid_field", "metadata: must be a URL like https://login.example", "metadata")
            keys = registry.described(given.metadata) | keys
        app = registry.create(call.house.paths, given.name, keys, typed)
    except registry.Refused as error:
        taken = "already" in str(error)
        raise Refused("exists" if taken else "invalid_field", str(error), "name" if taken else None) from None
    return _known(call, app.name) | {"remarks": remarks(app, typed)}


@method("oauth_app.modify", Changed)
def modify(call: Call, given: Changed) -> dict[str, Any]:
    """Change an app. Tokens stay; `again` are addresses that need a new log-in for it."""
    name = _name(call, given.name)
    keys, typed = _taken(given.settings)
    before = _loaded(call, name)
    app = registry.change(call.house.paths, name, keys, typed, version=given.if_version)
    fresh = before is None or (before.client_id, before.scope()) != (app.client_id, app.scope())
    return _known(call, name) | {"remarks": remarks(app, typed), "again": [
        address for _, address in store.Store(call.house.paths).all(name)] if fresh else []}


@method("oauth_app.delete", Removed)
def delete(call: Call, given: Removed) -> dict[str, Any]:
    """Remove an app. While it is in use only with force: whoever has tokens by it needs another log-in."""
    name = _name(call, given.name)
    users, places = registry.users(call.house.paths, _uses(call), name)
    if (users or places) and not given.force:
        raise Refused("refused_by_rule", f"app {name} is used by {', '.join([*users, *places])[:1000]}", "force")
    registry.remove(call.house.paths, name)
    for address in users:
        asyncio.run(registry.mark_removed(call.house.paths, name, address))
    return {"name": name, "again": users}


def remarks(app: App, typed: Secret) -> list[str]:
    """What somebody should know who has just set it up."""
    found = [app.hint] if app.hint and app.needs_person else []
    if registry.looks_like_its_id(typed):
        found.append("This secret looks like its id; the provider shows the secret itself (Value) only once, right "
                     "after it was made.")
    return found


def _name(call: Call, name: str) -> str:
    if name not in apps.names(call.house.paths):
        raise Refused("not_found", f"there is no app {name[:64]!r}", "name")
    return name


def _loaded(call: Call, name: str) -> App | None:
    try:
        return apps.load(call.house.paths, name)
    except ConfigError:
        return None


def _taken(settings: dict[str, Any]) -> tuple[dict[str, Any], Secret]:
    """Dotted keys as they stand in the file, and the secret that was typed. Refused."""
    typed, found = secret.NONE, {}
    for key, value in settings.items():
        if key not in App.model_fields or key == "name":
            raise Refused("invalid_field", f"an app has no key {key[:64]!r}", f"settings.{key[:64]}")
        if key == "client_secret" and isinstance(value, dict):
            text = value.get("secret")
            if set(value) != {"secret"} or not isinstance(text, str) or not 1 <= len(text.strip()) <= 4096 or re.search(
                    r"[\r\n\0]", text.strip()):
                raise Refused("invalid_field", 'write the secret as {"secret": "…"}, on one line',
                              "settings.client_secret")
            typed = Secret(text.strip())
        else:
            found[key] = value
    return found, typed
