"""/admin/apps: who we are at providers (OAuth2), and the log-ins that were made by it."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.oauth import web
from lanmail.oauth.apps import App
from lanmail.web import fields
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Field
from lanmail.web.pages import consents
from lanmail.web.pages.frame import Form, Visit, Visitor
from lanmail.web.words.app import WORDS, hint

router = APIRouter()
HERE = "/admin/apps"
NEW = ("client_id", "client_secret", "client_secret_expires", "tenant", "redirect_uri")
KEYS = ("client_id", "client_secret", "client_secret_expires", "tenant", "redirect_uri", "use", "title")
URLS = ("authorize_url", "token_url", "revoke_url", "end_session_url", "userinfo_url", "device_url", "issuer",
        "rotation", "mechanism", "refresh_expected", "timeout")
GRANTS = {"authorization_code": ("by a person's log-in", "durch Anmeldung einer Person"),
          "client_credentials": ("for the app itself", "für die App selbst"),
          "jwt_bearer": ("by a service account", "durch ein Dienstkonto")}


@router.get(HERE)
def show(visit: Visitor) -> Response:
    """Apps and log-ins."""
    return visit.page("apps.html", apps=visit.call("oauth_app.list")["apps"], grants=GRANTS,
                      tokens=visit.call("oauth_token.list")["tokens"])


def ours(visit: Visit) -> str:
    """Where people come back to our pages, if browsers outside know us by a name."""
    base = visit.house.settings().httpd.public_url.rstrip("/")
    return base + web.CALLBACK if base else ""


@router.get(f"{HERE}/-add")
def begin(visit: Visitor, preset: str = "") -> Response:
    """The form for a new one."""
    return _adding(visit, {"name": "", "preset": preset, "metadata": ""}, _new(visit))


def _new(visit: Visit) -> list[Field]:
    return fields.of(App, NEW, {"client_id": "", "client_secret": False, "client_secret_expires": "", "tenant": "",
                                "redirect_uri": ours(visit)}, WORDS, visit.language)


def _adding(visit: Visit, typed: Mapping[str, str], shown: list[Field], said: str = "", field: str = "") -> Response:
    return visit.page("app-add.html", status=400 if said else 200, presets=visit.call("oauth_app.presets")["presets"],
                      typed=typed, fields=shown, problem=said, field=field, ours=ours(visit), hint=hint)


@router.post(f"{HERE}/-add")
def add(visit: Visitor, form: Form) -> Response:
    """Make it."""
    typed = {key: str(form.get(key, "")).strip() for key in ("name", "preset", "metadata")}
    empty = fields.of(App, NEW, {"client_id": "", "client_secret": False, "client_secret_expires": "", "tenant": "",
                                 "redirect_uri": ""}, WORDS, visit.language)
    settings = {key: value for key, value in fields.changes(empty, form).items() if value is not None}
    try:
        made = visit.call("oauth_app.create", name=typed["name"], preset=typed["preset"], metadata=typed["metadata"],
                          settings=settings)
    except Refused as refused:
        field = (refused.field or "").removeprefix("settings.")
        shown = fields.marked(_new(visit), field, refused.message, form)
        said = _said(visit, refused)
        return _adding(visit, typed, shown, said, field)
    return visit.done(f"{HERE}/{made['name']}", " ".join([visit.say("The app is made.", "Die App ist angelegt."),
                                                           *made["remarks"]]))


def _said(visit: Visit, refused: Refused) -> str:
    german = {("exists", "name"): "Eine App mit diesem Namen gibt es schon.",
              ("invalid_field", "name"): "Bitte nur kleine Buchstaben, Ziffern, Punkt, - und _ verwenden.",
              ("conflict", "if_version"): "Sie wurde inzwischen geändert; bitte sehen Sie sie noch einmal an."}
    return visit.say(refused.message, german.get((refused.code, refused.field or ""), refused.message))


@router.post(f"{HERE}/-token")
def token(visit: Visitor, form: Form) -> Response:
    """Renew, sign out or take back some log-ins."""
    do = str(form.get("do", ""))
    said = []
    for one in form.getlist("one"):
        app, _, address = str(one).partition(" ")
        said.append(consents.carry_out(visit, do, app, address))
    return visit.done(HERE, " ".join(said) or visit.say("Choose some first.", "Bitte zuerst einige auswählen."))


@router.get(f"{HERE}/{{app}}")
def look(visit: Visitor, app: str) -> Response:
    """One app: its settings, and who uses it."""
    known = visit.call("oauth_app.get", name=app)
    return _one(visit, known, _fields(visit, known, KEYS), _fields(visit, known, URLS))


def _fields(visit: Visit, known: Mapping[str, Any], keys: tuple[str, ...]) -> list[Field]:
    usual = App.model_construct().model_dump(mode="json")
    values = {**usual, **known["settings"], "client_secret": known["secret_set"]}
    return fields.of(App, keys, values, WORDS, visit.language)


def _one(visit: Visit, known: Mapping[str, Any], shown: list[Field], urls: list[Field], said: str = "") -> Response:
    return visit.page("app.html", status=400 if said else 200, app=known, fields=shown, urls=urls, problem=said,
                      grants=GRANTS, ours=ours(visit))


@router.post(f"{HERE}/{{app}}")
def change(visit: Visitor, form: Form, app: str) -> Response:
    """Save what was changed."""
    known = visit.call("oauth_app.get", name=app)
    shown, urls = _fields(visit, known, KEYS), _fields(visit, known, URLS)
    settings = fields.changes([*shown, *urls], form)
    try:
        done = {"again": []} if not settings else visit.call(
            "oauth_app.modify", name=app, settings=settings, if_version=str(form.get("version")) or None)
    except Refused as refused:
        field = (refused.field or "").removeprefix("settings.")
        return _one(visit, known, fields.marked(shown, field, refused.message, form),
                    fields.marked(urls, field, refused.message, form), _said(visit, refused))
    again = ", ".join(done["again"])
    more = visit.say(f" These addresses need a new log-in: {again}.",
                     f" Diese Adressen brauchen eine neue Anmeldung: {again}.") if again else ""
    return visit.done(f"{HERE}/{app}", visit.say("Saved.", "Gespeichert.") + more)


@router.get(f"{HERE}/{{app}}/-remove")
def ask(visit: Visitor, app: str) -> Response:
    """Who would be left without it."""
    return visit.page("app-remove.html", app=visit.call("oauth_app.get", name=app))


@router.post(f"{HERE}/{{app}}/-remove")
def remove(visit: Visitor, form: Form, app: str) -> Response:
    """Remove it, in use or not: that was asked before."""
    del form
    visit.call("oauth_app.delete", name=app, force=True)
    return visit.done(HERE, visit.say(f"The app {app} is removed.", f"Die App {app} ist entfernt."))


@router.post(f"{HERE}/{{app}}/-login")
def login(visit: Visitor, form: Form, app: str) -> Response:
    """A link by which somebody logs in."""
    given = {key: str(form.get(key, "")).strip() for key in ("address", "account", "login_as", "mailbox")}
    return _asked(visit, app, visit.call("oauth_app.authorize_url", app=app, **given))


def _asked(visit: Visit, app: str, asked: Mapping[str, Any], said: str = "") -> Response:
    return visit.page("app-login.html", status=400 if said else 200, app=visit.call("oauth_app.get", name=app),
                      asked=asked, problem=said)


@router.post(f"{HERE}/{{app}}/-answer")
def answer(visit: Visitor, form: Form, app: str) -> Response:
    """What the address line said after it."""
    address = str(form.get("address", ""))
    try:
        visit.call("oauth_app.answer", app=app, address=address, answer=str(form.get("answer", "")))
    except Refused as refused:
        asked = {"way": "paste", "link": "", "address": address, "person": address, "provider": app}
        return _asked(visit, app, asked, refused.message)
    return visit.done(HERE, visit.say(f"{address} is logged in.", f"{address} ist angemeldet."))
