"""/admin/archive and /my/archive: find mail in the archive, read it as text, save it, put it back into a mailbox.

Mail is other people's: nothing of it is shown but text, and no link, picture or style in it does anything.
"""

import base64
import re
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import Response

from lanmail import printable
from lanmail.archiving import verification
from lanmail.web.api import frame
from lanmail.web.pages.frame import ADMIN, POLICY, Form, Visit, Visitor

router = APIRouter()

PAGE = 25
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SHOWN = 200_000  # characters of a mail's text
WORDS = {"From": "Von", "To": "An", "Cc": "Kopie", "Reply-To": "Antwort an", "Subject": "Betreff", "Date": "Datum"}
KINDS = {verification.CHANGED: ("changed", "verändert"), verification.MISSING: ("missing", "fehlt"),
         verification.ADDED: ("put there", "hinzugefügt"), verification.CHAIN: ("journal", "Journal"),
         verification.CUT: ("journal cut off", "Journal abgeschnitten"),
         verification.UNPURGED: ("should be gone", "müsste weg sein")}
DIRECTIONS = {"in": ("received", "empfangen"), "out": ("sent", "gesendet"), "both": ("sent and received", "beides")}


def _here(visit: Visit) -> str:
    return "/admin/archive" if visit.path.startswith(ADMIN) else "/my/archive"


@router.get("/my/archive")
@router.get("/admin/archive")
def search(visit: Visitor, q: str = "", account: str = "", after: str = "", before: str = "", attachment: str = "",
           substring: str = "", offset: int = 0) -> Response:
    """The form, and what fits: without words all mail, the newest first."""
    office = visit.path.startswith(ADMIN)
    asked = {"q": q.strip()[:900], "account": account.strip()[:64] if office else "",
             "after": after if _DAY.fullmatch(after) else "", "before": before if _DAY.fullmatch(before) else "",
             "attachment": "yes" if attachment else "", "substring": "yes" if substring else ""}
    given = {key: value for key, value in asked.items() if value}
    offset, problem, found = min(max(offset, 0), 1_000_000), "", None
    if given or not office:
        try:
            found = visit.call("archive.search", query=_query(asked), offset=offset, limit=PAGE,
                               substring=bool(substring), **({"account": asked["account"]} if asked["account"] else {}))
        except frame.Refused as refused:
            if refused.code not in ("invalid_field", "busy", "not_found"):
                raise
            problem = refused.message.removeprefix("query: ")
    here = _here(visit)
    return visit.page("archive.html", here=here, asked=asked, given=given, found=found, offset=offset, limit=PAGE,
                      problem=problem, path=f"{here}?{urlencode(given)}", directions=DIRECTIONS,
                      archived=visit.owner.archive)


def _query(asked: dict[str, str]) -> str:
    """What was typed, and the fields beside it, in the words of archiving.query."""
    words = [asked["q"]]
    words += [f"after:{asked['after']}"] if asked["after"] else []
    words += [f"before:{asked['before']}"] if asked["before"] else []
    words += ["has:attachment"] if asked["attachment"] else []
    return " ".join(word for word in words if word)


@router.get("/admin/archive/check")
def check(visit: Visitor) -> Response:
    """Whether the archive is as it was: how far the last look is, and what it found."""
    return visit.page("archive-check.html", known=visit.call("archive.verify"), kinds=KINDS, problem="", head="")


@router.post("/admin/archive/check")
def start(visit: Visitor, form: Form) -> Response:
    """Look anew."""
    head = str(form.get("head", "")).strip()[:100]
    try:
        visit.call("archive.verify", start=True, head=head or None)
    except frame.Refused as refused:
        return visit.page("archive-check.html", known=visit.call("archive.verify"), kinds=KINDS, head=head,
                          problem=refused.message.removeprefix("head: "), status=frame.STATUS[refused.code])
    return visit.done("/admin/archive/check")


@router.get("/admin/archive/export.zip")
def export(visit: Visitor, q: str = "", account: str = "", after: str = "", before: str = "",
           attachment: str = "") -> Response:
    """What was found, with its proof, as a file."""
    asked = {"q": q.strip()[:800], "after": after if _DAY.fullmatch(after) else "",
             "before": before if _DAY.fullmatch(before) else "", "attachment": attachment}
    text = _query(asked)
    if name := _SAFE.sub("", account):
        text = f"{text} account:{name}".strip()
    found = visit.call("archive.export", query=text)
    return Response(base64.b64decode(found["data"]), media_type="application/zip", headers={
        **POLICY, "Content-Disposition": 'attachment; filename="archive.zip"', "Content-Security-Policy": "sandbox"})


@router.get("/my/archive/{id}")
@router.get("/admin/archive/{id}")
def mail(visit: Visitor, id: str, form: str = "accepted") -> Response:
    """One mail, as text."""
    known = _known(visit, id, form="sent" if form == "sent" else "accepted")
    text = printable.lines(known["text"])
    header = [(visit.say(one["name"], WORDS.get(one["name"], one["name"])), printable.line(one["value"]))
              for one in known["header"]]
    return visit.page("archive-mail.html", one=known, here=_here(visit), header=header, text=text[:_SHOWN],
                      cut=len(text) > _SHOWN, directions=DIRECTIONS)


def _known(visit: Visit, id: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = visit.call("archive.get", id=id[:200], **more)
    return found


@router.get("/my/archive/{id}/message.eml")
@router.get("/admin/archive/{id}/message.eml")
def save(visit: Visitor, id: str) -> Response:
    """The whole message, to be saved and opened by a mail program; never to be shown by the browser."""
    known = _known(visit, id, raw=True)
    text = base64.b64decode(known["data"]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    name = _SAFE.sub("-", known["subject"])[:60].strip("-.") or "mail"
    return Response(text, media_type="message/rfc822", headers={
        **POLICY, "Content-Disposition": f'attachment; filename="{name}.eml"', "Content-Security-Policy": "sandbox"})


@router.post("/my/archive")
@router.post("/admin/archive")
def restore(visit: Visitor, form: Form) -> Response:
    """Put mails back into a mailbox."""
    here = _here(visit)
    ids = [str(one) for one in form.getlist("id")][:200]
    if not ids:
        return visit.done(here, visit.say("Tick the mails first.", "Bitte haken Sie zuerst Mails an."))
    folder, to = str(form.get("folder", "")).strip() or "INBOX", str(form.get("to", "")).strip()
    if not visit.path.startswith(ADMIN):
        to = visit.account
    on = f"{here}/{ids[0]}" if len(ids) == 1 else here
    try:
        done = visit.call("archive.restore", ids=ids, folder=folder[:200], to=to[:64])
    except frame.Refused as refused:
        return visit.done(on, f"{visit.say('Not possible:', 'Nicht möglich:')} {refused.message}")
    return visit.done(on, _said(visit, done, folder))


def _said(visit: Visit, done: dict[str, Any], folder: str) -> str:
    said = []
    if number := len(done["restored"]):
        said.append(visit.say(f"{number} put into {folder}.", f"{number} in {folder} gelegt."))
    if number := len(done["there"]):
        said.append(visit.say(f"{number} lie there already.", f"{number} liegen dort schon."))
    said += [f"{one['id']}: {one['why']}" for one in done["problems"][:3]]
    return " ".join(said)
