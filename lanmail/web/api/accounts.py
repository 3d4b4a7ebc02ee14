"""account.*: who has a mailbox here, and with which settings.

Settings are those of conf/accounts/NAME.toml, sections as objects: {"forward": {"to": ["eva@example.org"]}}. null takes
a setting away, so that the default counts again. Passwords go in and never come out.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lanmail import conffile, config, enrolment, sasl, schema
from lanmail.errors import ConfigError, MailError
from lanmail.settings import Account
from lanmail.web.api.frame import Call, Params, Refused, method

Name = Field(min_length=1, max_length=200)
_SECRET = {"password", "scram"}
LEAST = 8  # characters of a password that somebody gives himself


class Named(Params):
    """An account."""

    name: str = Name


class Page(Params):
    """A page of the list."""

    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=500)


class New(Params):
    """A new account."""

    name: str = Name
    password: str = Field(min_length=1, max_length=1024)
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)


class Changed(Params):
    """Settings to be changed; the others stay."""

    name: str = Name
    settings: dict[str, Any] = Field(max_length=100)
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")


class Removed(Params):
    """An account, and what becomes of its mail."""

    name: str = Name
    mail: Literal["keep", "delete"] = "keep"
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


def _path(call: Call, name: str) -> Path:
    call.only(name)
    path = enrolment.find(call.house.paths, name)
    if path is None:
        raise Refused("not_found", f"there is no account {name[:100]!r}", "name")
    return path


def _known(call: Call, path: Path) -> dict[str, Any]:
    loaded = call.house.settings()
    known: dict[str, Any] = {"name": path.stem, "addresses": enrolment.addresses(loaded, path.stem)}
    try:
        read = config.load_account(path, loaded.account_defaults)
    except ConfigError as error:
        return known | {"problem": str(error), "version": conffile.version(path)}
    return known | {"settings": read.model_dump(mode="json", exclude=_SECRET), "password": None,
                    "password_set": bool(read.password), "version": conffile.version(path)}


@method("account.list", Page, needs="read", reads=True)
def list_(call: Call, given: Page) -> dict[str, Any]:
    """All accounts with their settings, by name."""
    paths = list(config.account_files(call.house.paths))
    return {"total": len(paths),
            "accounts": [_known(call, path) for path in paths[given.offset : given.offset + given.limit]]}


@method("account.exists", Named, needs="read", reads=True)
def exists(call: Call, given: Named) -> dict[str, Any]:
    """Whether there is such an account."""
    return {"exists": enrolment.find(call.house.paths, given.name) is not None}


@method("account.get", Named, needs="self", reads=True)
def get(call: Call, given: Named) -> dict[str, Any]:
    """One account: its addresses, settings and version."""
    return _known(call, _path(call, given.name))


@method("account.create", New)
def create(call: Call, given: New) -> dict[str, Any]:
    """Make an account and its Maildir. The first one becomes postmaster."""
    house = call.house
    changes = _flat(given.settings)
    postmaster = changes.pop(("postmaster",), False) is True
    _may_set(changes)
    if house.directory.account(given.name) is not None:
        raise Refused("exists", f"there is an account {given.name!r} already", "name")
    try:
        name = enrolment.create(house.paths, house.settings(), given.name, {}, given.password)
    except enrolment.Refused as error:
        there = enrolment.find(house.paths, given.name) is not None  # somebody else was faster
        raise Refused("exists" if there else "invalid_field", str(error), "name") from None
    path = enrolment.file_of(house.paths, name)
    try:
        if changes:
            config.edit(path, changes)
    except ConfigError:
        enrolment.remove(house.paths, name, delete_mail=False)
        raise
    if postmaster or not enrolment.others(house.paths, house.settings(), name):
        enrolment.make_postmaster(house.paths, name)
    return _known(call, path)


@method("account.modify", Changed)
def modify(call: Call, given: Changed) -> dict[str, Any]:
    """Change settings of an account; all of them or, if one is wrong, none."""
    path = _path(call, given.name)
    changes = _flat(given.settings)
    moved = changes.pop(("postmaster",), None) if changes.get(("postmaster",)) is True else None
    _may_set(changes)
    if changes or given.if_version is not None:
        config.edit(path, changes, version=given.if_version)
    if moved:
        enrolment.make_postmaster(call.house.paths, path.stem)
    return _known(call, path)


@method("account.delete", Removed)
def delete(call: Call, given: Removed) -> dict[str, Any]:
    """Remove an account; its mail stays unless mail is "delete"."""
    path = _path(call, given.name)
    if enrolment.is_postmaster(path) and not given.force:
        raise Refused("refused_by_rule", f"{path.stem} is the postmaster; make another one, or use force", "name")
    enrolment.remove(call.house.paths, path.stem, delete_mail=given.mail == "delete")
    return {"name": path.stem, "mail": given.mail}


@method("account.password", Passworded, needs="self", always=True)
def password(call: Call, given: Passworded) -> dict[str, Any]:
    """Change a password. An account that changes its own must give the old one, too."""
    path = _path(call, given.name)
    if call.caller.account is not None and len(given.password) < LEAST:
        raise Refused("invalid_field", f"a password has at least {LEAST} characters", "password")
    if call.caller.account is not None and not _is_right(call, path.stem, given.old or ""):
        raise Refused("forbidden", "the old password is wrong", "old")
    enrolment.set_password(call.house.paths, call.house.settings(), path.stem, given.password)
    return {"name": path.stem, "password_set": True}


@method("account.verify", Login)
def verify(call: Call, given: Login) -> dict[str, Any]:
    """Whether this is the password of the account. Counts as a log-in: too many wrong ones have to wait."""
    path = _path(call, given.name)
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


def _flat(settings: dict[str, Any], above: tuple[str, ...] = ()) -> dict[str | tuple[str, ...], Any]:
    """Settings as config.edit takes them: {("forward", "to"): […]}. Sections are objects, everything else a value."""
    found: dict[str | tuple[str, ...], Any] = {}
    for key, value in settings.items():
        inner = schema.section(Account, (*above, key))
        if isinstance(value, dict) and inner is not None:
            found |= _flat(value, (*above, key))
        else:
            found[*above, key] = value
    return found


def _may_set(changes: dict[str | tuple[str, ...], Any]) -> None:
    for key in changes:
        if key[0] in _SECRET:
            raise Refused("invalid_field", "passwords are changed by account.password", f"settings.{key[0]}")
