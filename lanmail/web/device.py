"""Log-ins of programs without a browser (RFC 8628): scripts, servers, telephones of the old kind.

    POST /oauth2/device_authorization    the program begins, gets a code for itself and a short one for its owner
    GET  /oauth2/device                  the page for the short one; POST: the code, then name and password

The short code alone opens nothing: as on the other log-in page the password must be that of the client's account. All
the same, who types wrong codes has to wait, and nobody learns of a program without its code.
"""

import time

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from lanmail import log
from lanmail.logins import devicecodes, endpoints, grants
from lanmail.web import authorize, loginform, views
from lanmail.web.house import House

router = APIRouter()
PAGE = "/oauth2/device"


@router.api_route("/oauth2/device_authorization", methods=["GET", "POST"])
async def begin(request: Request) -> Response:
    """RFC 8628 §3.1; errors are those of the token endpoint. There are programs that ask by GET (emailproxy)."""
    house: House = request.app.state.house
    asked = await authorize.asked_for(request)
    page = endpoints.device_page(house.settings())
    return await run_in_threadpool(
        authorize.answered, request, asked, lambda server: (200, server.let_wait(asked, page), []))


@router.get(PAGE)
def show(request: Request, user_code: str = "") -> Response:
    """The page on which a code is typed. One that came with the address has to be sent by hand all the same."""
    return _page(request, user_code[:40])


@router.post(PAGE)
async def typed(request: Request) -> Response:
    """A code; and, on the second page, name and password, or a no."""
    form = await loginform.fields(request)
    code = form.get("user_code", "")[:41]
    if not loginform.is_own(request, form):
        return await run_in_threadpool(_page, request, code, "form")
    found = await run_in_threadpool(_look, request, code)
    if isinstance(found, str):
        return await run_in_threadpool(_page, request, code, found)
    device, client = found
    if form.get("answer") == "deny":
        return await run_in_threadpool(_answer, request, code, "")
    if form.get("answer") != "allow":
        return await run_in_threadpool(_log_in, request, code, device, client)
    account, problem = await loginform.owner(request, form, client.account)
    if account is None:
        return await run_in_threadpool(_log_in, request, code, device, client, problem)
    return await run_in_threadpool(_answer, request, code, account.name)


def _look(request: Request, code: str) -> tuple[devicecodes.Device, grants.Client] | str:
    """Who waits for a code, or what the page has to say: later, unknown."""
    house: House = request.app.state.house
    if house.checker.code_wait(loginform.client(request)):
        return "later"
    device = devicecodes.Waiting(house.paths.state).typed(code, time.time())
    client = authorize.server_of(house).query_client(device.client) if device is not None else None
    if device is None or client is None:
        house.checker.wrong_code(loginform.client(request))
        return "unknown"
    return device, client.known


def _log_in(request: Request, code: str, device: devicecodes.Device, client: grants.Client,
            problem: str = "") -> Response:
    return authorize.log_in_page(request, PAGE, {"user_code": code}, client, device.scopes, problem, code=code.upper())


def _answer(request: Request, code: str, account: str) -> Response:
    """What the owner said. The program hears of it when it asks the next time."""
    house: House = request.app.state.house
    if not devicecodes.Waiting(house.paths.state).answer(code, account, time.time()):
        return _page(request, "", "unknown")
    if account:
        log.login(account=account, service=loginform.SERVICE, client=loginform.client(request), method="device")
    return views.page(request, "devicedone.html", allowed=bool(account))


def _page(request: Request, code: str, problem: str = "") -> Response:
    word = loginform.word(request)
    answer = views.page(request, "device.html", status=403 if problem else 200, code=code, word=word, problem=problem)
    loginform.remember(request, answer, word)
    return answer
