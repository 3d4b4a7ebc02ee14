"""Where the forwards of accounts lead, found out before any mail goes there: for commands and checks.

    refusal(directory, account, target) -> (sentence, exit code)     why an account cannot forward there
    follow(directory, account) -> Way                                where its mail ends

deliver finds the way of each mail by itself (delivery/expansion.py); rules that look at a mail may change it.
"""

import os
from dataclasses import dataclass, field

from lanmail import membership
from lanmail.accounts import Directory
from lanmail.errors import Temporary
from lanmail.settings import Account


@dataclass(slots=True)
class Way:
    """Where the mail of an account ends."""

    mailboxes: dict[str, None] = field(default_factory=dict)  # accounts that keep a copy
    outside: dict[str, None] = field(default_factory=dict)  # addresses
    denied: dict[str, None] = field(default_factory=dict)  # addresses that an account on the way must not send to
    unknown: dict[str, None] = field(default_factory=dict)  # names that nobody has
    circles: list[str] = field(default_factory=list)  # "meier → schmidt → meier"


def refusal(directory: Directory, account: Account, target: str) -> tuple[str, int] | None:
    """Why mail of the account cannot be forwarded to `target`, a name or address, and the exit code of that."""
    address = membership.address_of(target, directory.domain)
    if not directory.is_local(address.domain):
        if account.deny_internet:
            return (f"{account.name} may not send to the internet (deny_internet), so its mail cannot go to {target}",
                    os.EX_DATAERR)
        return None
    found = directory.resolve(address)
    if found.kind == "unknown":
        return f"there is no account, alias or group '{target}'", os.EX_NOUSER
    if found.accounts == (account.name,) and not (found.external or found.groups):
        return f"{target} is {account.name} itself", os.EX_DATAERR
    if account.deny_internet and found.external and not (found.accounts or found.groups):
        return f"{target} leads to the internet, where {account.name} may not send (deny_internet)", os.EX_DATAERR
    return None


def follow(directory: Directory, account: Account) -> Way:
    """The way of mail to an account, by the permanent forwards on it. Temporary when a name cannot be looked up."""
    way, after = Way(), dict[str, list[str]]()  # account → those to which it forwards
    good: set[str] = set()  # accounts from which a copy arrives somewhere
    waiting: list[tuple[Account, tuple[str, ...]]] = [(account, ())]
    while waiting:
        one, before = waiting.pop(0)
        if one.name in before:
            way.circles.append(" → ".join([*before[before.index(one.name):], one.name]))
        if one.name in after:
            continue
        targets = [] if one.einvoice.enabled else one.forward.to
        if one.forward.keep or not targets:
            way.mailboxes[one.name] = None
        names, outside = _lead(directory, targets, way)
        (way.denied if one.deny_internet else way.outside).update(outside)
        if one.name in way.mailboxes or (outside and not one.deny_internet):
            good.add(one.name)
        after[one.name] = names
        waiting += [(found, (*before, one.name)) for name in names if (found := _account(directory, name))]
    while floating := _floating(after, good):  # as deliver does it (delivery/expansion.py)
        way.mailboxes[floating[-1]] = None
        good.add(floating[-1])
    return way


def _floating(after: dict[str, list[str]], good: set[str]) -> list[str]:
    """The accounts from which no copy arrives anywhere."""
    while more := {name for name in after.keys() - good if not good.isdisjoint(after[name])}:
        good |= more
    return [name for name in after if name not in good]


def _lead(directory: Directory, targets: list[str], way: Way) -> tuple[list[str], dict[str, None]]:
    """The accounts and the addresses outside behind targets; names that nobody has are noted."""
    names: dict[str, None] = {}
    outside: dict[str, None] = {}
    for target in targets:
        found = directory.resolve(membership.address_of(target, directory.domain))
        if found.kind == "unknown":
            way.unknown[target] = None
        names |= dict.fromkeys(found.accounts)
        outside |= {str(one): None for one in found.external}
        for group in found.groups:
            members = directory.members(group)
            names |= members.accounts | (dict.fromkeys(directory.people()) if members.everyone else {})
            outside |= {str(one): None for one in members.external}
    return list(names), outside


def _account(directory: Directory, name: str) -> Account | None:
    try:
        return directory.account(name)
    except Temporary:
        return Account(name=name)  # its file is broken: what comes stays there
