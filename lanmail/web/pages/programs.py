"""/my/clients and /admin/accounts/NAME/clients: how mail programs are set up, which may log in by OAuth2, which do."""

import base64
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.datastructures import FormData

from lanmail.web.api.frame import Refused
from lanmail.web.fields import Word
from lanmail.web.pages.frame import Form, Refusal, Visit, Visitor

router = APIRouter()
SERVICES = {
    "imap": Word("read and sort mail (IMAP)", "Mails lesen und ordnen (IMAP)"),
    "pop3": Word("fetch mail (POP3)", "Mails abholen (POP3)"),
    "smtp": Word("send mail (SMTP)", "Mails senden (SMTP)"),
}
XPI = "application/x-xpinstall"


@router.get("/my/clients")
@router.get("/admin/accounts/{name}/clients")
def show(visit: Visitor, name: str = "") -> Response:
    """What there is, and a form for one more."""
    return _page(visit, name)


@router.post("/my/clients")
@router.post("/admin/accounts/{name}/clients")
def change(visit: Visitor, form: Form, name: str = "") -> Response:
    """Register a program, or end a log-in."""
    if form.get("action") == "disconnect":
        visit.call("oauth_client.disconnect", id=str(form.get("consent", "")))
        return visit.done(visit.path, visit.say("Ended: the program has to log in again.",
                                                "Beendet: Das Programm muss sich neu anmelden."))
    try:
        made = visit.call("oauth_client.create", account=visit.about(name), name=str(form.get("title", "")).strip(),
                          services=_ticked(visit, form), public=form.get("kind") == "public",
                          redirect_uris=str(form.get("redirects", "")).split())
    except Refused as refused:
        return _page(visit, name, form, refused)
    # the secret is shown by this very answer: it is written down nowhere else
    return visit.page("programmade.html", name=made["account"], made=made, home=_home(name), services=SERVICES)


@router.get("/my/clients/{client}")
@router.get("/admin/accounts/{name}/clients/{client}")
def one(visit: Visitor, client: str, name: str = "") -> Response:
    """One program."""
    return _one(visit, name, client)


@router.post("/my/clients/{client}")
@router.post("/admin/accounts/{name}/clients/{client}")
def change_one(visit: Visitor, form: Form, client: str, name: str = "") -> Response:
    """Limit it, disable it, or get the add-on."""
    found, action = _found(visit, name, client), form.get("action")
    if action == "addon":
        return _addon(visit, found["id"], str(form.get("secret", "")))
    if action in ("disable", "enable"):
        visit.call("oauth_client.disable", id=found["id"], disabled=action == "disable")
        said = (visit.say("Nobody gets in by it any more.", "Damit kommt niemand mehr herein.") if action == "disable"
                else visit.say("It may log in again.", "Es darf sich wieder anmelden."))
        return visit.done(visit.path, said)
    try:
        visit.call("oauth_client.modify_scope", id=found["id"], services=_services(form))
    except Refused as refused:
        return _one(visit, name, client, refused)
    return visit.done(visit.path, visit.say("Saved; it counts from now on.", "Gespeichert; es gilt ab jetzt."))


@router.get("/my/clients/{client}/delete")
@router.get("/admin/accounts/{name}/clients/{client}/delete")
def ask(visit: Visitor, client: str, name: str = "") -> Response:
    """Once more: is it to be removed?"""
    found = _found(visit, name, client)
    return visit.page("programgone.html", name=found["account"], found=found, home=_home(name))


@router.post("/my/clients/{client}/delete")
@router.post("/admin/accounts/{name}/clients/{client}/delete")
def remove(visit: Visitor, form: Form, client: str, name: str = "") -> Response:
    """Remove it."""
    assert form is not None
    found = _found(visit, name, client)
    visit.call("oauth_client.delete", id=found["id"])
    return visit.done(_home(name), visit.say(f"{found['name']} is removed.", f"{found['name']} ist entfernt."))


def _home(name: str) -> str:
    return f"/admin/accounts/{name}/clients" if name else "/my/clients"


def _services(form: FormData) -> list[str]:
    """What is ticked; nothing at all is for the API to refuse."""
    return [str(one) for one in form.getlist("services")]


def _ticked(visit: Visit, form: FormData) -> list[str]:
    """For a new program: no service at all would be all of them."""
    if not (found := _services(form)):
        raise Refused("invalid_field", visit.say("the program must be allowed one of these at least",
                                                 "Wenigstens eines davon muss das Programm dürfen."), "services")
    return found


def _clients(visit: Visit, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = visit.call("oauth_client.list", account=visit.about(name))["clients"]
    return found


def _found(visit: Visit, name: str, client: str) -> dict[str, Any]:
    """The program, if it is this account's."""
    for known in _clients(visit, name):
        if known["id"] == client:
            return known
    raise Refusal(404, "There is no such program; perhaps it was removed.",
                  "Dieses Programm gibt es nicht; vielleicht wurde es entfernt.")


def _addon(visit: Visit, client: str, secret: str) -> Response:
    made = visit.call("oauth_client.addon", id=client, secret=secret)
    return Response(base64.b64decode(made["content"]), media_type=XPI,
                    headers={"Content-Disposition": f'attachment; filename="{made["filename"]}"'})


def _one(visit: Visit, name: str, client: str, refused: Refused | None = None) -> Response:
    found = _found(visit, name, client)
    return visit.page("program.html", status=400 if refused else 200, name=found["account"], found=found,
                      home=_home(name), services=SERVICES, problem=_problem(visit, refused), may=_may(visit))


def _page(visit: Visit, name: str, form: FormData | None = None, refused: Refused | None = None) -> Response:
    known = visit.call("account.get", name=visit.about(name))
    typed = {key: str(form.get(key, "")) if form is not None else "" for key in ("title", "kind", "redirects")}
    chosen = _services(form) if form is not None else list(SERVICES)
    setup = visit.call("oauth_client.urls")
    return visit.page("programs.html", status=400 if refused else 200, name=known["name"], known=known,
                      clients=_clients(visit, name), services=SERVICES, chosen=chosen, typed=typed, setup=setup,
                      kinds={one["kind"] for one in setup["servers"]}, home=_home(name), may=_may(visit),
                      wrong=refused.field if refused else None, problem=_problem(visit, refused))


def _may(visit: Visit) -> bool:
    return visit.path.startswith("/admin/") or visit.owner.self_service


def _problem(visit: Visit, refused: Refused | None) -> str:
    return "" if refused is None else refused.message
