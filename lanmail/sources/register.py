"""Which external mailboxes there are, and how they are added, changed and taken away: for commands, API and pages.

    all_of(paths, settings)                          every source of every account, or of one
    make(paths, account, name, keys, password)       a new one
    store_password(…) / forget_password(…)           where its password lies: conf/secrets/source-ACCOUNT..NAME.…
    forget(paths, account, name)                     which mails were fetched is forgotten: they come again

A source is a table [sources.NAME] of conf/accounts/ACCOUNT.toml; what lies about it in state/ is in place.py.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanmail import atomic, config, incoming
from lanmail.errors import ConfigError
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.settings import Account, Settings
from lanmail.sources import place


@dataclass(frozen=True, slots=True)
class Place:
    """A source: where it stands, what its table says, and what holds."""

    account: str
    name: str
    file: Path
    own: Source
    source: Source

    def __str__(self) -> str:
        return f"{self.account}/{self.name}"

    def key(self, word: str) -> tuple[str, str, str]:
        """A key of it in the account's file."""
        return ("sources", self.name, word)


def all_of(paths: Paths, loaded: Settings, account: str = "",
           broken: Callable[[Path, ConfigError], None] = lambda _path, _error: None,
           read: Callable[[Path], Account] | None = None) -> Iterator[Place]:
    """All sources of all accounts, or of one; `broken` hears of files that cannot be read, which are left out.

    `read` is how whoever knows accounts already finds one by its file. ConfigError.
    """
    for path in config.account_files(paths):
        if account and path.stem != account.lower():
            continue
        try:
            found = read(path) if read else config.load_account(path, loaded.account_defaults)
        except ConfigError as error:
            broken(path, error)
            continue
        for name, own in sorted(found.sources.items()):
            yield Place(path.stem, name, path, own, incoming.of(loaded.incoming, own))


def name_for(host: str, taken: set[str]) -> str:
    """A name for a new source: of imap.gmx.net it is gmx, or gmx-2 when there is one."""
    labels = re.sub(r"[^a-z0-9.-]", "-", host.lower()).strip(".-").split(".")
    plain = labels[-2] if len(labels) > 1 and not labels[-1].isdecimal() else "mailbox"
    if len(labels) > 2 and plain in ("co", "com", "org", "ac", "gv", "or", "net"):
        plain = labels[-3]
    return free(plain.strip("-")[:60] or "mailbox", taken)


def free(plain: str, taken: set[str]) -> str:
    """The name, or with a number when there is one already."""
    number = 1
    while (made := plain if number == 1 else f"{plain}-{number}") in taken:
        number += 1
    return made


def make(paths: Paths, file: Path, name: str, keys: dict[str, Any], password: Secret, *,
         version: str | None = None) -> None:
    """Add a source to the account of this file. The password is there before anybody looks for it.

    ConfigError; conffile.Conflict when the file no longer has this version.
    """
    given = {key: keys[key] for key in Source.model_fields if key in keys}
    if password:
        given["password"] = store_password(paths, file.stem, name, password)
    try:
        config.edit(file, {("sources", name, key): value for key, value in given.items()}, version=version)
    except Exception:
        if password:
            forget_password(paths, given["password"])
        raise


def store_password(paths: Paths, account: str, name: str, password: Secret) -> str:
    """Write a password where only the programs read it; the reference for conf.

    Two dots are in no name of an account, so no other account's source has this file. Each password has a new one, so
    that the old one counts until conf names the new one; then it is to be forgotten.
    """
    paths.secrets.mkdir(mode=0o750, exist_ok=True)
    file = f"source-{account}..{name}.{secrets.token_hex(4)}"
    atomic.write(paths.secrets / file, password.reveal() + "\n", mode=0o600)
    return f"file:secrets/{file}"


def forget_password(paths: Paths, reference: str) -> None:
    """Remove the file that `store_password` made; another one may serve others and stays."""
    kind, _, path = reference.partition(":")
    if kind == "file" and path.startswith("secrets/source-") and "/" not in path.removeprefix("secrets/"):
        (paths.conf / path).unlink(missing_ok=True)
        if paths.secrets.is_dir() and os.access(paths.secrets, os.W_OK):
            atomic.sync_dir(paths.secrets)


def forget_passwords(paths: Paths, account: str) -> None:
    """Remove the passwords of an account that is gone. One that got its name elsewhere may still use them."""
    used: set[str] = set()
    for file in config.account_files(paths):
        with contextlib.suppress(ConfigError):
            for own in config.load_account(file).sources.values():
                used |= {own.password, own.proxy_password}
    for path in sorted(paths.secrets.glob(f"source-{account}..*")):
        if f"file:secrets/{path.name}" not in used:
            forget_password(paths, f"file:secrets/{path.name}")


def remembered(paths: Paths, account: str, name: str) -> dict[str, int]:
    """How many mails of each mailbox are known as fetched."""
    directory = place.directory(paths, account, name)
    return {path.stem: _lines(path) for path in sorted(directory.glob("*.uids"))}


def forget(paths: Paths, account: str, name: str) -> int:
    """Put the memory aside, so that it can be put back; how many mails it knew. OSError."""
    directory = place.directory(paths, account, name)
    forgotten = 0
    for path in sorted(directory.glob("*.uids")):
        forgotten += _lines(path)
        path.rename(path.with_name(f"{path.name}.forgotten.{int(time.time())}"))
    if directory.is_dir():
        atomic.sync_dir(directory)
    return forgotten


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0
