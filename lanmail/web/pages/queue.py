"""/admin/queue and /my/queue: what is on its way and why it waits; try, hold, release, remove, one or several at once.

An administrator sees everything, anybody else the mail they sent, which they may cancel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.administration import backlog
from lanmail.web import reasons
from lanmail.web.api import frame
from lanmail.web.pages.frame import ADMIN, Form, Visit, Visitor

router = APIRouter()

PAGE = 50
MOST = 500  # entries at once
STATES = {"waiting": ("waits its turn", "wartet auf ihren Zug"), "active": ("being sent now", "wird gerade bearbeitet"),
          "deferred": ("tried again later", "wird später wieder versucht"), "held": ("held", "angehalten")}
SPOOLS = {"queue": ("for mailboxes here", "für Postfächer hier"), "outbound": ("to the outside", "nach außen"),
          "jobs": ("short messages and jobs", "SMS und Aufträge"), "archive": ("for the archive", "für das Archiv"),
          "hold": ("held", "angehalten"), "pickup": ("dropped files", "abgelegte Dateien")}


@dataclass(frozen=True, slots=True)
class Action:
    """What can be done with entries: the method, the button in both languages, and what is said afterwards."""

    method: str
    english: str
    german: str
    done: tuple[str, str]


ACTIONS = {
    "retry": Action("queue.retry", "Try now", "Jetzt versuchen", ("will be tried now", "werden jetzt versucht")),
    "hold": Action("queue.hold", "Hold", "Anhalten", ("held", "angehalten")),
    "release": Action("queue.release", "Release", "Freigeben", ("released", "freigegeben")),
    "delete": Action("queue.delete", "Remove", "Löschen", ("removed", "gelöscht")),
}


def _here(visit: Visit) -> str:
    return "/admin/queue" if visit.path.startswith(ADMIN) else "/my/queue"


def _possible(visit: Visit) -> dict[str, Action]:
    """Others than administrators can only cancel."""
    if visit.path.startswith(ADMIN):
        return ACTIONS
    return {"delete": Action("queue.delete", "Cancel", "Zurückziehen", ("cancelled", "zurückgezogen"))}


@router.get("/my/queue")
@router.get("/admin/queue")
def entries(visit: Visitor, state: str = "", spool: str = "", account: str = "", domain: str = "",
            offset: int = 0) -> Response:
    """The list."""
    asked = {"state": state if state in STATES else "", "spool": spool if spool in SPOOLS else "",
             "account": account.strip()[:64], "domain": domain.strip().lstrip("@")[:255]}
    if not visit.path.startswith(ADMIN):
        asked = {}
    given = {key: value for key, value in asked.items() if value}
    offset = min(max(offset, 0), 1_000_000)
    found = visit.call("queue.list", offset=offset, limit=PAGE, **given)
    here = _here(visit)
    return visit.page(
        "queue.html", found=found, asked=asked, given=given, offset=offset, limit=PAGE, here=here,
        path=f"{here}?{urlencode(given)}" if given else here, actions=_possible(visit), states=STATES, spools=SPOOLS,
        plain=reasons.plain)


@router.get("/my/queue/{id}")
@router.get("/admin/queue/{id}")
def entry(visit: Visitor, id: str) -> Response:
    """One of them."""
    known = _known(visit, id)
    if known is None:
        return _gone(visit, id)
    possible = {key: one for key, one in _possible(visit).items() if _fits(key, known)}
    return visit.page("queue-entry.html", one=known, here=_here(visit), actions=possible, states=STATES, spools=SPOOLS,
                      plain=reasons.plain)


def _known(visit: Visit, id: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = visit.call("queue.get", id=id)
    except frame.Refused as refused:
        if refused.code in ("not_found", "invalid_field", "busy"):
            return None
        raise
    return found


def _gone(visit: Visit, id: str) -> Response:
    return visit.page("queue-gone.html", status=404, id=id[:200], here=_here(visit))


def _fits(action: str, known: dict[str, Any]) -> bool:
    """Whether a button makes sense for an entry."""
    fitting: dict[str, bool] = {"retry": known["state"] == "deferred", "release": known["spool"] == "hold",
                                "hold": known["spool"] in backlog.TRIED}
    return fitting.get(action, True)


@router.post("/my/queue")
@router.post("/admin/queue")
def act(visit: Visitor, form: Form) -> Response:
    """Do something with the entries that were ticked, or with all that the filter shows."""
    possible = _possible(visit)
    chosen = str(form.get("do", ""))
    if chosen not in possible:
        return visit.done(_here(visit))
    ids = [str(one) for one in form.getlist("id")][:MOST]
    if "everything" in form:
        ids = _all(visit, form)
    if not ids:
        return visit.done(_here(visit), visit.say("Tick the mails first.", "Bitte haken Sie zuerst Mails an."))
    if chosen == "delete" and "sure" not in form:
        known = [one for one in (_known(visit, id) for id in ids) if one is not None]
        return visit.page("queue-remove.html", entries=known, here=_here(visit), action=possible["delete"]) \
            if known else _gone(visit, ids[0])
    return visit.done(_here(visit), _note(visit, possible[chosen], *_each(visit, possible[chosen], ids)))


def _all(visit: Visit, form: Form) -> list[str]:
    """The ids of the list that was shown."""
    assert form is not None
    given = {key: str(form[key]) for key in ("state", "spool", "account", "domain") if form.get(key)}
    if given.get("spool") not in (None, *SPOOLS) or given.get("state") not in (None, *STATES):
        return []
    if not visit.path.startswith(ADMIN):
        given = {}
    return [one["id"] for one in visit.call("queue.list", limit=MOST, **given)["entries"]]


def _each(visit: Visit, action: Action, ids: Sequence[str]) -> tuple[int, list[str]]:
    """How many it was done to, and why not to the others."""
    done, problems = 0, []
    more = {"why": f"held on the page by {visit.account}"} if action.method == "queue.hold" else {}
    for id in ids:
        try:
            visit.call(action.method, id=id, **more)
        except frame.Refused as refused:
            problems.append(refused.message)
        else:
            done += 1
    return done, problems


def _note(visit: Visit, action: Action, done: int, problems: list[str]) -> str:
    said = f"{done} {visit.say(*action.done)}." if done else ""
    if problems:
        rest = visit.say("Not possible:", "Nicht möglich:")
        more = f" (+{len(problems) - 3})" if len(problems) > 3 else ""
        said = f"{said} {rest} {'; '.join(problems[:3])}{more}"
    return said.strip()

