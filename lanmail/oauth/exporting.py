"""Moving to another server: apps, their secrets and all refresh tokens in one file under a passphrase.

    {"lanmail_oauth": 1, "made": …, "from": …, "scrypt": {"n": …, "r": …, "p": …, "salt": …}, "sealed": Fernet text}

`take` pauses every token here before it is read, for a refresh token that works once must not be spent by two servers;
`give` pauses nothing. Access tokens are left behind: the new server asks for its own. What a file may write here is the
apps it has and the secrets that these apps name, in conf/apps and conf/secrets and nowhere else.
"""

import base64
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from lanmail import atomic, conffile
from lanmail.errors import ConfigError, Permanent
from lanmail.oauth import apps, store
from lanmail.oauth.apps import App
from lanmail.oauth.store import Record, Store
from lanmail.paths import Paths
from lanmail.secret import Secret

VERSION = 1
SHORTEST = 8  # characters of a passphrase
_COST, _BLOCK, _LANES = 1 << 16, 8, 1  # RFC 7914: 64 MB of memory for each guess
_LIMIT = 64 << 20
_FILE = re.compile(r"secrets(?:/[A-Za-z0-9][A-Za-z0-9._@-]{0,99}){1,4}")
_KEPT = ("app", "address", "account", "login_as", "mailbox", "scope", "why", "granted", "refreshed", "refresh_expires",
         "testing", "claims")


@dataclass(slots=True)
class Parcel:
    """What is moved. `files` lie in conf/secrets; `missing` are secrets that lie elsewhere and were not packed."""

    apps: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    grants: list[dict[str, Any]] = field(default_factory=list, repr=False)
    missing: list[str] = field(default_factory=list)
    made: str = ""
    origin: str = ""


def pack(paths: Paths, records: list[Record]) -> Parcel:
    """Everything that is here. OSError, ConfigError."""
    parcel = Parcel(made=time.strftime("%Y-%m-%dT%H:%M:%S%z"), origin=socket.gethostname())
    for name in apps.names(paths):
        parcel.apps[name] = conffile.read_text(apps.file_of(paths, name))
        for reference in _references(apps.load(paths, name)):
            kind, _, place = reference.partition(":")
            if kind == "file" and _FILE.fullmatch(place):
                parcel.files[place] = atomic.read(paths.conf / place, 256 << 10)
            else:
                parcel.missing.append(f"app {name}: {reference}")
    for one in records:
        kept = {name: getattr(one, name) for name in _KEPT}
        parcel.grants.append({**kept, "state": one.state, "refresh": one.refresh.reveal()})
    return parcel


def _references(app: App) -> Iterator[str]:
    """Files and credentials that an app names."""
    for reference in (app.client_secret, app.private_key, app.service_account, app.proxy_password):
        if reference:
            yield reference
    for path in (app.certificate, app.tls_ca):
        if path:
            yield f"file:{path}"


async def take(kept: Store) -> list[Record]:
    """All records as they are, each paused here from now on."""
    records = []
    for app, address in list(kept.all()):
        async with kept.lock(app, address):
            record = kept.read(app, address)
            if record is None:
                continue
            records.append(_copy(record))
            if record.state != store.PAUSED:
                day = time.strftime("%Y-%m-%d")
                why = f"moved to another server on {day}; `lanmail oauth login` starts it here again"
                record.state, record.why, record.since = store.PAUSED, why, time.time()
                record.generation += 1
                kept.save(record)
                kept.mark(record, store.PAUSED)
    return records


async def give_back(kept: Store, records: list[Record]) -> None:
    """Undo `take`: the file could not be written."""
    for one in records:
        async with kept.lock(one.app, one.address):
            record = kept.read(one.app, one.address)
            if record is not None and record.state == store.PAUSED:
                record.state, record.why, record.since = one.state, one.why, one.since
                record.generation += 1
                kept.save(record)
                kept.mark(record, one.state)


def _copy(record: Record) -> Record:
    return Record(**{name: getattr(record, name) for name in Record.__dataclass_fields__})


def seal(parcel: Parcel, passphrase: str) -> bytes:
    """The file."""
    salt = os.urandom(16)
    plain = {"apps": parcel.apps, "grants": parcel.grants,
             "files": {name: base64.b64encode(data).decode() for name, data in parcel.files.items()}}
    box = Fernet(_key(passphrase, salt, _COST, _BLOCK, _LANES)).encrypt(json.dumps(plain).encode())
    head = {"lanmail_oauth": VERSION, "made": parcel.made, "from": parcel.origin, "sealed": box.decode(),
            "scrypt": {"n": _COST, "r": _BLOCK, "p": _LANES, "salt": base64.b64encode(salt).decode()}}
    return json.dumps(head, indent=1).encode() + b"\n"


def write(path: Path, data: bytes) -> None:
    """A new file, 0600, on disk for good. FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, 0o600)
    try:
        atomic.write_all(descriptor, data)
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    atomic.sync_dir(path.parent)


def open_(path: Path, passphrase: str) -> Parcel:
    """What is in a file. Permanent when it is no such file, or the passphrase is another. OSError."""
    try:
        head = json.loads(atomic.read(path, _LIMIT))
        cost = head["scrypt"]
        numbers = [int(cost[name]) for name in ("n", "r", "p")]
        salt, version = base64.b64decode(cost["salt"]), head["lanmail_oauth"]
    except (ValueError, KeyError, TypeError):
        raise Permanent(f"{path} is no file that `lanmail oauth export` made") from None
    if version != VERSION or not (1 << 14 <= numbers[0] <= 1 << 20 and numbers[1] <= 16 and numbers[2] <= 4):
        raise Permanent(f"{path} was made by another version")
    try:
        plain = json.loads(Fernet(_key(passphrase, salt, *numbers)).decrypt(str(head.get("sealed", ""))))
    except InvalidToken:
        raise Permanent(f"the passphrase is not the one of {path}, or the file is damaged") from None
    return Parcel(apps=plain["apps"], grants=plain["grants"], made=str(head.get("made", "")),
                  origin=str(head.get("from", "")),
                  files={name: base64.b64decode(data) for name, data in plain["files"].items()})


def _key(passphrase: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    made = hashlib.scrypt(passphrase.encode(), salt=salt, n=cost, r=block, p=lanes, dklen=32,
                          maxmem=256 * cost * block * lanes)
    return base64.urlsafe_b64encode(made)


def unpack_apps(
    paths: Paths, parcel: Parcel, keep: Callable[[Path, bytes], None], *, replace: bool = False,
) -> list[str]:
    """Write apps and their secrets; the names of those written. What is here already and differs needs `replace`.

    Nothing is written unless all can be. `keep` writes what is secret. ConfigError, Permanent, OSError.
    """
    todo: dict[Path, bytes] = {}
    written = []
    for name, text in parcel.apps.items():
        path = apps.file_of(paths, name)
        app = apps.parse(conffile.parse(path, text), paths)
        wanted = {path: text.encode()}
        for reference in _references(app):
            kind, _, place = reference.partition(":")
            if kind == "file" and place in parcel.files and _FILE.fullmatch(place):
                wanted[paths.conf / place] = parcel.files[place]
        changed = {file: data for file, data in wanted.items() if _there(file) != data}
        clash = [str(file) for file in changed if os.path.lexists(file)]
        if clash and not replace:
            raise Permanent(f"{', '.join(clash)} is here already and differs; --replace takes what is in the file")
        todo |= changed
        if changed:
            written.append(name)
    for file, data in sorted(todo.items()):
        if file.parent == apps.directory(paths):
            file.parent.mkdir(mode=0o750, exist_ok=True)
            atomic.write(file, data, mode=0o640)
        else:
            keep(file, data)
    return written


def _there(file: Path) -> bytes | None:
    try:
        return atomic.read(file, 1 << 20)
    except FileNotFoundError:
        return None


async def unpack_grant(kept: Store, grant: dict[str, Any], *, replace: bool = False) -> Record | None:
    """Put one grant into the store, to be renewed at once; None when a working one is here and stays. Permanent."""
    values = {name: grant[name] for name in _KEPT if name in grant}
    try:
        made = Record(**values)
        made.refresh = Secret(str(grant["refresh"]))
        made.address = made.address.lower()
        apps.load(kept.paths, made.app)
    except (TypeError, KeyError, AttributeError):
        raise Permanent("a grant in the file is damaged") from None
    except ConfigError as error:
        raise Permanent(f"{values.get('address')}: {error}") from None
    async with kept.lock(made.app, made.address):
        before = kept.read(made.app, made.address, decrypt=False)
        if before is not None and before.state == store.OK and not replace:
            return None
        made.generation = (before.generation if before else 0) + 1
        if grant.get("state") == store.NEEDS_CONSENT:
            made.state, made.since = store.NEEDS_CONSENT, time.time()
        kept.save(made)
        kept.mark(made, made.state)
    return made
