"""/my/sources and /admin/accounts/NAME/sources: mailboxes elsewhere whose mail is fetched: add, change, try, remove.

Below it a mailbox has its name; "-add" is none. The log-in at a provider is in consents.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.datastructures import FormData

from lanmail.incoming import Source
from lanmail.sources import explain
from lanmail.web import fields
from lanmail.web.api.frame import Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import ADMIN, Form, Visit, Visitor
from lanmail.web.words.source import WORDS

router = APIRouter()
MY, ACCOUNT = "/my/sources", "/admin/accounts/{name}/sources"
STATES = {  # of sources/health.py: in words, and whether that is good
    "off": ("switched off", "ausgeschaltet", ""), "incomplete": ("not complete", "unvollständig", "bad"),
    "stopped": ("stopped: log-in refused", "angehalten: Anmeldung abgelehnt", "bad"),
    "refused": ("log-in refused", "Anmeldung abgelehnt", "bad"), "failing": ("not reached", "nicht erreicht", "bad"),
    "late": ("late", "überfällig", "bad"), "waiting": ("waits", "wartet", ""),
    "ok": ("fetched", "wird abgerufen", "good"),
    "new": ("not fetched yet", "noch nicht abgerufen", ""), "consent": ("log-in needed", "Anmeldung nötig", "bad"),
}
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Log-in and server", "Anmeldung und Server", ("user", "password", "app", "protocol", "host", "port", "tls")),
    ("When", "Wann", ("every", "window", "push")),
    ("What becomes of it there", "Was dort damit geschieht",
     ("delete", "delete_after", "delete_older", "move_to", "mark_seen")),
    ("What is fetched", "Was abgerufen wird", ("folders", "exclude", "max_size", "small_first")),
)
OFFICE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("More mailboxes of this log-in", "Weitere Postfächer dieser Anmeldung", ("shared", "shared_login")),
    ("Collective mailbox", "Sammelpostfach", ("multidrop", "fallback", "headers", "prefix", "dedupe")),
    ("TLS and log-in", "TLS und Anmeldung", ("interface", "auth", "mechanism", "tls_min", "tls_max", "tls_verify",
                                             "tls_ca", "tls_fingerprint")),
    ("Proxy and pace", "Proxy und Tempo", ("proxy", "proxy_user", "proxy_password", "timeout", "jitter",
                                           "mails_per_pass")),
)
TYPED = ("address", "name", "provider", "app", "host")
NEW = ("protocol", "host", "port", "tls", "user", "delete")


def here(visit: Visit, name: str) -> str:
    """The list that the page belongs to."""
    return ACCOUNT.format(name=name) if visit.path.startswith(ADMIN) else MY


def state_of(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """The state of a mailbox for people."""
    consent = one["consent"]
    if consent is not None and consent["state"] in ("none", "needs_consent"):
        return STATES["consent"]
    return STATES[one["state"]]


def plain(visit: Visit, one: Mapping[str, Any]) -> list[str]:
    """What is wrong with a mailbox and what helps, in the reader's language."""
    return explain.advice(one["problem"] or "", one["host"], visit.language)


def brief(visit: Visit, one: Mapping[str, Any]) -> str:
    """The first sentence of it, for a list; else what the server said."""
    found = plain(visit, one)
    return found[0].split(". ")[0].rstrip(".") + "." if found else str(one["problem"])


@router.get(MY)
@router.get(ACCOUNT)
def show(visit: Visitor, name: str = "") -> Response:
    """All mailboxes of an account, and its log-ins at providers."""
    account = visit.about(name)
    return visit.page(
        "sources.html", name=account, here=here(visit, account), may=_may(visit),
        found=visit.call("external.list", account=account, limit=500)["mailboxes"], state_of=state_of,
        plain=lambda one: brief(visit, one), tokens=visit.call("oauth_token.list", account=account)["tokens"])


def _may(visit: Visit) -> bool:
    return visit.path.startswith(ADMIN) or visit.owner.self_service


@router.get(f"{MY}/-add")
@router.get(f"{ACCOUNT}/-add")
def begin(visit: Visitor, name: str = "", provider: str = "") -> Response:
    """The form for a new one; `provider` is chosen."""
    return _adding(visit, visit.about(name), dict.fromkeys(TYPED, "") | {"provider": provider})


def _adding(visit: Visit, account: str, typed: Mapping[str, Any], refused: Refused | None = None,
            form: FormData | None = None) -> Response:
    known = visit.call("external.providers")
    shown = _fields(visit, NEW, {"protocol": "imap", "tls": "auto", "port": 0, "host": "", "user": "", "delete": False})
    said = problem(visit, refused, str(typed.get("host", ""))) if refused else ""
    field = (refused.field or "").removeprefix("settings.") if refused else ""
    shown = fields.marked(shown, field, said, form)
    return visit.page("source-add.html", status=400 if refused else 200, name=account, here=here(visit, account),
                      known=known, typed=typed, fields=shown, field=field, may=_may(visit),
                      problem="" if any(one.problem for one in shown) or field in ("address", "password", "app", "name")
                      else said, said=said)


@router.post(f"{MY}/-add")
@router.post(f"{ACCOUNT}/-add")
def add(visit: Visitor, form: Form, name: str = "") -> Response:
    """Try it there, and store it."""
    account = visit.about(name)
    typed = {key: str(form.get(key, "")).strip() for key in TYPED}
    shown = _fields(visit, NEW, {"protocol": "imap", "tls": "auto", "port": 0, "host": "", "user": "", "delete": False})
    settings = {key: value for key, value in fields.changes(shown, form).items() if value is not None}
    if typed["app"]:
        settings["app"] = typed["app"]
    elif form.get("password"):
        settings["password"] = {"secret": str(form["password"])}
    given: dict[str, Any] = {key: typed[key] for key in ("name", "provider") if typed[key]}
    try:
        made = visit.call("external.create", account=account, address=typed["address"], settings=settings,
                          test="untested" not in form, **given)
    except Refused as refused:
        return _adding(visit, account, typed, refused, form)
    there = f"{here(visit, account)}/{made['name']}"
    if made["consent"] is not None and made["consent"]["state"] != "ok":
        return visit.done(f"{there}/-consent", visit.say("Added. Now log in at the provider.",
                                                         "Hinzugefügt. Melden Sie sich jetzt beim Anbieter an."))
    return visit.done(here(visit, account), visit.say(
        f"{made['user']} is fetched from now on.", f"{made['user']} wird ab jetzt abgerufen."))


@router.get(f"{MY}/{{source}}")
@router.get(f"{ACCOUNT}/{{source}}")
def look(visit: Visitor, source: str, name: str = "") -> Response:
    """One mailbox: how it is, its settings, and what can be done with it."""
    account = visit.about(name)
    known = visit.call("external.get", account=account, name=source)
    return _one(visit, account, known, _groups(visit, known))


def _one(visit: Visit, account: str, known: Mapping[str, Any], groups: list[tuple[str, list[Field]]],
         refused: Refused | None = None) -> Response:
    said = problem(visit, refused, known["host"]) if refused else ""
    placed = any(one.problem for _, shown in groups for one in shown)
    return visit.page("source.html", status=400 if refused else 200, name=account, here=here(visit, account), one=known,
                      groups=groups, problem="" if placed else said, state=state_of(known), advice=plain(visit, known),
                      may=_may(visit) and known["changeable"], office=len(GROUPS))


def _groups(visit: Visit, known: Mapping[str, Any]) -> list[tuple[str, list[Field]]]:
    """The fields under their headings; administrators have more of them."""
    values = {**known["settings"], "password": known["password_set"], "proxy_password": known["proxy_password_set"]}
    wanted = GROUPS + (OFFICE if visit.path.startswith(ADMIN) else ())
    found = []
    for english, german, keys in wanted:
        kept = [key for key in keys if key != ("password" if known["consent"] is not None else "app")
                and (key not in ("host", "port", "tls") or known["consent"] is None or visit.path.startswith(ADMIN))]
        found.append((visit.say(english, german), _fields(visit, kept, values)))
    return found


def _fields(visit: Visit, keys: tuple[str, ...] | list[str], values: Mapping[str, Any]) -> list[Field]:
    shown = fields.of(Source, keys, values, WORDS, visit.language)
    office = visit.path.startswith(ADMIN)
    apps = [one["name"] for one in visit.call("external.providers")["apps"]] if "app" in keys else []
    return [_chosen(one, apps, office=office) for one in shown]


def _chosen(one: Field, apps: list[str], *, office: bool) -> Field:
    """Apps are chosen from a list; what only administrators may set is not offered to others."""
    if one.key == "app":
        return replace(one, kind="choice", choices=("", *dict.fromkeys([*apps, *([one.value] if one.value else [])])))
    if one.key == "tls" and not office:
        return replace(one, choices=tuple(choice for choice in one.choices if choice != "none" or one.value == "none"))
    return one


@router.post(f"{MY}/{{source}}")
@router.post(f"{ACCOUNT}/{{source}}")
def change(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """Save what was changed."""
    account = visit.about(name)
    known = visit.call("external.get", account=account, name=source)
    groups = _groups(visit, known)
    settings: dict[str, Any] = {}
    for _, shown in groups:
        settings |= fields.changes(shown, form)
    try:
        if settings:
            known = visit.call("external.modify", account=account, name=source, settings=settings,
                               if_version=str(form.get("version", "")) or None)
    except Refused as refused:
        field = (refused.field or "").removeprefix("settings.").removeprefix(f"sources.{source}.")
        marked = [(title, fields.marked(shown, field, problem(visit, refused, known["host"]), form))
                  for title, shown in groups]
        return _one(visit, account, known, marked, refused)
    if known["consent"] is not None and known["consent"]["state"] == "none" and settings:
        return visit.done(f"{here(visit, account)}/{source}/-consent", visit.say(
            "Saved. Now log in at the provider.", "Gespeichert. Melden Sie sich jetzt beim Anbieter an."))
    return visit.done(f"{here(visit, account)}/{source}", visit.say("Saved.", "Gespeichert."))


@router.post(f"{MY}/{{source}}/-switch")
@router.post(f"{ACCOUNT}/{{source}}/-switch")
def switch(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """Fetch from there, or not for now."""
    account = visit.about(name)
    wanted = "standard" if form.get("to") == "on" else "disabled"
    known = visit.call("external.modify", account=account, name=source, settings={"interface": wanted})
    if wanted == "standard" and known["state"] == "off":
        return visit.done(f"{here(visit, account)}/{source}/-consent", visit.say(
            "First log in at the provider.", "Melden Sie sich zuerst beim Anbieter an."))
    return visit.done(f"{here(visit, account)}/{source}", visit.say("Saved.", "Gespeichert."))


@router.post(f"{MY}/{{source}}/-test")
@router.post(f"{ACCOUNT}/{{source}}/-test")
def attempt(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """Log in there and look."""
    del form
    account = visit.about(name)
    known = visit.call("external.get", account=account, name=source)
    seen = visit.call("external.test", account=account, name=source)
    return visit.page("source-test.html", name=account, here=here(visit, account), one=known, seen=seen,
                      advice=explain.advice(seen["problem"] or "", known["host"], visit.language))


@router.post(f"{MY}/{{source}}/-fetch")
@router.post(f"{ACCOUNT}/{{source}}/-fetch")
def fetch(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """Do not wait for the next visit."""
    account = visit.about(name)
    visit.call("external.fetch_now", account=account, name=source)
    back = here(visit, account) if "list" in form else f"{here(visit, account)}/{source}"
    return visit.done(back, visit.say(f"{source} is being fetched; look again in a moment.",
                                      f"{source} wird abgerufen; sehen Sie gleich noch einmal nach."))


@router.get(f"{MY}/{{source}}/-remove")
@router.get(f"{ACCOUNT}/{{source}}/-remove")
@router.get(f"{MY}/{{source}}/-forget")
@router.get(f"{ACCOUNT}/{{source}}/-forget")
def ask(visit: Visitor, source: str, name: str = "") -> Response:
    """What would happen."""
    account = visit.about(name)
    known = visit.call("external.get", account=account, name=source)
    return visit.page("source-sure.html", name=account, here=here(visit, account), one=known,
                      remove=visit.path.endswith("-remove"))


@router.post(f"{MY}/{{source}}/-remove")
@router.post(f"{ACCOUNT}/{{source}}/-remove")
def remove(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """Fetch nothing from there any more."""
    account = visit.about(name)
    visit.call("external.delete", account=account, name=source, forget="forget" in form)
    return visit.done(here(visit, account), visit.say(f"{source} is no longer fetched.",
                                                      f"{source} wird nicht mehr abgerufen."))


@router.post(f"{MY}/{{source}}/-forget")
@router.post(f"{ACCOUNT}/{{source}}/-forget")
def forget(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """All mail comes again."""
    del form
    account = visit.about(name)
    done = visit.call("external.forget", account=account, name=source)["forgotten"]
    return visit.done(f"{here(visit, account)}/{source}", visit.say(
        f"{done} mails are forgotten; they come again at the next visit.",
        f"{done} Mails sind vergessen; sie kommen beim nächsten Abruf noch einmal."))


def problem(visit: Visit, refused: Refused, host: str) -> str:
    """Why it was refused, in the reader's language: what a server said is explained, too."""
    if visit.language == "de" and refused.code == "refused_by_rule" and (
            found := explain.advice(refused.said, host, "de")):
        return " ".join(found)
    return refused.message
