"""Apps are made, changed and removed here: for commands, API and pages. How one is read is said in apps.py.

    create(paths, name, given, secret)      conf/apps/NAME.toml, its secret in conf/secrets/oauth-NAME
    change(paths, name, changes, secret)
    remove(paths, name)                     whoever has tokens by it needs a log-in with another one
    described(url)                          what a provider tells of itself

Refused has a sentence for people; ConfigError says what is wrong with a key.
"""

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from lanmail import atomic, conffile
from lanmail.clients import httpclient, tlsclient
from lanmail.oauth import apps, store
from lanmail.oauth.apps import App
from lanmail.oauth.uses import Use
from lanmail.paths import Paths
from lanmail.secret import NONE, Secret

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
# what a provider tells of itself (RFC 8414 §2) → our key
_METADATA = {"authorization_endpoint": "authorize_url", "token_endpoint": "token_url",
             "device_authorization_endpoint": "device_url", "revocation_endpoint": "revoke_url",
             "end_session_endpoint": "end_session_url", "userinfo_endpoint": "userinfo_url"}


class Refused(Exception):
    """It cannot be done; the text says why."""


def create(paths: Paths, name: str, given: Mapping[str, Any], secret: Secret = NONE) -> App:
    """A new app. Refused when there is one of this name; ConfigError, OSError."""
    path = apps.file_of(paths, name)
    if name.endswith(".keys"):
        raise Refused(f"{name!r} cannot be an app's name: the keys of the tokens are called so")
    if path.exists():
        raise Refused(f"there is an app {name!r} already")
    keys = dict(given) | ({"client_secret": _reference(name)} if secret else {})
    path.parent.mkdir(mode=0o750, exist_ok=True)
    text = conffile.render(path, "", {tuple(key.split(".")): value for key, value in keys.items()})
    conffile.create(path, text, lambda document: apps.parse(document, paths))
    if secret:
        _keep(paths, name, secret)
    return apps.load(paths, name)


def change(paths: Paths, name: str, changes: Mapping[str, Any], secret: Secret = NONE, *,
           version: str | None = None) -> App:
    """Change keys (dotted; None takes one away), all of them or none. ConfigError, conffile.Conflict, OSError."""
    path = apps.file_of(paths, name)
    keys = {tuple(key.split(".")): value for key, value in changes.items()}
    if secret:
        keys["client_secret",] = _reference(name)
        apps.parse(conffile.parse(path, conffile.preview(path, keys)[1]), paths)  # before the old secret is gone
        _keep(paths, name, secret)
    conffile.edit(path, keys, lambda document: apps.parse(document, paths), version=version)
    return apps.load(paths, name)


def users(paths: Paths, known: Iterable[Use], name: str) -> tuple[list[str], list[str]]:
    """The addresses that have tokens by an app, and those of the places in conf/ (uses.of) that name it."""
    places = [f"{use.address} ({use.where})" for use in known if use.app == name]
    return [address for _, address in store.Store(paths).all(name)], places


def remove(paths: Paths, name: str) -> list[str]:
    """Remove an app; the addresses that need a log-in with another one. OSError."""
    conffile.remove(apps.file_of(paths, name))
    (paths.secrets / f"oauth-{name}").unlink(missing_ok=True)
    return [address for _, address in store.Store(paths).all(name)]


async def mark_removed(paths: Paths, name: str, address: str) -> None:
    """Say at an address's tokens that the app is gone. OSError, store.Busy."""
    kept = store.Store(paths)
    async with kept.lock(name, address):
        record = kept.read(name, address)
        if record is not None:
            record.state, record.why, record.since = store.NEEDS_CONSENT, f"the app {name} was removed", time.time()
            kept.save(record)
            kept.mark(record, store.NEEDS_CONSENT)


def described(url: str) -> dict[str, Any]:
    """The keys that a provider's own description gives. Refused; MailError when it cannot be reached."""
    answer = asyncio.run(httpclient.send(httpclient.Request("GET", url), tlsclient.DEFAULT, None, 30.0))
    told: Any = None
    with contextlib.suppress(ValueError):
        told = json.loads(answer.body)
    if answer.status != 200 or not isinstance(told, dict) or not isinstance(told.get("token_endpoint"), str):
        raise Refused(f"{url} is no description of a provider: HTTP {answer.status} {answer.excerpt(80)}")
    found: dict[str, Any] = {
        ours: told[theirs] for theirs, ours in _METADATA.items() if isinstance(told.get(theirs), str)}
    if told.get("authorization_response_iss_parameter_supported") is True and isinstance(told.get("issuer"), str):
        found["issuer"] = told["issuer"]  # RFC 9207 §3
    return {"metadata_url": url, **found}


def looks_like_its_id(secret: Secret) -> bool:
    """Whether it is a GUID: what Microsoft shows beside a secret, and what is no secret."""
    return bool(_GUID.fullmatch(secret.reveal()))


def _reference(name: str) -> str:
    return f"file:secrets/oauth-{name}"


def _keep(paths: Paths, name: str, secret: Secret) -> None:
    """Only the programs read it, also when root makes it (conf/ is root's)."""
    path = paths.secrets / f"oauth-{name}"
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(path, secret.reveal() + "\n", mode=0o600)
    if os.geteuid() == 0 and paths.var.exists():
        owner = paths.var.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
