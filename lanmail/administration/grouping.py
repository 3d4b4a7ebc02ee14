"""Making, changing and removing groups: what the command line and the HTTP API have in common.

    create(where, directory, "sales", {"members": ["meier"]})
    change(where, directory, "sales", {"owner": "meier", "may_post": None})     None: the default again
    add_members(where, directory, "sales", ["eva@example.org"])
    remove(where, "sales")

What is added to a group is worked out under the lock of conf/, so that two who change one at the same time both have
their way. Refused has a sentence for people; values are checked as those of a file are (ConfigError).
"""

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from lanmail import conffile, config, groups, names, units
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.conffile import Document
from lanmail.config import Changes
from lanmail.errors import ConfigError, Problem
from lanmail.groups import Group
from lanmail.paths import Paths
from lanmail.settings import Settings

_NAMES = ("members", "may_post", "owner")  # keys that name somebody


class Refused(Exception):
    """It cannot be done; the text says why, `key` what it is about, `kind` and `values` are those of a Problem."""

    def __init__(self, text: str, key: str = "name", kind: str = "", *values: str) -> None:
        super().__init__(text)
        self.key = key
        self.problems = [Problem("", None, text, kind, values)] if kind else []


class Taken(Refused):
    """Somebody has the name."""


class Unknown(Refused):
    """Nobody has the name."""


def find(where: Paths, name: str) -> Group:
    """A group there is, by its name in any case. Unknown, ConfigError."""
    found = groups.load(where.groups)
    one = found.get(name.lower())
    if one is None:
        raise Unknown(f"there is no group '{name}'{guess(name, found)}")
    return one


def create(where: Paths, directory: Directory, name: str, given: dict[str, Any]) -> Group:
    """A new group. Refused, ConfigError."""
    folded = name.lower()
    reason = names.group_problem(name)
    if reason:
        raise Refused(reason)
    taken = {**dict.fromkeys(directory.names(), "an account"), **dict.fromkeys(directory.groups(), "a group"),
             **{local: "an alias" for local, domain in config.load_aliases(where.aliases) if not domain}}
    if folded in taken:
        raise Taken(f"there is {taken[folded]} '{folded}' already")
    wanted = {"members": []} | _sound(directory, given, {})
    with contextlib.suppress(FileExistsError):
        config.create(where.groups, groups.TITLE)

    def made(document: Document) -> Changes:
        if groups.written(document, folded) is not None:
            raise Taken(f"there is a group '{folded}' already")
        return {(folded, key): value for key, value in wanted.items()}

    config.edit(where.groups, made)
    return find(where, folded)


def change(where: Paths, directory: Directory, name: str, given: dict[str, Any], *,
           version: str | None = None) -> Group:
    """Change settings of a group, all of them or none. Refused, ConfigError, conffile.Conflict."""
    def made(document: Document) -> Changes:
        written = _written(document, name)
        wanted = _sound(directory, given, document.data[written])
        return {(written, key): value for key, value in wanted.items()}

    config.edit(where.groups, made, version=version)
    return find(where, name)


def add_members(where: Paths, directory: Directory, name: str, members: Iterable[str]) -> Group:
    """More members; who is one already stays it. Refused, ConfigError."""
    wanted = [parsed(member) for member in members]

    def made(document: Document) -> Changes:
        written = _written(document, name)
        present = list(document.data[written].get("members", []))
        return {(written, "members"): present + reachable(directory, wanted, present)}

    config.edit(where.groups, made)
    return find(where, name)


def remove_members(where: Paths, name: str, members: Iterable[str]) -> Group:
    """Members fewer. Unknown when one is none, ConfigError."""
    unwanted = {parsed(member).lower(): member for member in members}

    def made(document: Document) -> Changes:
        written = _written(document, name)
        present = list(document.data[written].get("members", []))
        there = {parsed(text).lower() for text in present}
        missing = [text for key, text in unwanted.items() if key not in there]
        if missing:
            raise Unknown(f"{', '.join(missing)}: not a member of {name.lower()}; it has "
                          f"{', '.join(present) or 'none'}", "members")
        return {(written, "members"): [text for text in present if parsed(text).lower() not in unwanted]}

    config.edit(where.groups, made)
    return find(where, name)


def remove(where: Paths, name: str) -> str:
    """Remove a group; its name. Unknown, ConfigError."""
    config.edit(where.groups, lambda document: {(_written(document, name),): None})
    return name.lower()


def _written(document: Document, name: str) -> str:
    """How its table is spelled."""
    written = groups.written(document, name)
    if written is None or not isinstance(document.data[written], dict):
        raise Unknown(f"there is no group '{name}'{guess(name, document.data)}")
    return written


def _sound(directory: Directory, given: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The same settings; Unknown when they name somebody who is not there and was not named before."""
    for key in _NAMES:
        texts, present = ([one] if isinstance(one, str) else one for one in (given.get(key), before.get(key)))
        if isinstance(texts, Sequence) and all(isinstance(text, str) for text in texts):
            fresh = [text for text in texts if text not in groups.WORDS and text not in (present or ())]
            reachable(directory, filter(_is_target, fresh), key=key)  # what is none, the model tells
    return given


def _is_target(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(units.forward_to(text))
    return False


def parsed(member: str) -> str:
    """A member as it stands in the file. Refused."""
    try:
        return units.forward_to(member)
    except ValueError as error:
        raise Refused(str(error), "members") from None


def reachable(directory: Directory, wanted: Iterable[str], present: Iterable[str] = (),
              key: str = "members") -> list[str]:
    """Those who are not there yet. Unknown when nobody has a name."""
    known = [text.lower() for text in present]
    found = []
    for target in wanted:
        local, domain = names.alias_target(target)
        if not directory.reaches(local, domain):
            candidates = [*directory.names(), *directory.groups()]
            close = _close(local, candidates)
            raise Unknown(f"there is no account, alias or group '{target}'{guess(local, candidates)}", key,
                          "nobody-but" if close else "nobody", target, *close)
        if target.lower() not in known:
            known.append(target.lower())
            found.append(target)
    return found


def guess(name: str, known: Iterable[str]) -> str:
    """ "; did you mean …" for a name that nobody has, else nothing."""
    close = _close(name, known)
    return f"; did you mean '{close[0]}'?" if close else ""


def _close(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name.partition("@")[0].lower(), list(known), 1, 0.6)


def addresses(loaded: Settings, one: Group) -> list[str]:
    """All addresses of a group."""
    domains = (loaded.server.domain, *loaded.server.extra_domains)
    return [f"{one.name}@{domain}" for domain in domains if one.exists_in(domain)]


def reached(directory: Directory, one: Group) -> dict[str, Any]:
    """Who is in it in the end, and what an administrator should mend."""
    members = directory.members(one.name)
    here = dict(members.accounts) | (dict.fromkeys(directory.people()) if members.everyone else {})
    owner = directory.resolve(Address(f"{one.name}{groups.OWNER}", one.address_in(directory.domain).domain))
    found: dict[str, Any] = {
        "accounts": list(here), "outside": [str(each) for each in members.external],
        "groups_in_it": [name for name in members.groups if name != one.name],
        "owner_is": [*owner.accounts, *map(str, owner.external), *owner.groups],
    }
    if members.unknown:
        found["unknown"] = members.unknown
    if members.rings:
        found["in_a_ring"] = members.rings
    return found


def problems(where: Paths, loaded: Settings, name: str | None = None) -> list[Problem]:
    """What `lanmail config check` would say about groups, or about this one."""
    try:
        document = conffile.read(where.groups)
        found = groups.parse(document)
        aliases = {alias for alias, _ in config.load_aliases(where.aliases)}
    except ConfigError as error:
        return error.problems
    others = {path.stem for path in config.account_files(where)} | aliases
    told = groups.problems(document, found, others, loaded.server.local_domains, loaded.deliver.sub_address_separator)
    return [one for one in told if name is None or one.text.lower().startswith(f"group '{name}':")]
