"""account.forwarding and account.autoresponder: what people set for themselves, beside their administrators.

Targets are looked at as `lanmail forward on` does: one that nobody has is refused. What keeps an autoresponder from
doing harm (how often, which age, whose domain) is for administrators.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from lanmail import conffile, config, units
from lanmail.administration import enrolment, forwards
from lanmail.autoanswer import memory
from lanmail.settings import Account
from lanmail.web.api.frame import Call, Params, Refused, method

MOST = 50  # targets that an account gives its own mail: each mail goes to all of them
GUARDED = ("envelope", "max_per_hour", "max_age")  # of an autoresponder; `domain` see _may_answer_as


class Section(Params):
    """Keys of one section of an account; without settings it is only shown."""

    name: str = Field(min_length=1, max_length=200)
    settings: dict[str, Any] | None = Field(None, max_length=100)
    if_version: str | None = Field(None, max_length=64, description="refused with conflict if it has another by now")


@method("account.forwarding", Section, needs="self")
def forwarding(call: Call, given: Section) -> dict[str, Any]:
    """Show or change where all mail of an account goes on to."""
    path = path_of(call, given.name)
    if given.settings is not None:
        account = _read(call, path)
        if given.settings.get("to") and account.einvoice.enabled:
            raise Refused("refused_by_rule", f"{path.stem} is an e-invoice mailbox, whose mail goes by "
                          "einvoice.forward and einvoice.other_forward", "forward.to")
        _check_targets(call, account, given.settings.get("to"), "forward.to")
        _edit(path, "forward", given)
    return _shown(call, path, "forward")


@method("account.autoresponder", Section, needs="self")
def autoresponder(call: Call, given: Section) -> dict[str, Any]:
    """Show or change the autoresponder of an account; "answered" says how many answers it remembers."""
    path = path_of(call, given.name)
    if given.settings is not None:
        may_set(call, _read(call, path), given.settings)
        _edit(path, "autoresponder", given)
    return _shown(call, path, "autoresponder") | {"answered": len(memory.of(call.house.paths, path.stem).answers())}


def path_of(call: Call, name: str) -> Path:
    """The file of an account that the caller may speak for. Refused."""
    call.only(name)
    path = enrolment.find(call.house.paths, name)
    if path is None:
        raise Refused("not_found", f"there is no account {name[:100]!r}", "name")
    return path


def may_set(call: Call, account: Account, settings: dict[str, Any]) -> None:
    """Refused, if the caller may not set this of an autoresponder."""
    if call.caller.account is not None:
        for key in GUARDED:
            if key in settings:
                raise Refused("forbidden", f"autoresponder.{key} is for administrators", f"autoresponder.{key}")
        if settings.get("domain") and not _may_answer_as(call, account, settings["domain"]):
            raise Refused("forbidden", f"{account.name} may not answer from another domain than those of this server; "
                          "an administrator can set it", "autoresponder.domain")
    _check_targets(call, account, settings.get("forward"), "autoresponder.forward")


def _may_answer_as(call: Call, account: Account, domain: Any) -> bool:
    return isinstance(domain, str) and (
        call.house.directory.is_local(domain) or f"*@{domain.lower()}" in account.send_as
        or f"{account.name}@{domain.lower()}" in account.send_as)


def _check_targets(call: Call, account: Account, given: Any, field: str) -> None:
    targets = list(_targets(given))
    if len(targets) > MOST and call.caller.account is not None:
        raise Refused("refused_by_rule", f"more than {MOST} targets are for administrators, or for a group", field)
    for target in targets:
        refused = forwards.refusal(call.house.directory, account, target)
        if refused is not None:
            raise Refused("not_found" if refused[1] == os.EX_NOUSER else "refused_by_rule", refused[0], field)


def _targets(given: Any) -> Iterator[str]:
    """Those that can be read; the others are told when the file is checked."""
    try:
        written = units.forward_list(given or [])
    except ValueError:
        return
    for one in written:
        try:
            yield units.forward_to(one)
        except ValueError:
            continue


def _edit(path: Path, section: str, given: Section) -> None:
    changes: dict[str | tuple[str, ...], Any] = {(section, key): value for key, value in (given.settings or {}).items()}
    config.edit(path, changes, version=given.if_version)


def _read(call: Call, path: Path) -> Account:
    return config.load_account(path, call.house.settings().account_defaults)


def _shown(call: Call, path: Path, section: str) -> dict[str, Any]:
    return {"name": path.stem, "settings": getattr(_read(call, path), section).model_dump(mode="json"),
            "version": conffile.version(path)}
