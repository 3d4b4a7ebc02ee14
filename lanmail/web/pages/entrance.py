"""/login, /logout, /language, and / that leads on."""

import asyncio
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from lanmail import log, sasl
from lanmail.errors import MailError
from lanmail.web import sessions, views
from lanmail.web.house import House
from lanmail.web.pages import frame
from lanmail.web.pages.frame import Form, Visitor

router = APIRouter()
SERVICE = "web"


@router.get("/")
def first(visit: Visitor) -> Response:
    """Whoever is an administrator comes for the office, everybody else for himself."""
    return RedirectResponse("/admin/status" if visit.administrator else "/my/account", 303)


@router.get("/login")
def entrance(request: Request, next: str = "") -> Response:
    """The log-in page."""
    return _page(request, next, "")


def _page(request: Request, on: str, problem: str, user: str = "") -> Response:
    answer = views.page(request, "entrance.html", status=403 if problem else 200, on=frame.local(on), problem=problem,
                        user=user)
    answer.headers.update(frame.POLICY)
    return answer


@router.post("/login")
async def enter(request: Request) -> Response:
    """Name and password. Wrong ones are counted together with those at the mail servers."""
    house: House = request.app.state.house
    given = await request.form(max_files=0, max_fields=10)
    user, password, on = (str(given.get(key, "")) for key in ("user", "password", "next"))
    if frame.foreign(request):
        return await run_in_threadpool(_page, request, on, "form")
    client = request.client.host if request.client else ""
    try:
        account = await house.checker.login(sasl.Credentials(user.strip(), password), client=client, service=SERVICE)
    except MailError as error:
        log.login_failed(user=user, service=SERVICE, client=client, method="page",
                         reason=getattr(error, "why", "") or error.text)
        problem = "later" if isinstance(error, sasl.Throttled) else "wrong"
        return await run_in_threadpool(_page, request, on, problem, user[:200])
    word = await asyncio.to_thread(sessions.Store(house.paths).begin, account)
    log.login(account=account.name, service=SERVICE, client=client, method="page")
    answer = RedirectResponse(frame.local(on), 303)
    answer.set_cookie(frame.cookie(request), word, httponly=True, samesite="lax", path="/",
                      secure=request.scope["scheme"] == "https")
    return answer


@router.post("/logout")
def leave(visit: Visitor, form: Form) -> Response:
    """The session ends here and on the server."""
    assert form is not None
    sessions.Store(visit.house.paths).end(visit.word)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(frame.cookie(visit.request), path="/", secure=visit.request.scope["scheme"] == "https",
                         httponly=True, samesite="lax")
    return answer


@router.get("/language/{language}")
def language(request: Request, language: str) -> Response:
    """Choose a language; back to where one was."""
    on = parse_qs(request.url.query).get("next", [""])[0]
    answer = RedirectResponse(frame.local(on), 303)
    if language in views.LANGUAGES:
        answer.set_cookie(views.COOKIE, language, max_age=365 * 86400, samesite="lax", path="/", httponly=True)
    return answer
