"""The log-in at a provider by a one-time link: oauth/web.py, as paths.

    GET /oauth2/start/WORD      who wants what        GET /oauth2/start/WORD/go   on to the provider
    GET /oauth2/callback        the provider's answer; who began on our pages comes back to them
"""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from lanmail.oauth import web
from lanmail.oauth.pending import Wish
from lanmail.web import sessions, views
from lanmail.web.house import House
from lanmail.web.pages.frame import NoSession, cookie, visitor

router = APIRouter()


def _response(page: web.Page) -> Response:
    return Response(page.body, page.status, dict(page.headers))


@router.get("/oauth2/start/{word}")
async def look(word: str, request: Request) -> Response:
    """The page behind a link; to look uses nothing up."""
    house: House = request.app.state.house
    return _response(await run_in_threadpool(web.look, house.paths, word, views.tongue(request), await who(request)))


@router.get("/oauth2/start/{word}/go")
async def start(word: str, request: Request) -> Response:
    """To the provider."""
    house: House = request.app.state.house
    return _response(await run_in_threadpool(web.start, house.paths, word, views.tongue(request), await who(request)))


@router.get("/oauth2/callback")
async def callback(request: Request) -> Response:
    """What came of it."""
    house: House = request.app.state.house
    tongue, name = views.tongue(request), await who(request)
    page = await web.callback(house.paths, house.settings(), request.url.query, tongue, name)
    if page.done is not None and page.done.by and page.done.by == name:
        return await run_in_threadpool(_back, request, page.done, tongue)
    return _response(page)


async def who(request: Request) -> str:
    """As which account the browser is logged in to our pages."""
    try:
        return (await visitor(request)).account
    except NoSession:
        return ""


def _back(request: Request, done: Wish, tongue: str) -> Response:
    """To the page where it was begun, which says that it is done."""
    house: House = request.app.state.house
    kept, word = sessions.Store(house.paths), request.cookies.get(cookie(request), "")
    if kept.find(word, house.settings()) is not None:
        kept.note(word, f"Die Anmeldung für {done.address} ist erfolgt." if tongue == "de" else
                  f"You are logged in for {done.address}.")
    mine = done.by == done.account
    return RedirectResponse("/my/sources" if mine else f"/admin/accounts/{done.account}/sources", 303,
                            {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
