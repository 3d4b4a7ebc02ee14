"""queue.*: what waits, and what is to be done with it. An account sees and cancels its own mail."""

import contextlib
from typing import Any, Literal

from pydantic import Field

from lanmail import backlog, envelope, message
from lanmail.web.api.frame import Call, Params, Refused, method

HEAD = 64 << 10  # octets of a mail that queue.get shows at most


class Which(Params):
    """Filters; all of them must fit."""

    spool: Literal["queue", "outbound", "jobs", "archive", "hold", "pickup"] | None = None
    state: Literal["waiting", "active", "deferred", "held"] | None = None
    account: str | None = Field(None, max_length=64, description="mail from this account")
    domain: str | None = Field(None, max_length=255, description="mail to this domain")
    offset: int = Field(0, ge=0, le=10_000_000)
    limit: int = Field(100, ge=1, le=500)


class One(Params):
    """An entry, by its id."""

    id: str = Field(min_length=1, max_length=200)


class Held(One):
    """An entry, and why."""

    why: str = Field("held by the API", max_length=500)


@method("queue.list", Which, needs="self", reads=True)
def list_(call: Call, given: Which) -> dict[str, Any]:
    """What lies in the spools, by age. An account sees its own mail."""
    account = call.only(given.account or call.caller.account or "") if call.caller.account else given.account
    found = [item for item in backlog.items(call.house.paths) if _fits(item, given, account)]
    found.sort(key=lambda item: item.arrived)
    return {"total": len(found), "entries": [_known(one) for one in found[given.offset : given.offset + given.limit]]}


def _fits(item: backlog.Item, given: Which, account: str | None) -> bool:
    if given.spool not in (None, item.spool) or given.state not in (None, item.state):
        return False
    if account and not _is_from(item, account):
        return False
    return given.domain is None or any(one.lower().endswith(f"@{given.domain.lower()}") for one in item.recipients)


def _is_from(item: backlog.Item, account: str) -> bool:
    """By how it came in, which only our programs write; a sender can be forged."""
    return item.account == account.lower()


def _known(item: backlog.Item) -> dict[str, Any]:
    return {"id": item.id, "spool": item.spool, "state": item.state, "size": item.size, "arrived": item.arrived,
            "sender": item.sender, "recipients": item.recipients, "next": item.next, "tries": item.tries,
            "reason": item.reason, "account": item.account}


def _find(call: Call, entry_id: str) -> backlog.Item:
    try:
        item = backlog.find(call.house.paths, entry_id)
    except LookupError as error:
        raise Refused("not_found", str(error), "id") from None
    mine = call.caller.account
    if mine is not None and not _is_from(item, mine):
        raise Refused("not_found", f"there is no entry {entry_id}", "id")  # whose it is is nobody else's business
    return item


@method("queue.get", One, needs="self", reads=True)
def get(call: Call, given: One) -> dict[str, Any]:
    """One entry: what is known of it, and its header."""
    item = _find(call, given.id)
    data = backlog.read(call.house.paths, item, HEAD)
    with contextlib.suppress(ValueError):  # an envelope that is malformed is shown, too
        data = data[envelope.decode(data)[1] :]
    return _known(item) | {"header": data[: message.header_end(data)].decode("utf-8", "replace")}


def _act(call: Call, given: One, action: Any, done: str) -> dict[str, Any]:
    try:
        action(_find(call, given.id))
    except (backlog.Busy, ValueError) as error:
        raise Refused("conflict", str(error), "id") from None
    except FileNotFoundError:
        raise Refused("not_found", f"{given.id} is gone", "id") from None
    return {"id": given.id, "done": done}


@method("queue.retry", One)
def retry(call: Call, given: One) -> dict[str, Any]:
    """Try an entry again now."""
    return _act(call, given, lambda item: backlog.retry(call.house.paths, item), "retried")


@method("queue.hold", Held)
def hold(call: Call, given: Held) -> dict[str, Any]:
    """Put an entry aside until it is released."""
    return _act(call, given, lambda item: backlog.hold(call.house.paths, item, given.why), "held")


@method("queue.release", One)
def release(call: Call, given: One) -> dict[str, Any]:
    """Let an entry go on that was held."""
    return _act(call, given, lambda item: backlog.release(call.house.paths, item), "released")


@method("queue.delete", One, needs="self", always=True)
def delete(call: Call, given: One) -> dict[str, Any]:
    """Remove an entry for good. An account cancels its own mail."""
    return _act(call, given, lambda item: backlog.remove(call.house.paths, item), "deleted")
