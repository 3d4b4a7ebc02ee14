"""Groups: an address whose mail goes to several people. conf/groups.toml, a table for each.

    [sales]
    members = ["meier", "eva@example.org", "support"]
    may_post = ["local", "boss@firma.example"]

`sales@` any local domain reaches the members: accounts, aliases, other groups, addresses elsewhere; `sales-owner@` its
owner, who also gets what comes back from members outside. A name stands for one of account, alias or group.
`everyone` has all people of the office as members, without naming them; there is no such address until its table is
written down. Here groups are read and checked; accounts.py and membership.py say who is in them, posting.py who may
write to them.
"""

import difflib
import functools
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from lanmail import atomic, conffile, keys, names, schema, units
from lanmail.address import Address
from lanmail.conffile import Document
from lanmail.errors import ConfigError, Problem
from lanmail.keys import Model
from lanmail.units import Domain, ForwardTo

_key = keys.key

ANYONE, LOCAL, MEMBERS = "anyone", "local", "members"
WORDS = (ANYONE, LOCAL, MEMBERS)
OWNER = "-owner"  # sales-owner@ reaches the owner of sales
LONGEST_TAG = 40
RENAMING = "renaming-group"  # in state/: [old, new], as long as a group gets another name

TITLE = """\
# groups.toml: addresses whose mail goes to several people. A change counts at once.
# members are accounts, aliases, other groups, or addresses elsewhere; NAME-owner@ reaches the owner of a group.
#
# [sales]
# members = ["meier", "schmidt", "eva@example.org"]
# may_post = "local"          anyone, local, members, or a list of accounts, groups and addresses
#
# [everyone]                  all people of the office, without naming them
"""


def _list(value: Any) -> Any:
    """One word may stand without brackets."""
    return [value] if isinstance(value, str) else value


def _poster(value: Any) -> str:
    if value in WORDS:
        return str(value)
    try:
        return units.forward_to(value)
    except ValueError:
        known = ", ".join(WORDS)
        raise ValueError(f"{value!r} is neither of {known}, nor a name like meier or eva@example.org") from None


def _tag(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if text != value or len(text) > LONGEST_TAG or any(unicodedata.category(one)[0] in "CZ" and one != " "
                                                       for one in text):
        raise ValueError(f'{value!r} is not a tag; write one of at most {LONGEST_TAG} characters, like "[Sales]"')
    return text.strip()


def _owner(value: Any) -> str:
    return "" if value == "" else units.forward_to(value)


Owner = Annotated[str, BeforeValidator(_owner), WithJsonSchema({"type": "string", "pattern": r"^\S*$"})]
Poster = Annotated[str, BeforeValidator(_poster), WithJsonSchema({"type": "string", "examples": list(WORDS)})]
Tag = Annotated[str, BeforeValidator(_tag), WithJsonSchema({"type": "string", "maxLength": LONGEST_TAG})]


class Group(Model):
    """An address whose mail goes to several people."""

    name: str = Field(description="The group's name: that of its table.", exclude=True)
    members: list[ForwardTo] = _key([], "Accounts, aliases, other groups, and addresses elsewhere.")
    may_post: Annotated[list[Poster], BeforeValidator(_list)] = _key(
        [ANYONE], 'Who may write to it: "anyone", "local" (who is logged in, devices and programs of the LAN), '
        '"members", accounts, groups, addresses; others get 550 5.7.1. Of everyone: "local".')
    send_as: bool = _key(True, "Members may use its address as sender. Of everyone: false.")
    owner: Owner = _key(
        "", "Who gets mail to NAME-owner and what comes back from members outside; empty: the postmaster.")
    copy_to_sender: bool = _key(True, "A member who writes to the group gets a copy, too.")
    reply_to: Literal["none", "sender", "group"] = _key(
        "none", "Where answers go: as the mail itself says, to who wrote it, or to the group.")
    subject_tag: Tag = _key("", 'Put in front of the subject if it is not there already, like "[Sales]".')
    list_id: bool = _key(True, "Add List-Id, List-Post and Precedence: list, so that no autoresponder answers all.")
    domains: list[Domain] = _key([], "Local domains in which it has an address; empty: in all.")

    @property
    def is_open(self) -> bool:
        """Whether anybody at all may write to it."""
        return ANYONE in self.may_post

    @functools.cached_property
    def _forms(self) -> frozenset[str]:
        return frozenset[str]().union(*map(units.domain_forms, self.domains))

    def exists_in(self, domain: str) -> bool:
        """Whether it has an address in this local domain, in either spelling."""
        return not self.domains or domain in self._forms

    def address_in(self, domain: str) -> Address:
        """Its address in this local domain, or where it has one."""
        return Address(self.name, domain if self.exists_in(domain) else self.domains[0])


_OF_EVERYONE = {"may_post": LOCAL, "send_as": False}

Groups = dict[str, Group]


def load(path: Path) -> Groups:
    """conf/groups.toml. No file means no groups. Raises ConfigError."""
    return parse(conffile.read(path)) if os.path.lexists(path) else {}


def parse(document: Document) -> Groups:
    """The groups of a parsed file, by folded name. Raises ConfigError with all that is wrong by itself."""
    found: Groups = {}
    problems: list[Problem] = []
    seen: set[str] = set()
    for written, table in document.data.items():
        name = written.lower()
        reason = names.group_problem(written) or (
            "stands here twice (names are compared without case)" if name in seen else None)
        seen.add(name)
        if not isinstance(table, dict):
            reason = reason or f"write it as a table: [{written}], and below it members = [...]"
        elif "name" in table:
            text = f"unknown key 'name' in [{written}]; the name of the table is the group's name"
            problems.append(document.problem((written, "name"), text, "unknown-key", "name"))
            continue
        if reason:
            problems.append(document.problem((written,), f"group {written!r}: {reason}", "group", written))
            continue
        above = _OF_EVERYONE if name == names.EVERYONE else {}
        try:
            found[name] = schema.validate(Group, document, {**above, **table, "name": name}, (written,))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return found


def written(document: Document, name: str) -> str | None:
    """How the table of a group is spelled in the file; None when it is not there."""
    return next((one for one in document.data if one.lower() == name.lower()), None)


def clashes(document: Document, accounts: Iterable[str], aliases: Iterable[str]) -> Iterator[Problem]:
    """Groups whose name an account or an alias (without a domain) has, too."""
    for kind, taken in (("account", set(accounts)), ("alias", set(aliases))):
        for name in document.data:
            if name.lower() in taken:
                yield document.problem((name,), f"group {name!r}: an {kind} has this name, too", "name-twice", name)


def being_renamed(state: Path) -> set[str]:
    """The name of a group that an alias is about to take over; it stays so when `lanmail group rename` was killed."""
    try:
        old, new = json.loads(atomic.read(state / RENAMING, 4096))
    except (OSError, ValueError, TypeError):
        return set()
    return {old} if isinstance(old, str) and isinstance(new, str) else set()


def problems(document: Document, found: Mapping[str, Group], others: Iterable[str], local: Iterable[str],
             separator: str) -> Iterator[Problem]:
    """What is wrong with good tables: names that nobody has, domains that are not ours, groups in themselves.

    `others` are the names of accounts and aliases, `local` our domains.
    """
    known, domains = {*others, *found, *names.POSTMASTER}, set(local)
    known |= {f"{name}{OWNER}" for name in found}
    for name, group in found.items():
        table = written(document, name) or name
        for one in group.domains:
            if one not in domains:
                yield document.problem((table, "domains"), f"group {table!r}: {one} is not a local domain",
                                       "not-local", one)
        told = {"members": group.members, "may_post": [one for one in group.may_post if one not in WORDS],
                "owner": [group.owner] if group.owner else []}
        for key, values in told.items():
            for value in values:
                if reason := _unknown(value, known, domains, separator):
                    yield document.problem((table, key), f"group {table!r}: {key}: {reason}", "nobody", value)
        if group.owner and names.fold(group.owner.partition("@")[0]) in (name, f"{name}{OWNER}"):
            yield document.problem((table, "owner"), f"group {table!r}: the owner cannot be the group itself",
                                   "own-owner")
        if _holds_itself(name, found):
            yield document.problem((table, "members"), f"group {table!r}: is a member of itself, by other groups or "
                                                       "directly; everybody gets one copy all the same",
                                   "group-in-itself")


def _unknown(value: str, known: set[str], domains: set[str], separator: str) -> str | None:
    local, domain = names.alias_target(value)
    folded = names.fold(local) or local
    base = folded.split(separator, 1)[0] if separator else folded
    if (domain and domain not in domains) or folded in known or base in known:
        return None
    close = difflib.get_close_matches(folded, known, 1, 0.6)
    return f"there is no account, alias or group {value!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _holds_itself(name: str, found: Mapping[str, Group]) -> bool:
    """Whether its members lead back to the group, aliases left aside."""
    seen: set[str] = set()
    waiting = list(found[name].members)
    while waiting:
        inner = waiting.pop().lower()
        if inner == name:
            return True
        if inner in found and inner not in seen:
            seen.add(inner)
            waiting += found[inner].members
    return False
