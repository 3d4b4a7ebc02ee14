"""/admin/accounts/NAME: everything about one account but what has a tab of its own; its password, its name, its end."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import passwords
from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.api.frame import STATUS, Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import Form, Visit, Visitor
from lanmail.web.words.account import WORDS

router = APIRouter()
HERE = "/admin/accounts/{name}"
PERSON = ("Person and rights", "Person und Rechte")
SECTIONS: list[tuple[tuple[str, str], list[str]]] = [
    (PERSON, ["full_name", "postmaster", "administrator", "disabled", "self_service", "services"]),
    (("Mail", "Mail"), ["archive", "archive_years", "deny_internet", "sent_copy", "junk", "quota", "quota_messages",
                        "send_as"]),
    (("Forwarding", "Weiterleitung"), ["forward.to", "forward.keep"]),
    (("SMS", "SMS"), ["sms.to", "sms.quiet"]),
    (("E-invoices", "E-Rechnungen"), [
        "einvoice.enabled", "einvoice.forward", "einvoice.keep", "einvoice.other_forward", "einvoice.other_keep",
        "einvoice.duplicates", "einvoice.save", "einvoice.post", "einvoice.post_variable",
        "einvoice.post_authorization", "einvoice.zip", "einvoice.tnef"]),
    (("Team mailbox and groups", "Team-Postfach und Gruppen"), ["shared", "members", "groups"]),
    (("More", "Weiteres"), ["filter", "hide_capabilities"]),
]
_NOT_ONESELF = ("administrator", "disabled")  # who takes these from himself can not give them back


@router.get(HERE)
def show(visit: Visitor, name: str) -> Response:
    """All settings of this tab."""
    known = visit.call("account.get", name=name)
    return _page(visit, known, _sections(visit, known))


@router.post(HERE)
def change(visit: Visitor, form: Form, name: str) -> Response:
    """Set what was changed, all of it or nothing."""
    known = visit.call("account.get", name=name)
    shown = _sections(visit, known)
    every = [one for _, inner in shown for one in inner]
    settings = fields.changes(every, form)
    try:
        visit.call("account.modify", name=name, settings=settings, if_version=str(form.get("version", "")))
    except Refused as refused:
        marked = [(title, fields.marked(inner, refused.field, refused.message, form)) for title, inner in shown]
        return _page(visit, known, marked, refused, str(form.get("version", "")))
    return visit.done(f"/admin/accounts/{known['name']}", visit.say("Saved.", "Gespeichert."))


@router.post(HERE + "/password")
def password(visit: Visitor, form: Form, name: str) -> Response:
    """Another password: one that was typed, or one that is made and shown this one time."""
    given = str(form.get("password", ""))
    made = given or passwords.generate()
    visit.call("account.password", name=name, password=made)
    if given:
        return visit.done(f"/admin/accounts/{name.lower()}", visit.say("The password is changed; who is logged in with "
                          "the old one has to log in again.", "Das Passwort ist geändert; wer mit dem alten angemeldet "
                          "ist, muss sich neu anmelden."))
    return visit.page("accountmade.html", made=visit.call("account.get", name=name), password=made)


@router.get(HERE + "/rename")
def ask_name(visit: Visitor, name: str) -> Response:
    """The form for another name."""
    return visit.page("accountrename.html", name=visit.call("account.get", name=name)["name"], given="", problem="")


@router.post(HERE + "/rename")
def rename(visit: Visitor, form: Form, name: str) -> Response:
    """Give it another name."""
    given = str(form.get("new_name", "")).strip()
    try:
        made = visit.call("account.modify", name=name, new_name=given, alias="alias" in form)
    except Refused as refused:
        return visit.page("accountrename.html", status=STATUS[refused.code], name=name.lower(), given=given,
                          problem=refused.message)
    return visit.done(f"/admin/accounts/{made['name']}", visit.say(
        "Renamed. Mail programs have to log in with the new name.",
        "Umbenannt. Mailprogramme müssen sich mit dem neuen Namen anmelden."))


@router.get(HERE + "/delete")
def ask(visit: Visitor, name: str) -> Response:
    """Once more: is it meant?"""
    return _ask(visit, name)


@router.post(HERE + "/delete")
def delete(visit: Visitor, form: Form, name: str) -> Response:
    """Remove it."""
    if name.lower() == visit.account:
        return _ask(visit, name, visit.say("You are logged in with this account.",
                                           "Mit diesem Konto sind Sie gerade angemeldet."))
    try:
        visit.call("account.delete", name=name, mail=str(form.get("mail", "")), force="force" in form)
    except Refused as refused:
        return _ask(visit, name, refused.message, STATUS[refused.code])
    return visit.done("/admin/accounts", visit.say(f"The account {name} is removed.",
                                                   f"Das Konto {name} ist entfernt."))


def _ask(visit: Visit, name: str, problem: str = "", status: int = 422) -> Response:
    return visit.page("accountdelete.html", status=status if problem else 200, problem=problem,
                      known=visit.call("account.get", name=name), name=name.lower())


def _page(visit: Visit, known: dict[str, Any], shown: list[tuple[str, list[Field]]], refused: Refused | None = None,
          version: str = "") -> Response:
    placed = any(one.problem for _, inner in shown for one in inner)
    aliases = visit.call("alias.list", to=known["name"])["aliases"] if "settings" in known else []
    return visit.page("accountgeneral.html", status=STATUS[refused.code] if refused else 200, name=known["name"],
                      known=known, sections=shown, aliases=aliases, version=version or known["version"],
                      problem="" if refused is None else _problem(visit, refused, placed))


def _problem(visit: Visit, refused: Refused, placed: bool) -> str:
    if refused.code == "conflict":
        return visit.say("Somebody else changed this account meanwhile. Nothing was saved; look at it again.",
                         "Jemand anders hat dieses Konto inzwischen geändert. Nichts wurde gespeichert; "
                         "bitte noch einmal ansehen.")
    return visit.say("Nothing was saved: see below.", "Nichts wurde gespeichert: siehe unten.") if placed \
        else refused.message


def _sections(visit: Visit, known: dict[str, Any]) -> list[tuple[str, list[Field]]]:
    """The fields with their titles; none for a file that cannot be read."""
    if "settings" not in known:
        return []
    hidden = set(_NOT_ONESELF) if known["name"] == visit.account else set()
    hidden |= {"postmaster"} if known["settings"]["postmaster"] else set()
    return [(visit.say(*title), fields.of(Account, [key for key in keys if key not in hidden], known["settings"], WORDS,
                                          visit.language, own=known["own"])) for title, keys in SECTIONS]
