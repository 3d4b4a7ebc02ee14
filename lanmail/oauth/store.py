"""What is known of each address's grant, in flat files that are replaced whole.

    state/oauth/refresh/APP/ADDRESS.json   0600, ours alone: a `Record`, its refresh token encrypted (REFRESH)
    state/tokens/APP/ADDRESS.json          0640, for readers (lanmail.tokens): an `Access`, encrypted (ACCESS)
    state/tokens/APP/ADDRESS,graph.json    the same for a resource other than mail
    state/oauth/lock/APP,ADDRESS.lock      flock(2): held from reading a record until it is written again

Who changes a record holds its lock, reads it again inside, and writes the record first, then the access files. `save`
compares the generation, which each consent and each removal raises: an answer that was under way brings nothing back.
Files are found by listing; no address ever becomes a path without being quoted.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import filelock

from lanmail import atomic, tokens
from lanmail.errors import Temporary
from lanmail.oauth import keys
from lanmail.paths import Paths
from lanmail.secret import NONE, Secret

LOCK_WAIT = 60.0
_LIMIT = 256 << 10
MAIL = tokens.MAIL

OK = "ok"
NEEDS_CONSENT = "needs_consent"
APP_ERROR = "app_error"
PAUSED = "paused"


class Changed(Temporary):
    """Somebody else replaced or removed the record meanwhile; what we had is void."""


class Busy(Temporary):
    """Somebody else holds the lock for longer than LOCK_WAIT."""


@dataclass(slots=True)
class Record:
    """What is kept of one address at one app. Times are seconds since the epoch, 0 when there is none."""

    app: str
    address: str  # what readers ask by, lower case
    account: str = ""  # the local account that is told of trouble; empty: the postmaster
    login_as: str = ""  # who consents, when that is somebody else (a shared mailbox)
    mailbox: str = ""  # the user to name to mail servers, when that is another
    scope: str = ""  # what was granted
    state: str = OK  # OK, NEEDS_CONSENT or PAUSED
    why: str = ""  # of the state, for people
    since: float = 0.0  # of the state
    generation: int = 0
    granted: float = 0.0  # the consent
    refreshed: float = 0.0  # the last token
    refresh_expires: float = 0.0  # the known end of the refresh token
    testing: bool = False  # the provider said that consents end after seven days
    spending: str = ""  # fingerprint of a single-use refresh token that was sent and not yet answered
    claims: str = ""  # what the provider wants in the next consent's URL
    tries: int = 0  # requests in a row that brought nothing
    refusals: int = 0  # invalid_grant in a row
    failing: float = 0.0  # since when
    retry_at: float = 0.0
    error: dict[str, Any] = field(default_factory=dict)  # the last: time, class, code, text
    told: dict[str, float] = field(default_factory=dict)  # kind of notice → when it was last sent
    refresh: Secret = NONE

    @property
    def fingerprint(self) -> str:
        """Tells one refresh token from the next; empty without one."""
        return fingerprint(self.refresh)


@dataclass(slots=True)
class Access:
    """An access token as readers find it."""

    app: str
    address: str
    resource: str = MAIL
    mailbox: str = ""
    scope: str = ""
    state: str = OK
    issued: float = 0.0
    expires: float = 0.0
    next_refresh: float = 0.0
    rejected: str = ""  # the fingerprint that a server refused and that was replaced because of it
    error: dict[str, Any] = field(default_factory=dict)
    secret: Secret = NONE

    @property
    def fingerprint(self) -> str:
        """Tells one access token from the next; empty without one."""
        return fingerprint(self.secret)


def fingerprint(token: Secret) -> str:
    """The first 12 digits of its SHA-256."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()[:12] if token else ""


class Store:
    """The files of one installation. Methods raise OSError and keys.Unusable, which are temporary."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.records = paths.state / "oauth" / "refresh"
        self.locks = paths.state / "oauth" / "lock"

    def prepare(self) -> None:
        """Make directories and keys that are missing."""
        for directory, mode in ((self.records, 0o700), (self.locks, 0o700), (self.paths.state / "tokens", 0o750),
                                (self.paths.state / "oauth" / "pending", 0o700),
                                (self.paths.state / "tokens" / "request", 0o770)):
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # then they must be there already, or the first use says so
            keys.ensure(self.paths)

    @contextlib.asynccontextmanager
    async def lock(self, app: str, address: str, wait: float = LOCK_WAIT) -> AsyncIterator[None]:
        """Nobody else changes this record meanwhile. It ends with the process. Busy."""
        self.locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = filelock.FileLock(self.locks / f"{tokens.part(app)},{tokens.part(address.lower())}.lock", mode=0o600)
        limit = time.monotonic() + wait
        while True:
            try:
                lock.acquire(timeout=0)
                _for_programs(Path(lock.lock_file))
                break
            except filelock.Timeout:
                if time.monotonic() > limit:
                    raise Busy(f"the token of {address} (app {app}) is being worked on for {wait:g} s") from None
                await asyncio.sleep(0.05)
        try:
            yield
        finally:
            lock.release()

    def all(self, app: str = "") -> Iterator[tuple[str, str]]:
        """(app, address) of every record, sorted."""
        for directory in sorted(self.records.iterdir()) if self.records.is_dir() else ():
            if not app or unquote(directory.name) == app:
                for path in sorted(directory.glob("*.json")) if directory.is_dir() else ():
                    if not path.name.startswith("."):
                        yield unquote(directory.name), unquote(path.name.removesuffix(".json"))

    def read(self, app: str, address: str, *, decrypt: bool = True) -> Record | None:
        """The record, None when there is none; without `decrypt` its refresh token is left out. keys.Unusable."""
        path = self._file(app, address)
        head = _head(path)
        if head is None:
            return None
        known = {one.name for one in fields(Record)} - {"refresh"}
        try:
            record = Record(**{name: value for name, value in head.items() if name in known})
        except TypeError:
            raise keys.Unusable(f"{path} is damaged") from None
        if (record.app, record.address) != (app, address.lower()):
            raise keys.Unusable(f"{path} is another account's")
        cipher = str(head.get("token", ""))
        if cipher and decrypt:
            record.refresh = self._open(cipher, record, path)
        return record

    def save(self, record: Record, *, generation: int | None = None) -> None:
        """Write a record; its lock must be held. With `generation`: only if the file still has that one. Changed."""
        path = self._file(record.app, record.address)
        if generation is not None:
            there = _head(path)
            if there is None or there.get("generation") != generation:
                raise Changed(f"the grant of {record.address} (app {record.app}) was replaced or removed meanwhile")
        ring = keys.load(self.paths, keys.REFRESH)
        head = {name: value for name, value in _shallow(record).items() if name != "refresh"}
        plain = {"app": record.app, "address": record.address, "refresh": record.refresh.reveal()}
        head |= {"v": 1, "fingerprint": record.fingerprint, "key": ring.id,
                 "token": ring.encrypt(plain) if record.refresh else ""}
        _write(path, head, 0o600)

    def remove(self, app: str, address: str) -> bool:
        """Take a record and all its access tokens away; the lock must be held. Whether there was one."""
        there = False
        for path in [*self._access_files(app, address), self._file(app, address)]:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                there = True
                atomic.sync_dir(path.parent)
        return there

    def published(self) -> dict[tuple[str, str], list[str]]:
        """(app, address) → the resources that there are access files for, of all in one pass."""
        found: dict[tuple[str, str], list[str]] = {}
        top = self.paths.state / "tokens"
        for directory in top.iterdir() if top.is_dir() else ():
            for name in os.listdir(directory) if directory.name != "request" and directory.is_dir() else ():
                if name.endswith(".json") and not name.startswith("."):
                    address, _, _ = name.removesuffix(".json").partition(",")
                    key = (unquote(directory.name), unquote(address))
                    found.setdefault(key, []).append(_resource(Path(name)))
        return found

    def sweep(self, older: float = 3600.0) -> None:
        """Remove what a killed process left half written."""
        for path in [*self.records.glob("*/.*.tmp"), *(self.paths.state / "tokens").glob("*/.*.tmp")]:
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > older:
                    path.unlink()

    def resources(self, app: str, address: str) -> list[str]:
        """What there are access files for."""
        return sorted(_resource(path) for path in self._access_files(app, address))

    def access(self, app: str, address: str, resource: str = MAIL, *, decrypt: bool = True) -> Access | None:
        """The access token, None when there is none; without `decrypt` its secret is left out. keys.Unusable."""
        path = tokens.file_of(self.paths, app, address, resource)
        head = _head(path)
        if head is None:
            return None
        known = {one.name for one in fields(Access)} - {"secret"}
        try:
            found = Access(**{name: value for name, value in head.items() if name in known})
        except TypeError:
            raise keys.Unusable(f"{path} is damaged") from None
        cipher = str(head.get("token", ""))
        if cipher and decrypt:
            plain = keys.load(self.paths, keys.ACCESS).decrypt(cipher)
            if (plain.get("app"), plain.get("address"), plain.get("expires")) != (app, address.lower(), found.expires):
                raise keys.Unusable(f"{path} holds another account's token")
            found.secret = Secret(str(plain.get("token", "")))
        return found

    def publish(self, found: Access) -> None:
        """Write an access token for its readers; the record's lock must be held."""
        ring = keys.load(self.paths, keys.ACCESS)
        found.address = found.address.lower()
        plain = {"app": found.app, "address": found.address, "expires": found.expires, "token": found.secret.reveal()}
        head = {name: value for name, value in _shallow(found).items() if name != "secret"}
        head |= {"v": 1, "fingerprint": found.fingerprint, "key": ring.id,
                 "token": ring.encrypt(plain) if found.secret else ""}
        _write(tokens.file_of(self.paths, found.app, found.address, found.resource), head, 0o640)

    def mark(self, record: Record, state: str) -> None:
        """Tell readers that there is no use in trying (or that there is again); tokens that are there stay."""
        for resource in self.resources(record.app, record.address) or [MAIL]:
            found = self.access(record.app, record.address, resource) or Access(record.app, record.address, resource)
            if found.state != state or found.error != record.error:
                found.state, found.error = state, record.error
                self.publish(found)

    def _file(self, app: str, address: str) -> Path:
        return self.records / tokens.part(app) / f"{tokens.part(address.lower())}.json"

    def _access_files(self, app: str, address: str) -> Iterator[Path]:
        first = tokens.file_of(self.paths, app, address)
        for path in first.parent.iterdir() if first.parent.is_dir() else ():
            if path == first or (path.name.startswith(f"{first.stem},") and path.suffix == ".json"):
                yield path

    def _open(self, cipher: str, record: Record, path: Path) -> Secret:
        plain = keys.load(self.paths, keys.REFRESH).decrypt(cipher)
        if (plain.get("app"), plain.get("address")) != (record.app, record.address):
            raise keys.Unusable(f"{path} holds another account's token")
        return Secret(str(plain.get("refresh", "")))


def _shallow(value: Record | Access) -> dict[str, Any]:
    return {one.name: getattr(value, one.name) for one in fields(value)}


def _resource(path: Path) -> str:
    _, comma, resource = path.stem.partition(",")
    return unquote(resource) if comma else MAIL


def _head(path: Path) -> dict[str, Any] | None:
    try:
        head = json.loads(atomic.read(path, _LIMIT))
    except FileNotFoundError:
        return None
    except ValueError:
        raise keys.Unusable(f"{path} is damaged") from None
    except OSError as error:
        raise keys.Unusable(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(head, dict):
        raise keys.Unusable(f"{path} is damaged")
    return head


def _write(path: Path, head: dict[str, Any], mode: int) -> None:
    path.parent.mkdir(mode=0o700 if mode == 0o600 else 0o750, parents=True, exist_ok=True)
    atomic.write(path, json.dumps(head, ensure_ascii=False, indent=1) + "\n", mode=mode)
    _for_programs(path)


def _for_programs(path: Path) -> None:
    """What root makes here belongs to whom its directory belongs: else tokend could not read it."""
    if os.geteuid() == 0:
        owner, mine = path.parent.stat(), path.stat()
        if (owner.st_uid, owner.st_gid) != (mine.st_uid, mine.st_gid):
            os.chown(path, owner.st_uid, owner.st_gid)
