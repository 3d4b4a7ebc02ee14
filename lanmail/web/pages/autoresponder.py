"""/my/autoresponder and /admin/accounts/NAME/autoresponder: the period, the answer, and what it would look like."""

import time
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.datastructures import FormData

from lanmail import period
from lanmail.autoanswer import letter
from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Field
from lanmail.web.pages import answering, forwarding
from lanmail.web.pages.frame import Form, Visit, Visitor

router = APIRouter()
SECTION = "autoresponder"
KEYS = ("enabled", "subject", "text", "forward", "keep", "only_if_addressed")
ADMIN_KEYS = ("domain", "envelope", "max_per_hour", "max_age")
_ENDS = ("from", "until")


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands in the form."""

    fields: dict[str, Field]
    moments: dict[str, tuple[str, str]]  # "from" and "until" → day, time
    permanent: bool
    once_per: str
    example: dict[str, str]


@router.get("/my/autoresponder")
@router.get("/admin/accounts/{name}/autoresponder")
def show(visit: Visitor, name: str = "") -> Response:
    """What is set, and the form."""
    known = forwarding.account_of(visit, visit.about(name))
    return _page(visit, known, _shown(visit, known["settings"]))


@router.post("/my/autoresponder")
@router.post("/admin/accounts/{name}/autoresponder")
def change(visit: Visitor, form: Form, name: str = "") -> Response:
    """Save it, or only try it."""
    known = forwarding.account_of(visit, visit.about(name))
    shown = _shown(visit, known["settings"])
    typed = _typed(shown, form)
    try:
        settings = _changes(visit, known["settings"][SECTION], shown, form)
        if form.get("action") == "preview":
            known["version"] = _line(form, "version")  # what the form was made from
            tried = _tried(visit, known["name"], settings, typed)
            return _page(visit, known, typed, trial=tried, unsaved=bool(settings))
        if settings:
            visit.call("account.autoresponder", name=known["name"], settings=settings,
                       if_version=_line(form, "version") or None)
    except Refused as refused:
        if refused.code != "conflict":
            known["version"] = _line(form, "version")
        return _page(visit, known, typed, refused=refused)
    return visit.done(visit.path, _said(visit, known["settings"][SECTION] | settings))


def _shown(visit: Visit, settings: dict[str, Any]) -> Shown:
    own = settings[SECTION]
    keys = KEYS + (ADMIN_KEYS if visit.path.startswith("/admin/") else ())
    found = fields.of(Account, [f"{SECTION}.{key}" for key in keys], settings, answering.WORDS, visit.language)
    moments = {end: (own[end][:10], own[end][11:]) for end in _ENDS}
    example = {"sender": "eva@example.org", "sender_name": "Eva Beispiel",
               "about": visit.say("A question", "Eine Frage")}
    return Shown({one.key.removeprefix(f"{SECTION}."): one for one in found}, moments,
                 not (own["from"] or own["until"]), own["once_per"], example)


def _typed(shown: Shown, form: FormData) -> Shown:
    """The same as it came in."""
    marked = fields.marked(list(shown.fields.values()), None, "", form)
    moments = {end: (_line(form, f"{end}-day"), _line(form, f"{end}-time")) for end in _ENDS}
    return Shown({one.key.removeprefix(f"{SECTION}."): one for one in marked}, moments,
                 form.get("when") != "period", _line(form, "once_per") or "0s",
                 {key: _line(form, key) for key in shown.example})


def _changes(visit: Visit, own: dict[str, Any], shown: Shown, form: FormData) -> dict[str, Any]:
    """What is not as it is now. Refused."""
    found: dict[str, Any] = fields.changes(list(shown.fields.values()), form).get(SECTION, {})
    for end in _ENDS:
        day, clock = _line(form, f"{end}-day"), _line(form, f"{end}-time")
        if form.get("when") != "period":
            day = clock = ""
        if clock and not day:
            raise answering.Said("invalid_field", visit.say("A time needs a day, too.",
                                                            "Zur Uhrzeit gehört auch ein Tag."), f"{SECTION}.{end}")
        if (written := f"{day} {clock}".strip()) != own[end]:
            found[end] = written or None
    if (once := _line(form, "once_per") or "0s") != own["once_per"]:
        found["once_per"] = once
    return found


def _tried(visit: Visit, name: str, settings: dict[str, Any], typed: Shown) -> dict[str, Any]:
    """What it would do with the example if it were on: now, or as soon as its period begins."""
    begin = "" if typed.permanent else " ".join(typed.moments["from"]).strip()
    try:
        later = begin and period.of(period.moment(begin), "").begin > time.time()
    except ValueError:
        later = False  # the call says what is wrong with it
    found: dict[str, Any] = visit.call(
        "account.autoresponder_test", name=name, settings=settings | {"enabled": True}, at=begin if later else "",
        sender=typed.example["sender"], sender_name=typed.example["sender_name"], subject=typed.example["about"])
    return found


def _said(visit: Visit, own: dict[str, Any]) -> str:
    """What is told when it was saved, with what may have been forgotten."""
    text, subject = own.get("text") or "", own.get("subject") or ""
    said = [visit.say("Saved; it counts from now on.", "Gespeichert; es gilt ab jetzt.")]
    if own.get("enabled") and not text:
        said.append(visit.say("It has no text, so nothing is answered.",
                              "Der Text fehlt, deshalb wird nichts beantwortet."))
    if unknown := letter.unknown(text + subject):
        said.append(visit.say(f"{', '.join(unknown)} is no placeholder and stays as it is.",
                              f"{', '.join(unknown)} ist kein Platzhalter und bleibt so stehen."))
    if "[UNTIL]" in text + subject and not own.get("until"):
        said.append(visit.say("Nothing stands for [UNTIL], for there is no end.",
                              "Für [UNTIL] steht nichts, denn es gibt kein Ende."))
    return " ".join(said)


def _page(visit: Visit, known: dict[str, Any], shown: Shown, *, trial: dict[str, Any] | None = None,
          unsaved: bool = False, refused: Refused | None = None) -> Response:
    own, wrong, problem = known["settings"][SECTION], (refused.field or "") if refused else "", ""
    if refused is not None:
        problem = answering.problem(visit, refused)
    if wrong == SECTION:  # of a period that ends before it begins
        wrong = f"{SECTION}.until"
    marked = {key: fields.marked([one], wrong, problem)[0] for key, one in shown.fields.items()}
    placed = any(one.problem for one in marked.values()) or wrong.removeprefix(f"{SECTION}.") in (*_ENDS, "sender")
    return visit.page(
        "autoresponder.html", status=400 if refused else 200, name=known["name"], own=own, version=known["version"],
        fields=marked, shown=shown, trial=trial, unsaved=unsaved, wrong=wrong.removeprefix(f"{SECTION}."),
        problem=problem, placed=placed, state=answering.state(own), guards=answering.GUARDS,
        placeholders=answering.PLACEHOLDERS, frequencies=answering.FREQUENCIES,
        may=visit.path.startswith("/admin/") or visit.owner.self_service)


def _line(form: FormData, key: str) -> str:
    return str(form.get(key, "")).strip()
