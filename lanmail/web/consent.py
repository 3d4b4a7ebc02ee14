"""The log-in at a provider by a one-time link: oauth/web.py, as paths.

    GET /oauth2/start/WORD      who wants what        GET /oauth2/start/WORD/go   on to the provider
    GET /oauth2/callback        the provider's answer
"""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from lanmail.oauth import web
from lanmail.web import views
from lanmail.web.house import House

router = APIRouter()


def _response(page: web.Page) -> Response:
    return Response(page.body, page.status, dict(page.headers))


@router.get("/oauth2/start/{word}")
async def look(word: str, request: Request) -> Response:
    """The page behind a link; to look uses nothing up."""
    house: House = request.app.state.house
    return _response(await run_in_threadpool(web.look, house.paths, word, views.tongue(request)))


@router.get("/oauth2/start/{word}/go")
async def start(word: str, request: Request) -> Response:
    """To the provider."""
    house: House = request.app.state.house
    return _response(await run_in_threadpool(web.start, house.paths, word, views.tongue(request)))


@router.get("/oauth2/callback")
async def callback(request: Request) -> Response:
    """What came of it."""
    house: House = request.app.state.house
    return _response(await web.callback(house.paths, house.settings(), request.url.query, views.tongue(request)))
