"""account.get, create, modify, delete, password, verify: who has a mailbox here, and with which settings.

Settings are those of conf/accounts/NAME.toml, sections as objects: {"forward": {"to": ["eva@example.org"]}}. null takes
a setting away, so that the default counts again. Passwords go in and never come out.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lanmail import conffile, config, sasl, schema, units
from lanmail.address import Address
from lanmail.administration import enrolment, forwards, renaming
from lanmail.errors import ConfigError, MailError, Problem
from lanmail.settings import Account
from lanmail.web.api import secrets
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.api.ownrules import path_of
from lanmail.web.words import findings

Name = Field(min_length=1, max_length=200)
_SECRET = {"password", "scram"}
LEAST = 8  # characters of a password that somebody gives himself


class Named(Params):
    """An account."""

    name: str = Name


class New(Params):
    """A new account."""

    name: str = Name
    password: str | None = Field(None, min_length=1, max_length=1024, description="only a team mailbox needs none")
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)


class Changed(Params):
    """Settings to be changed; the others stay."""

    name: str = Name
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")
    new_name: str | None = Field(None, min_length=1, max_length=200, description="another name, to which all moves")
    alias: bool = Field(True, description="with new_name: mail to the old name still arrives")


class Removed(Params):
    """An account, and what becomes of its mail."""

    name: str = Name
    mail: Literal["keep", "delete", "archive"] = "keep"
    force: bool = Field(False, description="even the postmaster")


class Passworded(Params):
    """A new password; an account that changes its own gives the old one."""

    name: str = Name
    password: str = Field(min_length=1, max_length=1024)
    old: str | None = Field(None, max_length=1024)


class Login(Params):
    """A password to be tried."""

    name: str = Name
    password: str = Field(max_length=1024)


def known(call: Call, path: Path, *, around: bool = True) -> dict[str, Any]:
    """What callers see of an account. "own" settings stand in its file; `around`: what else concerns it."""
    loaded = call.house.settings()
    shown: dict[str, Any] = {"name": path.stem, "addresses": enrolment.addresses(loaded, path.stem)}
    try:
        document = conffile.read(path)
        read = config.account(document, loaded.account_defaults)
        more = _around(call, read) if around else {}
    except ConfigError as error:
        said = "\n".join(f"{one.file}:{one.line or 1}: {findings.placed(one)}" for one in error.problems)
        return shown | {"problem": str(error), "problem_de": said, "version": conffile.version(path)}
    return shown | more | {"settings": read.model_dump(mode="json", exclude=_SECRET), "password": None,
                           "password_set": bool(read.password), "own": sorted(set(own_keys(document.data)) - _SECRET),
                           "version": conffile.version(path)}


def _around(call: Call, account: Account) -> dict[str, Any]:
    """Aliases and groups, and what is written well and will not work."""
    paths, loaded, directory = call.house.paths, call.house.settings(), call.house.directory
    return {"aliases": enrolment.aliases_of(paths, loaded, account.name),
            "member_of": [one for one in directory.groups() if directory.holds(one, account)],
            **_warnings(config.account_problems(paths, loaded, account.name))}


def _warnings(found: list[Problem]) -> dict[str, Any]:
    return {"warnings": [one.text for one in found], "warnings_de": [findings.placed(one) for one in found]}


def own_keys(data: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[str]:
    """The dotted keys that stand in a file."""
    for key, value in data.items():
        if isinstance(value, dict) and schema.section(Account, (*above, key)) is not None:
            yield from own_keys(value, (*above, key))
        else:
            yield ".".join((*above, key))


@method("account.get", Named, needs="self", reads=True)
def get(call: Call, given: Named) -> dict[str, Any]:
    """One account: its addresses, aliases and groups, settings and version."""
    return known(call, path_of(call, given.name))


@method("account.create", New)
def create(call: Call, given: New) -> dict[str, Any]:
    """Make an account and its Maildir. The first one becomes postmaster."""
    house = call.house
    if given.password is None and given.settings.get("shared") is not True:
        raise Refused("invalid_field", "password: must be given; only a team mailbox (shared) needs none", "password")
    if enrolment.find(house.paths, given.name) is not None:
        raise Refused("exists", f"there is an account {given.name!r} already", "name")
    reason = house.directory.valid_name(given.name)
    if reason:
        raise Refused(_taken(call, given.name), reason, "name")
    changes = flat(secrets.stored(call, given.name.lower(), given.settings))
    postmaster = changes.pop(("postmaster",), False) is True
    _may_set(changes)
    try:
        name = enrolment.create(house.paths, house.settings(), given.name, {}, given.password or "")
    except enrolment.Refused as error:
        raise Refused(_taken(call, given.name), str(error), "name") from None
    path = enrolment.file_of(house.paths, name)
    try:
        if changes:
            config.edit(path, changes)
    except ConfigError:
        enrolment.remove(house.paths, name, delete_mail=False)
        raise
    if postmaster or not enrolment.others(house.paths, house.settings(), name):
        enrolment.make_postmaster(house.paths, name)
    return known(call, path)


def _taken(call: Call, name: str) -> str:
    """Why an account could not be made: somebody else was faster, or it may not be called that."""
    return "exists" if enrolment.find(call.house.paths, name) is not None else "invalid_field"


@method("account.modify", Changed)
def modify(call: Call, given: Changed) -> dict[str, Any]:
    """Change settings of an account; all of them or, if one is wrong, none. With `new_name`, rename it."""
    path = path_of(call, given.name)
    _check_forwards(call, path, given.settings)
    changes = flat(secrets.stored(call, path.stem, given.settings))
    moved = changes.pop(("postmaster",), None) if changes.get(("postmaster",)) is True else None
    _may_set(changes)
    if changes or given.if_version is not None:
        config.edit(path, changes, version=given.if_version)
    if moved:
        enrolment.make_postmaster(call.house.paths, path.stem)
    if given.new_name is not None and given.new_name.lower() != path.stem:
        path = _rename(call, path.stem, given)
    return known(call, path)


def _rename(call: Call, name: str, given: Changed) -> Path:
    house, new = call.house, given.new_name or ""
    if enrolment.find(house.paths, new) is not None:
        raise Refused("exists", f"there is an account {new!r} already", "new_name")
    try:
        renaming.rename(house.paths, house.settings(), name, new, alias=given.alias)
    except enrolment.Refused as error:
        raise Refused("invalid_field", str(error), "new_name") from None
    return enrolment.file_of(house.paths, new.lower())


@method("account.delete", Removed)
def delete(call: Call, given: Removed) -> dict[str, Any]:
    """Remove an account; its mail stays, or it is deleted for ever, or after it went into the archive."""
    path = path_of(call, given.name)
    if enrolment.is_postmaster(path) and not given.force:
        raise Refused("refused_by_rule", f"{path.stem} is the postmaster; make another one, or use force", "name")
    into = Address(path.stem, call.house.settings().server.domain) if given.mail == "archive" else None
    enrolment.remove(call.house.paths, path.stem, delete_mail=given.mail == "delete", archived_as=into)
    return {"name": path.stem, "mail": given.mail}


@method("account.password", Passworded, needs="self", always=True)
def password(call: Call, given: Passworded) -> dict[str, Any]:
    """Change a password. An account that changes its own must give the old one, too."""
    path = path_of(call, given.name)
    if call.caller.account is not None and len(given.password) < LEAST:
        raise Refused("invalid_field", f"a password has at least {LEAST} characters", "password")
    if call.caller.account is not None and not _is_right(call, path.stem, given.old or ""):
        raise Refused("forbidden", "the old password is wrong", "old")
    enrolment.set_password(call.house.paths, call.house.settings(), path.stem, given.password)
    return {"name": path.stem, "password_set": True}


@method("account.verify", Login)
def verify(call: Call, given: Login) -> dict[str, Any]:
    """Whether this is the password of the account. Counts as a log-in: too many wrong ones have to wait."""
    path = path_of(call, given.name)
    return {"name": path.stem, "right": _is_right(call, path.stem, given.password)}


def _is_right(call: Call, name: str, given: str) -> bool:
    wanted = call.house.checker.login(sasl.Credentials(name, given), client=call.client, service="api")
    try:
        return call.wait(wanted).name == name
    except sasl.Throttled:
        raise Refused("rate_limited", "too many wrong passwords; wait a moment") from None
    except sasl.AuthFailed:
        return False
    except MailError as error:
        raise Refused("busy", error.text) from None


def flat(settings: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str | tuple[str, ...], Any]:
    """Settings as config.edit takes them: {("forward", "to"): […]}. Sections are objects, everything else a value."""
    found: dict[str | tuple[str, ...], Any] = {}
    for key, value in settings.items():
        inner = schema.section(Account, (*above, key))
        if isinstance(value, dict) and inner is not None:
            found |= flat(value, (*above, key))
        else:
            found[*above, key] = value
    return found


_FORWARDS = (("forward", "to"), ("autoresponder", "forward"), ("einvoice", "forward"), ("einvoice", "other_forward"))


def _check_forwards(call: Call, path: Path, settings: dict[str, Any]) -> None:
    """Targets that are new must lead somewhere."""
    account = config.load_account(path, call.house.settings().account_defaults)
    for section, key in _FORWARDS:
        inner = settings.get(section)
        if isinstance(inner, dict) and inner.get(key) != getattr(getattr(account, section), key):
            _check_targets(call, account, inner.get(key), f"{section}.{key}")


def _check_targets(call: Call, account: Account, given: Any, field: str) -> None:
    with contextlib.suppress(ValueError):  # what cannot be read is told when the file is checked
        for target in units.forward_list(given or []):
            refused = forwards.refusal(call.house.directory, account, units.forward_to(target))
            if refused is not None:
                raise Refused("not_found" if refused[1] == os.EX_NOUSER else "refused_by_rule", refused[0], field)


def _may_set(changes: dict[str | tuple[str, ...], Any]) -> None:
    for key in changes:
        if key[0] in _SECRET:
            raise Refused("invalid_field", "passwords are changed by account.password", f"settings.{key[0]}")
