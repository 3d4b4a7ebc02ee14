"""Where mail clients ask how to set themselves up, knowing only an address.

    GET  /mail/config-v1.1.xml, /.well-known/autoconfig/mail/config-v1.1.xml    Thunderbird and others
    POST /autodiscover/autodiscover.xml                                         Outlook
    GET  /setup/NAME.mobileconfig?address=…                                     iPhone, iPad, Mac; any NAME
    GET  /setup                                                                 the same for people

Whoever asks learns nothing about accounts: each address of our domains gets the same answer, each other one 404.
"""

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from lanmail import clientconfig
from lanmail.logins import endpoints
from lanmail.settings import Settings
from lanmail.web import views

router = APIRouter()
XML, PROFILE = "text/xml", "application/x-apple-aspen-config"
_ELSEWHERE = "This server knows nothing about that address.\n"


@router.get("/mail/config-v1.1.xml")
@router.get("/.well-known/autoconfig/mail/config-v1.1.xml")
async def autoconfig(request: Request, emailaddress: str | None = None) -> Response:
    """The servers, as Thunderbird wants them. Without an address it is asked for our own domains."""
    settings = _settings(request)
    if emailaddress is not None and clientconfig.local_address(settings, emailaddress) is None:
        return PlainTextResponse(_ELSEWHERE, 404)
    return Response(clientconfig.autoconfig(settings), media_type=XML)


@router.post("/autodiscover/autodiscover.xml")
@router.post("/Autodiscover/Autodiscover.xml")
async def autodiscover(request: Request) -> Response:
    """The servers, as Outlook wants them."""
    settings = _settings(request)
    try:
        wanted = clientconfig.asked(await request.body())
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 400)
    owner = clientconfig.local_address(settings, wanted) if wanted is not None else None
    if owner is None:
        return PlainTextResponse(_ELSEWHERE, 404)
    return Response(clientconfig.autodiscover(settings, owner), media_type=XML)


@router.get("/setup/{name}.mobileconfig")
async def mobileconfig(request: Request, address: str = "") -> Response:
    """The servers and the address, as Apple's devices want them."""
    settings = _settings(request)
    owner = clientconfig.local_address(settings, address.strip())
    if owner is None:
        return _page(request, status=404)
    try:
        return Response(clientconfig.mobileconfig(settings, owner), media_type=PROFILE)
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 404)


@router.get("/setup")
async def setup(request: Request) -> Response:
    """The page for people."""
    return _page(request)


def _page(request: Request, status: int = 200) -> Response:
    settings = _settings(request)
    return views.page(request, "setup.html", status=status, domain=settings.server.domain, wrong=status != 200,
                      servers=clientconfig.servers(settings), at=endpoints.base(settings))


def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.house.settings()
    return found
