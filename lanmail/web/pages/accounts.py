"""/admin/accounts: who has a mailbox here; making accounts, and aliases."""

import math
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.datastructures import FormData

from lanmail import passwords
from lanmail.settings import Account
from lanmail.web import fields
from lanmail.web.api.frame import STATUS, Refused
from lanmail.web.fields import Field
from lanmail.web.pages.frame import Form, Visit, Visitor
from lanmail.web.words.account import WORDS

router = APIRouter()
LIST, ADD, ALIASES = "/admin/accounts", "/admin/accounts/-/add", "/admin/accounts/-/aliases"
PER_PAGE = 50
SHOWN = ["full_name", "disabled", "postmaster", "administrator", "shared", "einvoice.enabled", "forward.to",
         "autoresponder.enabled", "deny_internet", "archive", "password_set"]
NEW = ["full_name", "shared", "members", "administrator", "archive", "deny_internet", "quota"]


@router.get(LIST)
def show(visit: Visitor, search: str = "", offset: str = "0") -> Response:
    """A page of the list."""
    start = number(offset)
    found = visit.call("account.list", search=search[:200], offset=start, limit=PER_PAGE, fields=SHOWN)
    here = f"{LIST}?{urlencode({'search': search[:200]})}" if search else LIST
    return visit.page("accounts.html", found=found, search=search[:200], offset=start, limit=PER_PAGE, here=here)


@router.get(ADD)
def blank(visit: Visitor) -> Response:
    """The form for a new account."""
    return _form(visit, _fields(visit))


@router.post(ADD)
def add(visit: Visitor, form: Form) -> Response:
    """Make it. A password that is made for it is shown this one time, and kept nowhere."""
    shown = _fields(visit)
    name, given = str(form.get("name", "")).strip(), str(form.get("password", ""))
    settings = fields.changes(shown, form)
    password = given or (None if settings.get("shared") else passwords.generate())
    try:
        made = visit.call("account.create", name=name, settings=settings, password=password)
    except Refused as refused:
        return _form(visit, fields.marked(shown, refused.field, refused.message, form), refused, form)
    if given or password is None:
        return visit.done(f"{LIST}/{made['name']}", visit.say("The account is made.", "Das Konto ist angelegt."))
    return visit.page("accountmade.html", made=made, password=password)


@router.get(ALIASES)
def aliases(visit: Visitor, search: str = "", offset: str = "0") -> Response:
    """All aliases, and the form for a new one."""
    return _aliases(visit, search, number(offset))


@router.post(ALIASES)
def change_aliases(visit: Visitor, form: Form) -> Response:
    """Make or remove one; on to the page it was asked from."""
    address, there = str(form.get("address", "")).strip(), str(form.get("there", ""))
    to = [line.strip() for line in str(form.get("to", "")).splitlines() if line.strip()]
    back = f"{LIST}/{there}" if there else ALIASES
    try:
        if "remove" in form:
            visit.call("alias.delete", address=address, to=to)
            return visit.done(back, visit.say(f"{address} is removed.", f"{address} ist entfernt."))
        made = visit.call("alias.create", address=address, to=to)
    except Refused as refused:
        return _aliases(visit, "", 0, refused, form)
    leads = ", ".join(made["to"])
    return visit.done(back, visit.say(f"{made['address']} leads to {leads}.", f"{made['address']} führt zu {leads}."))


def _aliases(visit: Visit, search: str, offset: int, refused: Refused | None = None,
             form: FormData | None = None) -> Response:
    found = visit.call("alias.list", search=search[:200], offset=offset, limit=PER_PAGE)
    here = f"{ALIASES}?{urlencode({'search': search[:200]})}" if search else ALIASES
    given = {key: str(form.get(key, "")) if form is not None else "" for key in ("address", "to", "there")}
    return visit.page("aliases.html", status=STATUS[refused.code] if refused else 200, found=found, offset=offset,
                      search=search[:200], limit=PER_PAGE, here=here, given=given, problem=refused)


def _form(visit: Visit, shown: list[Field], refused: Refused | None = None, form: FormData | None = None) -> Response:
    name = str(form.get("name", "")) if form is not None else ""
    about = refused.field if refused else None
    elsewhere = refused is not None and not any(one.problem for one in shown) and about not in ("name", "password")
    return visit.page("accountadd.html", status=STATUS[refused.code] if refused else 200, fields=shown, name_given=name,
                      wrong={about: refused.message} if refused else {},
                      problem=refused.message if refused and elsewhere else "")


def _fields(visit: Visit) -> list[Field]:
    known: dict[str, Any] = Account(name="x").model_dump(mode="json")
    defaults = visit.house.settings().account_defaults.model_dump(mode="json")
    return fields.of(Account, NEW, known | defaults, WORDS, visit.language)


def number(text: str) -> int:
    """A number in a query; 0 for anything else."""
    return min(int(text), math.floor(1e7)) if text.isascii() and text.isdigit() and len(text) < 9 else 0
