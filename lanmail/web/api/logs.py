"""log.* and change.*: what the programs did, and who changed what over HTTP; the newest first."""

import itertools
from typing import Any, Literal

from pydantic import Field

from lanmail import programs
from lanmail.administration import audit
from lanmail.monitoring import logtail
from lanmail.web.api.frame import Call, Params, Refused, method

_PROGRAMS = {one.name for one in programs.ALL} | {"lanmail"}


class Tail(Params):
    """Which lines of the logs."""

    program: str = Field("", max_length=50, description="like relay; empty: of all")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="this and above")
    since: str = Field("", pattern=r"^(\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?)?$",
                       description="local time, like 2026-11-22T08:00")
    search: str = Field("", max_length=200, description="only lines with this in them")
    limit: int = Field(100, ge=1, le=1000)


class Which(Params):
    """Which changes; all filters must fit."""

    by: str = Field("", max_length=200, description="the name of an account or API key")
    about: str = Field("", max_length=320)
    what: str = Field("", max_length=100, description="a method, or its beginning, like account.")
    search: str = Field("", max_length=200, description="in any of them")
    offset: int = Field(0, ge=0, le=100_000)
    limit: int = Field(100, ge=1, le=500)


@method("log.tail", Tail, needs="read", reads=True)
def tail(call: Call, given: Tail) -> dict[str, Any]:
    """The newest lines of the logs, the newest first."""
    if given.program and given.program not in _PROGRAMS:
        raise Refused("invalid_field", f"there is no program {given.program!r}", "program")
    found = logtail.newest(call.house.paths, program=given.program, level=given.level, since=given.since,
                           search=given.search)
    return {"lines": [{"time": one.time, "program": one.program, "level": logtail.level_of(one), "event": one.event,
                       "id": one.fields.get("id"), "text": one.text} for one in itertools.islice(found, given.limit)]}


@method("change.list", Which, needs="read", reads=True)
def changes(call: Call, given: Which) -> dict[str, Any]:
    """Who changed what by the API or the web pages, from where; the names of settings, not their values."""
    fitting = (one for one in audit.changes(call.house.paths) if _fits(one, given))
    found = list(itertools.islice(fitting, given.offset, given.offset + given.limit + 1))
    return {"more": len(found) > given.limit,
            "changes": [{"time": one.time, "by": one.by, "client": one.client, "what": one.what, "about": one.about,
                         "keys": list(one.keys)} for one in found[: given.limit]]}


def _fits(one: audit.Change, given: Which) -> bool:
    if not one.what.startswith(given.what) or given.by not in ("", one.by) or given.about not in ("", one.about):
        return False
    wanted = given.search.lower()
    return not wanted or any(wanted in text.lower() for text in (one.by, one.client, one.what, one.about, *one.keys))
