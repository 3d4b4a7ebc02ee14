"""Keys for the HTTP API: conf/api.toml, a table for each.

    [keys.backup]
    hash = "…"                 SHA-256 of the key, which is random and shown once
    rights = "read"            admin, read, or account:NAME
    networks = ["192.168.1.0/24"]

`lanmail api key` makes and removes them; a change counts at once.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from lanmail import conffile, keys, names, schema
from lanmail.conffile import Document
from lanmail.errors import ConfigError
from lanmail.keys import Model
from lanmail.units import Network

PREFIX = "lm_"  # so that a key is known for one where it turns up


def _rights(value: object) -> str:
    if isinstance(value, str) and (value in ("admin", "read") or (
            value.startswith("account:") and not names.account_problem(value.removeprefix("account:")))):
        return value.lower()
    raise ValueError(f'{value!r} are no rights; write "admin", "read" or "account:NAME"')


class Key(Model):
    """One key, as it is stored."""

    hash: str = keys.key(..., "SHA-256 of the key, hexadecimal.", pattern=r"^[0-9a-f]{64}$")
    rights: Annotated[str, BeforeValidator(_rights)] = keys.key("read", "admin, read, or account:NAME.")
    networks: list[Network] = keys.key([], "Only from these networks; empty: from everywhere.")


class Keys(Model):
    """conf/api.toml."""

    keys: dict[str, Key] = keys.key({}, "The keys by name.")


def load(path: Path) -> dict[str, Key]:
    """All keys; no file is no key. ConfigError."""
    return _read(conffile.read(path)).keys if os.path.lexists(path) else {}


def _read(document: Document) -> Keys:
    return schema.validate(Keys, document, document.data)


def add(path: Path, name: str, rights: str, networks: list[str]) -> str:
    """Make a key; the key itself, which is nowhere else. FileExistsError, ValueError, ConfigError."""
    if names.account_problem(name):
        raise ValueError(f"{name!r}: a key's name has letters, digits, '.', '_' and '-' only")
    if name in load(path):
        raise FileExistsError(name)
    made = PREFIX + secrets.token_urlsafe(32)
    table = {"hash": _hash(made), "rights": _rights(rights), "networks": networks}
    if not os.path.lexists(path):
        conffile.create(path, "# Keys for the HTTP API; `lanmail api key` makes and removes them.\n", _read)
    conffile.edit(path, {("keys", name, key): value for key, value in table.items()}, _read)
    return made


def remove(path: Path, name: str) -> bool:
    """Take a key away; False when there was none. ConfigError."""
    if name not in load(path):
        return False
    conffile.edit(path, {("keys", name): None}, _read)
    return True


def forget(path: Path, account: str) -> list[str]:
    """Take away the keys of an account that is no more; their names. ConfigError."""
    gone = [name for name, key in load(path).items() if key.rights == f"account:{account}"]
    if gone:
        conffile.edit(path, {("keys", name): None for name in gone}, _read)
    return gone


def move(path: Path, account: str, new: str) -> list[str]:
    """The keys of an account are those of another name now. ConfigError."""
    moved = [name for name, key in load(path).items() if key.rights == f"account:{account}"]
    if moved:
        conffile.edit(path, {("keys", name, "rights"): f"account:{new}" for name in moved}, _read)
    return moved


def owner(path: Path, given: str, client: str) -> tuple[str, Key] | None:
    """Whose key this is, if it may be used from `client`. A broken file lets nobody in."""
    try:
        known = load(path)
    except ConfigError:
        return None
    mine, found = _hash(given), None
    for name, key in known.items():  # all of them, so that the time tells nothing
        if hmac.compare_digest(mine, key.hash):
            found = name, key
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return None
    return found if not found[1].networks or any(address in one for one in found[1].networks) else None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
