"""What is written of a source: its table in the account's file, its password in a file of its own."""

import os
from pathlib import Path
from typing import Any

from lanmail import atomic, config
from lanmail.cli import account as accounts
from lanmail.cli import command
from lanmail.errors import ConfigError
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.secret import Secret


def make(where: Paths, account: str, name: str, keys: dict[str, Any], password: Secret) -> Path:
    """Add a source to an account; its file. The password is there before anybody looks for it. ConfigError."""
    file = accounts.existing(where, account)
    given = {key: keys[key] for key in Source.model_fields if key in keys}
    if password:
        given["password"] = put_password(where, account, name, password)
    try:
        config.edit(file, {("sources", name, key): value for key, value in given.items()})
    except ConfigError:
        forget_password(where, given.get("password", ""))
        raise
    return file


def put_password(where: Paths, account: str, name: str, password: Secret) -> str:
    """Write a password where only the programs read it; the reference for conf."""
    command.become_owner_of(where.conf)
    where.secrets.mkdir(mode=0o750, exist_ok=True)
    file = f"source-{account}-{name}"
    atomic.write(where.secrets / file, password.reveal() + "\n", mode=0o600)
    return f"file:secrets/{file}"


def forget_password(where: Paths, reference: str) -> None:
    """Remove the file that `put_password` made; another one may serve others and stays."""
    kind, _, path = reference.partition(":")
    if kind == "file" and path.startswith("secrets/source-") and "/" not in path.removeprefix("secrets/"):
        (where.conf / path).unlink(missing_ok=True)
        if where.secrets.is_dir() and os.access(where.secrets, os.W_OK):
            atomic.sync_dir(where.secrets)
