"""Making and removing aliases: what the command line and the HTTP API have in common.

    add(where, settings, "info", ["meier", "eva@example.org"])      (how it is written, all its targets)
    remove(where, "info", ["meier"])                                (how it is written, the targets that are left)

Refused says why, in a sentence for people; its `kind` is "name", "target" or "none" (there is no such alias).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from lanmail import config, names
from lanmail.accounts import Directory
from lanmail.conffile import Document
from lanmail.paths import Paths
from lanmail.settings import Settings

Kind = Literal["name", "taken", "target", "none"]


class Refused(Exception):
    """It cannot be done; the text says why, `kind` what it is about."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def add(where: Paths, loaded: Settings, name: str, targets: Sequence[str]) -> tuple[str, list[str]]:
    """Make an alias, or add targets to one. Refused, ConfigError."""
    directory = Directory(where, lambda: loaded)
    key = parsed(name)
    for kind, taken in (("an account", directory.names()), ("a group", directory.groups())):
        if not key[1] and key[0] in taken:
            raise Refused("taken", f"there is {kind} '{key[0]}' already")
    if key[1] and key[1] not in loaded.server.local_domains:
        raise Refused("name", f"{key[1]} is not a local domain (see server.domain and server.extra_domains)")
    for target in targets:
        _check_target(directory, key, target)

    def joined(present: list[str]) -> list[str]:
        return [*present, *(one for one in targets if one.lower() not in map(str.lower, present))]

    return _change(where, key, joined, name)


def remove(where: Paths, name: str, targets: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Remove an alias, or only some of its targets. Refused, ConfigError."""
    unwanted = {target.lower() for target in targets}

    def left(present: list[str]) -> list[str]:
        if not present:
            raise Refused("none", f"there is no alias '{name}'")
        missing = sorted(unwanted - set(map(str.lower, present)))
        if missing:
            raise Refused("none", f"alias {name} does not lead to {', '.join(missing)}")
        return [target for target in present if target.lower() not in unwanted] if targets else []

    return _change(where, parsed(name), left, name)


def _change(where: Paths, key: tuple[str, str], new: Callable[[list[str]], list[str]], name: str) -> tuple[
        str, list[str]]:
    """Replace the targets of one alias by what `new` makes of those that stand there now."""
    made: list[tuple[str, list[str]]] = []

    def changes(document: Document) -> config.Changes:
        spelled, present = _written(document, key)
        made.append((spelled or name, new(present)))
        return {(made[-1][0],): made[-1][1] or None}

    config.edit(where.aliases, changes)
    return made[-1]


def parsed(name: str) -> tuple[str, str]:
    """The key of an alias as people write it. Refused."""
    try:
        return names.alias_key(name)
    except ValueError as error:
        raise Refused("name", str(error)) from None


def _written(document: Document, key: tuple[str, str]) -> tuple[str | None, list[str]]:
    """How an alias is spelled in the file, and its targets as they stand there; (None, []) when it is not there."""
    config.aliases(document)
    for spelled, value in document.data.items():
        if names.alias_key(spelled) == key:
            targets: Any = [value] if isinstance(value, str) else value
            return spelled, list(targets)
    return None, []


def _check_target(directory: Directory, key: tuple[str, str], target: str) -> None:
    try:
        local, domain = names.alias_target(target)
    except ValueError as error:
        raise Refused("target", str(error)) from None
    if (local.lower(), domain) == key:
        raise Refused("target", "an alias cannot lead to itself")
    if not directory.reaches(local, domain):
        raise Refused("target", f"there is no account, alias or group '{target}'")


def text(name: tuple[str, str]) -> str:
    """An alias or target as one text."""
    return f"{name[0]}@{name[1]}" if name[1] else name[0]
