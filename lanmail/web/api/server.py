"""server.*: what runs here, how it is, and how much mail goes through."""

import datetime
import os
import time
from typing import Any, Literal

from pydantic import Field

import lanmail
from lanmail.monitoring import condition, counterfile, samples, troubles
from lanmail.web.api.frame import Call, Params, Refused, method

DAYS = 31  # of all accounts in one answer; of one account as many as are kept
SPANS = {"day": (900.0, 96), "week": (7200.0, 84)}  # seconds of a point, points
COLUMNS = ("received", "received_bytes", "sent", "sent_bytes")


class Nothing(Params):
    """No parameters."""


class Span(Params):
    """How far back."""

    span: Literal["day", "week"] = Field("day", description="the last day in quarters of an hour, or the last week")


class Days(Params):
    """From one day to another, both included; without, the last seven. One account, or all of them."""

    first: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\d$", description="YYYY-MM-DD")
    last: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\d$", description="YYYY-MM-DD; without: today")
    account: str | None = Field(None, max_length=64)


@method("server.version", Nothing, needs="self", reads=True)
def version(_call: Call, _given: Nothing) -> dict[str, Any]:
    """The version of lanmail."""
    return {"version": lanmail.__version__}


@method("server.status", Nothing, needs="read", reads=True)
def status(call: Call, _given: Nothing) -> dict[str, Any]:
    """How everything is: programs and their last sign of life, what waits in each spool and since when, external
    mailboxes and log-ins at providers, disk, certificate, and what is wrong. Times are seconds since 1970.
    """
    seen = call.house.observer.now(0.0)
    return condition.described(seen) | {
        "version": lanmail.__version__, "load": list(os.getloadavg()),
        "troubles": troubles.described(troubles.of(seen, call.house.settings()))}


@method("server.history", Span, needs="read", reads=True)
def history(call: Call, given: Span) -> dict[str, Any]:
    """What happened in each quarter of an hour, or of a week in every two hours, and the most that waited then; null
    where nobody looked, for httpd did not run.
    """
    step, many = SPANS[given.span]
    end = (time.time() // step + 1) * step
    points = samples.points(call.house.paths.state, end - many * step, step, many)
    return {"step": step, "points": [{"at": one.at} | one.values for one in points]}


@method("server.stats", Days, needs="self", reads=True)
def stats(call: Call, given: Days) -> dict[str, Any]:
    """How many mails and octets each account received and sent, day by day; an account sees its own."""
    account = call.only(given.account or call.caller.account or "") if given.account or call.caller.account else None
    first, last = _span(given, counterfile.KEPT_DAYS if account else DAYS)
    days = []
    for number in range((last - first).days + 1):
        day = (first + datetime.timedelta(number)).isoformat()
        traffic = counterfile.traffic(call.house.paths.state, day)
        rows = {name: row for name, row in sorted(traffic.items()) if account in (None, name)}
        total = [sum(column) for column in zip(*rows.values(), strict=True)] or [0, 0, 0, 0]
        days.append({"day": day} | _named(total) | {"accounts": {name: _named(row) for name, row in rows.items()}})
    return {"days": days}


def _named(row: list[int]) -> dict[str, int]:
    return dict(zip(COLUMNS, row, strict=True))


def _span(given: Days, most: int) -> tuple[datetime.date, datetime.date]:
    """The first and the last day. Refused."""
    last = _day("last", given.last) or datetime.date.today()
    first = _day("first", given.first) or last - datetime.timedelta(min(6, last.toordinal() - 1))
    if first > last:
        raise Refused("invalid_field", "first is after last", "first")
    if (last - first).days >= most:
        raise Refused("invalid_field", f"at most {most} days in one answer", "first")
    return first, last


def _day(field: str, text: str | None) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text) if text else None
    except ValueError:
        raise Refused("invalid_field", f"{field}: there is no such day", field) from None
