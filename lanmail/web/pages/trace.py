"""/admin/trace: what became of a mail, by its id or Message-ID; or which mails came from or to somebody."""

import re
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import printable
from lanmail.web import stories
from lanmail.web.api import frame
from lanmail.web.pages.frame import Visit, Visitor

router = APIRouter()

_MOST = 100
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SPOOL = re.compile(r"spool/(\w+)/")
_MAILDIR = re.compile(r"maildirs/([^/]+)/(?:\.([^/]+)/)?(?:new|cur|tmp)/")


@router.get("/admin/trace")
def trace(visit: Visitor, q: str = "", address: str = "", since: str = "", until: str = "") -> Response:
    """The form, and what it found."""
    asked = {"q": q.strip()[:998], "address": address.strip()[:320],
             "since": since if _DAY.fullmatch(since) else "", "until": until if _DAY.fullmatch(until) else ""}
    found: dict[str, Any] | None = None
    story, problem = [], ""
    try:
        if asked["q"]:
            found = visit.call("message.trace", id=asked["q"])
            story = [_step(visit, one) for one in found["events"]]
        elif asked["address"]:
            given = {key: asked[key] for key in ("since", "until") if asked[key]}
            found = visit.call("message.find", address=asked["address"], limit=_MOST, **given)
    except frame.Refused as refused:
        if refused.code not in ("not_found", "invalid_field"):
            raise
        problem = _problem(visit, refused)
    return visit.page("trace.html", asked=asked, found=found, story=story, problem=problem,
                      places=[_place(visit, one) for one in (found or {}).get("places", [])],
                      failed=stories.FAILED)


def _problem(visit: Visit, refused: frame.Refused) -> str:
    if refused.code == "not_found":
        return visit.say("Nothing is known of this mail: no log line names it, and it lies nowhere.",
                         "Von dieser Mail ist nichts bekannt: Kein Protokoll nennt sie, und sie liegt nirgends.")
    return visit.say("Write at least three characters.", "Bitte schreiben Sie mindestens drei Zeichen.")


def _step(visit: Visit, one: dict[str, Any]) -> dict[str, Any]:
    """A line of the log as it is shown."""
    words = stories.tell(one["event"], one["fields"])
    line = " ".join(f"{key}={value}" for key, value in one["fields"].items())
    return {"time": one["time"], "day": one["time"][:10], "clock": one["time"][11:19], "program": one["program"],
            "event": one["event"], "words": printable.line(visit.say(*words)) if words else "",
            "line": printable.line(f"{one['program']} {one['event']} {line}")}


def _place(visit: Visit, path: str) -> dict[str, str]:
    """Where a file lies, in words; its path; and the page about it."""
    text = printable.line(path, "·")
    if match := _MAILDIR.match(path):
        folder = f", {match[2]}" if match[2] else ""
        return {"words": visit.say(f"in the mailbox of {match[1]}{folder}", f"im Postfach von {match[1]}{folder}"),
                "path": text, "link": ""}
    if match := _SPOOL.match(path):
        name = path.rpartition("/")[2].partition(",")[0].removesuffix(".why")
        return {"words": visit.say("in the queue", "in der Warteschlange") + f" ({match[1]})", "path": text,
                "link": f"/admin/queue/{quote(name, safe='', errors='replace')}"}
    return {"words": "", "path": text, "link": ""}
