"""/my/forwarding: where one's mail goes on to."""

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Field, Word
from lanmail.web.pages.frame import Form, Visit, Visitor

CHANGED = ("This account was changed meanwhile, by somebody else or by mail. Here is what you typed: save it again if "
           "it is to count.",
           "Dieses Konto wurde inzwischen geändert, von jemand anderem oder per Mail. Hier steht, was Sie eingegeben "
           "haben: Speichern Sie noch einmal, wenn es gelten soll.")

router = APIRouter()
HERE = "/my/forwarding"
KEYS = ("forward.to", "forward.keep")
WORDS = {
    "forward.to": Word("Send all my mail on to", "Alle meine Mails weiterleiten an",
                       "Ein Konto, eine Gruppe oder eine Adresse außerhalb, eine in jeder Zeile; leer: aus."),
    "forward.keep": Word("A copy stays in my mailbox", "Eine Kopie bleibt in meinem Postfach",
                         "Ohne Kopie steht die Mail nur noch dort, wohin sie weitergeleitet wurde."),
}


@router.get(HERE)
def show(visit: Visitor) -> Response:
    """What is set, and the form."""
    known = account_of(visit, visit.account)
    return _page(visit, known, _fields(visit, known["settings"]))


@router.post(HERE)
def change(visit: Visitor, form: Form) -> Response:
    """Set it. The button "off" empties the list and leaves the rest as it was."""
    known = account_of(visit, visit.account)
    shown = _fields(visit, known["settings"])
    settings = {"to": None} if "off" in form else fields.changes(shown, form).get("forward", {})
    try:
        if settings:
            visit.call("account.forwarding", name=visit.account, settings=settings,
                       if_version=str(form.get("version", "")) or None)
    except Refused as refused:
        if refused.code != "conflict":
            known["version"] = str(form.get("version", ""))  # what the form was made from
        return _page(visit, known, fields.marked(shown, refused.field, _problem(visit, refused), form), refused)
    return visit.done(HERE, visit.say("Saved; it counts from now on.", "Gespeichert; es gilt ab jetzt."))


def account_of(visit: Visit, name: str) -> dict[str, Any]:
    """The account with its settings. Refused, when its file is broken."""
    found: dict[str, Any] = visit.call("account.get", name=name)
    if "settings" not in found:
        raise Refused("busy", visit.say("the file of this account has to be mended first: ",
                                        "Die Datei dieses Kontos muss erst berichtigt werden: ")
                      + visit.say(found["problem"], found["problem_de"]))
    return found


def _fields(visit: Visit, known: dict[str, Any]) -> list[Field]:
    return fields.of(Account, KEYS, known, WORDS, visit.language)


def _problem(visit: Visit, refused: Refused) -> str:
    if refused.code == "conflict":
        return visit.say(*CHANGED)
    return refused.message


def _page(visit: Visit, known: dict[str, Any], shown: list[Field], refused: Refused | None = None) -> Response:
    """`also`: where the autoresponder sends mail at the moment, beside this."""
    own = visit.owner.autoresponder
    placed = refused is not None and any(one.problem for one in shown)
    return visit.page("forwarding.html", status=400 if refused else 200, known=known["settings"], fields=shown,
                      version=known["version"],
                      problem="" if refused is None or placed else _problem(visit, refused),
                      also=own.forward if own.active(time.time()) else [], may=visit.owner.self_service)
