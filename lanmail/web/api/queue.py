"""queue.*: what waits, and what is to be done with it. An account sees and cancels its own mail."""

import contextlib
import os
from typing import Any, Literal

from pydantic import Field

from lanmail import envelope, message, outbound, printable, spool
from lanmail.administration import backlog
from lanmail.web.api.frame import Call, Params, Refused, method

HEAD = 64 << 10  # octets of a mail that queue.get shows at most
SUBJECT = 200  # characters


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
    shown = found[given.offset : given.offset + given.limit]
    return {"total": len(found), "entries": [_known(call, one) | {"subject": _subject(call, one)} for one in shown]}


def _fits(item: backlog.Item, given: Which, account: str | None) -> bool:
    if given.spool not in (None, item.spool) or given.state not in (None, item.state):
        return False
    if account and not _is_from(item, account):
        return False
    return given.domain is None or any(one.lower().endswith(f"@{given.domain.lower()}") for one in item.recipients)


def _is_from(item: backlog.Item, account: str) -> bool:
    """By how it came in, which only our programs write; a sender can be forged."""
    return item.account == account.lower()


def _known(call: Call, item: backlog.Item) -> dict[str, Any]:
    """What a caller is told of an entry. Who is in a group is not for everybody who may write to it."""
    secret = item.group is not None and call.caller.account is not None
    return {"id": _text(item.id), "spool": item.spool, "state": item.state, "size": item.size, "arrived": item.arrived,
            "sender": item.sender, "recipients": [f"({item.group})"] if secret else item.recipients, "next": item.next,
            "tries": item.tries, "reason": None if secret else item.reason, "account": item.account,
            "group": item.group}


def _text(name: str) -> str:
    """A name that somebody gave a file, whatever octets it has."""
    return os.fsencode(name).decode("utf-8", "replace")


def _header(call: Call, item: backlog.Item) -> bytes:
    """The header section, or as much of it as is looked at. A key that only reads learns what waits, not what it says.
    """
    if call.caller.rights == "read":
        return b""
    data = backlog.read(call.house.paths, item, HEAD)
    with contextlib.suppress(ValueError):  # an envelope that is malformed is shown, too
        data = data[envelope.decode(data)[1] :]
    return data[: message.header_end(data)]


def _subject(call: Call, item: backlog.Item) -> str:
    try:
        said = message.field(_header(call, item), b"Subject")
    except OSError:  # gone meanwhile, or not for us to read
        return ""
    return printable.line(" ".join(message.decode_words(said or b"").split()))[:SUBJECT]


def _answers(call: Call, item: backlog.Item) -> list[dict[str, Any]]:
    """What became of each recipient of a mail that is on its way out."""
    where = call.house.paths
    owner = spool.Spool(where.spool / item.spool, state=where.state / item.spool, hold=where.hold)
    state = outbound.load(owner, item.id) if item.spool in ("outbound", "hold") else None
    if state is None or (item.group is not None and call.caller.account is not None):
        return []
    return [{"recipient": address, "state": one.status, "answer": one.answer, "host": one.remote, "at": one.at or None}
            for address, one in state.recipients.items()]


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
    """One entry: what is known of it, its header, and the last answer for each of its recipients."""
    item = _find(call, given.id)
    return _known(call, item) | {"header": _header(call, item).decode("utf-8", "replace"),
                                 "subject": _subject(call, item), "answers": _answers(call, item)}


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
