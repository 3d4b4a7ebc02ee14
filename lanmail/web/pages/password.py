"""/my/password: a new password for oneself."""

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail.web import sessions
from lanmail.web.api import accounts
from lanmail.web.api.frame import Refused
from lanmail.web.pages.frame import Form, Visit, Visitor

router = APIRouter()


@router.get("/my/password")
def show(visit: Visitor) -> Response:
    """The form."""
    return _page(visit)


@router.post("/my/password")
def change(visit: Visitor, form: Form) -> Response:
    """Change it. This log-in goes on, all others to the pages end."""
    old, new, again = (str(form.get(key, "")) for key in ("old", "password", "again"))
    if new != again:
        return _page(visit, "again", visit.say("These are not the same.", "Das ist nicht zweimal dasselbe."))
    try:
        visit.call("account.password", name=visit.account, password=new, old=old)
    except Refused as refused:
        return _page(visit, refused.field or "", _problem(visit, refused))
    changed = visit.house.directory.account(visit.account)
    if changed is not None:
        sessions.Store(visit.house.paths).renew(visit.word, visit.session, changed)
    return visit.done("/my/password", visit.say("The password is changed.", "Das Passwort ist geändert."))


def _problem(visit: Visit, refused: Refused) -> str:
    if refused.field == "old":
        return visit.say("This is not your password.", "Das ist nicht Ihr Passwort.")
    if refused.field == "password":
        return visit.say(f"A password has {accounts.LEAST} to 1024 characters.",
                         f"Ein Passwort hat {accounts.LEAST} bis 1024 Zeichen.")
    if refused.code == "rate_limited":
        return visit.say("Too many wrong passwords: please wait a moment.",
                         "Zu viele falsche Passwörter: Bitte warten Sie einen Moment.")
    return refused.message


def _page(visit: Visit, field: str = "", problem: str = "") -> Response:
    known = field in ("old", "password", "again")
    return visit.page("password.html", status=400 if problem else 200, least=accounts.LEAST,
                      problems={field: problem} if known else {}, problem="" if known else problem)
