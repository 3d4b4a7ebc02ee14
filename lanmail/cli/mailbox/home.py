"""Which Maildir a command means."""

import os
from collections.abc import Iterator
from pathlib import Path

from lanmail import config, maildir, names
from lanmail.cli import command
from lanmail.paths import Paths


def of(where: Paths, name: str) -> Path:
    """The Maildir of an account, or one whose account was removed; ends with 67 when there is neither."""
    folded = name.lower()
    if not names.account_problem(folded):
        root = where.maildirs / folded
        if is_home(root) or os.path.lexists(where.accounts / f"{folded}.toml"):
            return root
    if not where.config_file.exists():
        command.settings_of(where)  # says that there is no configuration at all
    return command.fail(f"there is no account '{name}', and no mail of one", os.EX_NOUSER)


def all_of(where: Paths) -> Iterator[tuple[Path, bool]]:
    """All Maildirs, sorted by name, and whether each has an account; one that was never used may be missing."""
    accounts = {path.stem for path in config.account_files(where)}
    there = {path.name for path in where.maildirs.iterdir() if is_home(path)} if where.maildirs.is_dir() else set()
    for name in sorted(accounts | there):
        if not names.account_problem(name):
            yield where.maildirs / name, name in accounts


def is_home(root: Path) -> bool:
    """Whether a directory is a Maildir, as a whole or in part."""
    return not root.is_symlink() and any((root / sub).is_dir() for sub in maildir.SUBDIRS)


def folder(root: Path, name: str) -> str:
    """The folder that was typed, in its true spelling (INBOX and the special folders have no case); ends with 66."""
    plain = name[len("INBOX."):] if name.upper().startswith("INBOX.") else name
    found = maildir.folders(str(root)) if root.is_dir() else []
    if plain in found:
        return plain
    specials = {special.casefold(): special for special in ["INBOX", *maildir.specials(str(root), found).values()]}
    if plain.casefold() in specials:
        return specials[plain.casefold()]
    near = next((one for one in found if one.casefold() == plain.casefold()), None)
    advice = f"; there is '{near}'" if near else f"; see: {command.typed()} mailbox list {root.name}"
    return command.fail(f"{root.name} has no folder '{name}'{advice}", os.EX_NOINPUT)
