"""What is written of a source: its table in the account's file, its password in a file of its own."""

from pathlib import Path
from typing import Any

from lanmail.cli import account as accounts
from lanmail.cli import command
from lanmail.paths import Paths
from lanmail.secret import Secret
from lanmail.sources import register


def make(where: Paths, account: str, name: str, keys: dict[str, Any], password: Secret) -> Path:
    """Add a source to an account; its file. ConfigError."""
    file = accounts.existing(where, account)
    if password:
        command.become_owner_of(where.conf)
    register.make(where, file, name, keys, password)
    return file


def put_password(where: Paths, account: str, name: str, password: Secret) -> str:
    """Write a password where only the programs read it; the reference for conf."""
    command.become_owner_of(where.conf)
    return register.store_password(where, account, name, password)
