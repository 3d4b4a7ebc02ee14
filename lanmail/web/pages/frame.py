"""What all pages share: who looks, in which language, what a form brought, and the calls that carry it out.

    /my/…       what people do for themselves: calls are those of the account, also for an administrator
    /admin/…    for administrators: calls may do everything

A page asks and changes nothing by itself: it calls methods of the API (`Visit.call`), which check and note everything.

    @router.get("/my/forwarding")
    def show(visit: Visitor) -> Response:
        return visit.page("forwarding.html", known=visit.call("account.forwarding", name=visit.account))

    @router.post("/my/forwarding")
    def change(visit: Visitor, form: Form) -> Response:
        visit.call("account.forwarding", name=visit.account, settings={…})
        return visit.done("/my/forwarding", visit.say("Saved.", "Gespeichert."))

Handlers are plain functions, so that they run in threads. `api.frame.Refused` out of one becomes a page that says why;
a form catches it to show itself again with the problem at its field (`fields`).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from lanmail.settings import Account
from lanmail.web import guard, sessions, views
from lanmail.web.api import frame
from lanmail.web.house import House
from lanmail.web.pages import navigation
from lanmail.web.words import refusals

POLICY = {"Referrer-Policy": "same-origin"}  # without it browsers do not say where a form comes from
ADMIN, MY, START = "/admin/", "/my/", "/oauth2/start/"


class NoSession(Exception):
    """Nobody is logged in."""


class Refusal(Exception):
    """A page that cannot be shown, or a form that cannot be taken: status, and why in both languages."""

    def __init__(self, status: int, english: str, german: str) -> None:
        super().__init__(english)
        self.status, self.english, self.german = status, english, german


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is logged in."""

    request: Request
    house: House
    word: str  # of the cookie
    session: sessions.Session
    owner: Account
    loop: asyncio.AbstractEventLoop

    @property
    def account(self) -> str:
        """The name of whoever is logged in."""
        return self.owner.name

    @property
    def administrator(self) -> bool:
        return self.owner.administrator

    @property
    def language(self) -> str:
        """de or en."""
        return views.tongue(self.request)

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def client(self) -> str:
        """The IP address."""
        return self.request.client.host if self.request.client else ""

    @property
    def office(self) -> list[navigation.Entry]:
        """The pages of the office, for whoever may see them."""
        return navigation.served(self.request.app.state.pages, navigation.OFFICE) if self.administrator else []

    @property
    def own(self) -> list[navigation.Entry]:
        """The pages for oneself."""
        return navigation.served(self.request.app.state.pages, navigation.OWN)

    @property
    def tabs(self) -> list[navigation.Entry]:
        """The pages about one account."""
        return navigation.served(self.request.app.state.pages, navigation.TABS, "/admin/accounts/{name}")

    def say(self, english: str, german: str) -> str:
        return german if self.language == "de" else english

    def about(self, name: str) -> str:
        """The account that a page is about that is at home in both places: the one in the path, or one's own."""
        return name or self.account

    def call(self, method: str, **given: Any) -> Any:
        """The result of a method of the API, with the rights of the place. api.frame.Refused."""
        rights = "admin" if self.path.startswith(ADMIN) else f"account:{self.account}"
        caller = frame.Caller(self.account, rights)
        try:
            return frame.carry_out(frame.Call(self.house, caller, self.client, self.loop), method, given)
        except frame.Refused as refused:
            if self.language == "de":
                refused.message = refusals.german(method, refused)
            raise

    def page(self, template: str, *, status: int = 200, **words: Any) -> HTMLResponse:
        """A page with the frame around it; templates know `visit`, `note` and what is given."""
        note = sessions.Store(self.house.paths).noted(self.word)
        answer = views.page(self.request, template, status=status, visit=self, note=note, **words)
        answer.headers.update(POLICY)
        return answer

    def done(self, where: str, note: str = "") -> Response:
        """On to a page that shows the note, after a form was carried out."""
        sessions.Store(self.house.paths).note(self.word, note)
        return RedirectResponse(where, 303, POLICY)


async def visitor(request: Request) -> Visit:
    """Whoever is logged in. NoSession, and Refusal for pages that are not theirs."""
    house: House = request.app.state.house
    word = request.cookies.get(cookie(request), "")
    visit = await asyncio.to_thread(_known, request, house, word, asyncio.get_running_loop()) if word else None
    if visit is None:
        raise NoSession
    if request.url.path.startswith(ADMIN) and not visit.administrator:
        raise Refusal(403, "This page is for administrators.", "Diese Seite ist für Administratoren.")
    return visit


def _known(request: Request, house: House, word: str, loop: asyncio.AbstractEventLoop) -> Visit | None:
    session = sessions.Store(house.paths).find(word, house.settings())
    account = house.directory.account(session.account) if session else None
    if session is None or account is None or account.disabled or sessions.proof(account) != session.proof:
        return None
    return Visit(request, house, word, session, account, loop)


async def form(request: Request, visit: Annotated[Visit, Depends(visitor)]) -> AsyncIterator[FormData]:
    """What a form brought, files until the page is made. Refusal when it is not from a page of this session."""
    async with request.form(max_files=4, max_fields=2000) as found:
        given = str(found.get("form", "")).encode()
        if foreign(request) or not secrets.compare_digest(given, visit.session.form.encode()):
            raise Refusal(403, "This page was open for too long, or the form came from elsewhere. Please try again.",
                          "Diese Seite war zu lange offen, oder das Formular kam von woanders. Bitte noch einmal.")
        yield found


Visitor = Annotated[Visit, Depends(visitor)]
Form = Annotated[FormData, Depends(form)]


def foreign(request: Request) -> bool:
    """Whether another site sent this; browsers that do not say are told by the token."""
    house: House = request.app.state.house
    return guard.foreign(request.headers, house.settings())


def cookie(request: Request) -> str:
    """The name of the cookie; over HTTPS the browser itself sees to it that nobody else set it (RFC 6265bis §4.1.3)."""
    return "__Host-lanmail" if request.scope["scheme"] == "https" else "lanmail"


def local(path: str) -> str:
    """A path of ours to go on to, or the first page: never another server."""
    good = path.startswith((MY, ADMIN, START)) and "\\" not in path and path.isprintable() and " " not in path
    return path if good else "/"


def handlers(application: FastAPI) -> None:
    """What becomes of the exceptions of pages."""

    @application.exception_handler(NoSession)
    def no_session(request: Request, _error: NoSession) -> Response:
        there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        on = f"?next={quote(there, safe='')}" if request.method == "GET" else ""
        return RedirectResponse(f"/login{on}", 303)

    @application.exception_handler(Refusal)
    def refusal(request: Request, error: Refusal) -> Response:
        return views.page(request, "refused.html", status=error.status, english=error.english, german=error.german)

    @application.exception_handler(HTTPException)
    async def none(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(("/api/", "/oauth2/", "/.well-known/", "/static/")):
            return await http_exception_handler(request, error)
        return views.page(request, "refused.html", status=error.status_code, english="There is no such page.",
                          german="Diese Seite gibt es nicht.")

    @application.exception_handler(guard.Cut)
    async def cut(request: Request, error: guard.Cut) -> Response:
        close = {"Connection": "close"}  # or we would have to read on
        if request.url.path.startswith("/api/") and error.status == frame.STATUS["too_large"]:
            return frame.refusal(frame.Refused("too_large", error.text), close)
        return PlainTextResponse(f"{error.text}\n", error.status, close)

    @application.exception_handler(Exception)
    def unknown(request: Request, _error: Exception) -> Response:
        """What nobody classified is temporary, and in the log."""
        if request.url.path.startswith("/api/"):
            return frame.refusal(frame.Refused("busy", "something went wrong here; the log of httpd says what"))
        return views.page(request, "refused.html", status=500, english="Something went wrong here; the log says what.",
                          german="Hier ging etwas schief; was, steht im Protokoll.")

    @application.exception_handler(frame.Refused)
    def refused(request: Request, error: frame.Refused) -> Response:
        return views.page(request, "refused.html", status=frame.STATUS[error.code], english=error.message,
                          german=error.message)
