"""account.overview: an account in one look: where mail reaches it, its room, what is switched on, what waits."""

import contextlib
import time
from typing import Any

from pydantic import Field

from lanmail import config, incoming
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.administration import backlog
from lanmail.autoanswer import memory
from lanmail.errors import Temporary
from lanmail.folders import quota
from lanmail.folders.quota import Limits
from lanmail.logins import grants, lastlogins
from lanmail.settings import Account
from lanmail.sources import status
from lanmail.web.api import ownrules
from lanmail.web.api.frame import Call, Params, method

_meter = quota.Meter()
_LOGINS = 12


class Whose(Params):
    """An account."""

    name: str = Field(min_length=1, max_length=200)


@method("account.overview", Whose, needs="self", reads=True)
def overview(call: Call, given: Whose) -> dict[str, Any]:
    """An account in one look. Nothing in it is about anybody else."""
    where, loaded = call.house.paths, call.house.settings()
    path = ownrules.path_of(call, given.name)
    account = config.load_account(path, loaded.account_defaults)
    own = account.autoresponder
    waiting = [one for one in backlog.items(where, ("queue", "outbound", "hold")) if one.account == account.name]
    return {
        "name": account.name, "full_name": account.full_name, "services": list(account.services),
        "addresses": _addresses(call, account), "groups": _groups(call.house.directory, account),
        "room": _room(str(where.maildirs / account.name), Limits.of(account)),
        "forward": {"to": account.forward.to, "keep": account.forward.keep, "counts": not account.einvoice.enabled},
        "autoresponder": {"enabled": own.enabled, "active": own.active(time.time()), "from": own.from_,
                          "until": own.until, "answered": len(memory.of(where, account.name).answers())},
        "einvoice": account.einvoice.enabled, "sms": bool(account.sms.to), "archive": account.archive,
        "deny_internet": account.deny_internet, "self_service": account.self_service,
        "sources": [_source(call, account, name) for name in account.sources],
        "waiting": {"total": len(waiting), "late": sum(one.tries > 0 for one in waiting),
                    "held": sum(one.spool == "hold" for one in waiting)},
        "logins": [{"service": one.service, "client": one.client, "at": one.at}
                   for one in lastlogins.of(where.state, account.name)[:_LOGINS]],
        "clients": [one.used for one in grants.Register(where.state).consents(account.name)],
    }


def _addresses(call: Call, account: Account) -> list[str]:
    """Its own ones first, then the aliases that lead to it."""
    server, directory = call.house.settings().server, call.house.directory
    domains = (server.domain, *server.extra_domains)
    found = dict.fromkeys(f"{account.name}@{domain}" for domain in domains)
    for local, domain in sorted(config.load_aliases(call.house.paths.aliases)):
        for one in [domain] if domain else domains:
            with contextlib.suppress(Temporary):
                if account.name in directory.resolve(Address(local, one)).accounts:
                    found[f"{local}@{one}"] = None
    return list(found)


def _groups(directory: Directory, account: Account) -> list[str]:
    found = []
    for name in directory.groups():
        with contextlib.suppress(Temporary):
            if directory.holds(name, account):
                found.append(name)
    return found


def _room(root: str, limits: Limits) -> dict[str, Any]:
    usage = _meter.of(root)
    return {"octets": usage.octets, "messages": usage.messages, "limit_octets": limits.octets or None,
            "limit_messages": limits.messages or None, "percent": limits.percent(usage) if limits else None,
            "full": bool(limits) and limits.full(usage)}


def _source(call: Call, account: Account, name: str) -> dict[str, Any]:
    known = status.load(call.house.paths, account.name, name)
    source = incoming.of(call.house.settings().incoming, account.sources[name])
    return {"name": name, "on": source.interface != "disabled", "succeeded": known.succeeded or None,
            "error": known.error or None, "stopped": known.stopped}
