"""The paths of our OAuth2 server.

    GET  /oauth2/auth          the log-in page of a client's request; POST: the log-in itself
    POST /oauth2/token         tokens for a code or a refresh token
    GET, POST /oauth2/logout   one token's consent ends        POST /oauth2/revoke      the same by RFC 7009
    POST /oauth2/introspect    what a token is good for (RFC 7662)
    GET  /.well-known/oauth-authorization-server, /.well-known/openid-configuration    where all this is (RFC 8414)

Nobody is sent anywhere before the client and its redirect URI are known to be good: until then errors are shown
(RFC 6749 §4.1.2.1). A password is looked at like one at the mail servers, and counted with those.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, UnsupportedResponseTypeError
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from lanmail import log
from lanmail.logins import devicecodes, grants
from lanmail.logins.endpoints import OOB, base, urls
from lanmail.web import granting, loginform, views
from lanmail.web.granting import Asked
from lanmail.web.house import House
from lanmail.web.loginform import Fields

router = APIRouter()


def server_of(house: House) -> granting.Server:
    """Authlib's server on the files of this installation."""
    def may_use(client: grants.Client, account: str) -> bool:
        known = house.directory.account(account)
        return known is not None and not known.disabled and client.account in ("", account)

    state = house.paths.state
    return granting.Server(grants.Register(state), devicecodes.Waiting(state), may_use)


# the log-in page

@router.get("/oauth2/auth")
async def auth(request: Request) -> Response:
    """The page on which the owner of a mailbox lets a client in."""
    return await run_in_threadpool(_page, request, loginform.parsed(request.url.query), "")


@router.post("/oauth2/auth")
async def log_in(request: Request) -> Response:
    """Somebody typed name and password, or said no."""
    house: House = request.app.state.house
    form = await loginform.fields(request)
    query = loginform.parsed(form.get("query", ""))
    if not loginform.is_own(request, form):
        return await run_in_threadpool(_page, request, query, "form")
    try:
        asked, client, redirect_uri, scopes = await run_in_threadpool(_checked, house, query)
    except OAuth2Error as error:
        return _told(request, error)
    if form.get("answer") == "deny":
        return _back(house, redirect_uri, {"error": "access_denied", "error_description": "the owner said no"}, query)
    account, problem = await loginform.owner(request, form, client.account)
    if account is None:
        return await run_in_threadpool(_page, request, query, problem)
    challenge = asked.payload.data.get("code_challenge", "")
    code = await run_in_threadpool(grants.Register(house.paths.state).code, client, account.name, scopes, redirect_uri,
                                   challenge, "S256" if challenge else "")
    log.login(account=account.name, service=loginform.SERVICE, client=loginform.client(request), method="page")
    if redirect_uri == OOB:
        return views.page(request, "code.html", code=code)
    return _back(house, redirect_uri, {"code": code}, query)


def _page(request: Request, query: Fields, problem: str) -> Response:
    """The log-in page, with what went wrong before; or the error of the request itself."""
    house: House = request.app.state.house
    try:
        _, client, redirect_uri, scopes = _checked(house, query)
    except OAuth2Error as error:
        return _told(request, error)
    parts = urlsplit(redirect_uri)
    where = "" if redirect_uri == OOB else f" {parts.scheme}://{parts.netloc}" if parts.netloc else f" {parts.scheme}:"
    answer = log_in_page(request, "/oauth2/auth", {"query": urlencode(query)}, client, scopes, problem,
                         query.get("login_hint", ""))
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self'{where}")
    return answer


def log_in_page(request: Request, action: str, hidden: dict[str, str], client: grants.Client, scopes: Sequence[str],
                problem: str, user: str = "", code: str = "") -> Response:
    """The page that says who wants in, and asks for name and password; `code` is one that was typed."""
    services = [name for name, scope in grants.SCOPES.items() if scope in scopes]
    word = loginform.word(request)
    answer = views.page(request, "login.html", status=403 if problem else 200, client=client.name or client.id,
                        services=services, action=action, hidden=hidden | {"form": word}, problem=problem, user=user,
                        code=code, lasting=grants.OFFLINE in scopes)
    loginform.remember(request, answer, word)
    return answer


def _checked(house: House, query: Fields) -> tuple[Asked, grants.Client, str, list[str]]:
    """The request, its client, where to send people back, and for what. OAuth2Error; with redirect_uri if it is good.
    """
    asked = Asked("GET", query, {}, {})
    server = server_of(house)
    if not asked.payload.client_id or server.query_client(asked.payload.client_id) is None:
        raise _parameter("client_id doesn't exist or is disabled")
    if not asked.payload.redirect_uri:
        raise _parameter("redirect_uri is missing")
    registered = server.query_client(asked.payload.client_id)
    assert registered is not None
    if not registered.check_redirect_uri(asked.payload.redirect_uri):
        raise _parameter("redirect_uri is not registered for this client")
    if query.twice in ("client_id", "redirect_uri"):
        raise _parameter(f"{query.twice} comes more than once")
    client, redirect_uri = registered.known, asked.payload.redirect_uri
    try:
        if query.twice:
            raise InvalidRequestError(f"{ascii(query.twice)[1:-1][:50]} comes more than once")
        if not asked.payload.response_type:
            raise InvalidRequestError("response_type is missing")
        if asked.payload.response_type != "code":
            raise UnsupportedResponseTypeError("", "response_type must be code")
        server.get_consent_grant(asked, None)
        scopes = granting.scopes_of(client, asked)
        if not client.secret and not asked.payload.data.get("code_challenge"):
            raise InvalidRequestError("this client has no secret, so it needs PKCE: code_challenge is missing")
    except OAuth2Error as error:
        error.redirect_uri, error.state = redirect_uri, asked.payload.state
        raise
    return asked, client, redirect_uri, scopes


def _parameter(text: str) -> OAuth2Error:
    return OAuth2Error(error="parameter_error", description=text)


def _told(request: Request, error: OAuth2Error) -> Response:
    """To the client if it may be told, else to the reader."""
    house: House = request.app.state.house
    if getattr(error, "redirect_uri", None) and error.redirect_uri != OOB:
        words = {"error": error.error, "error_description": error.description or error.error}
        return _back(house, error.redirect_uri, words, {"state": getattr(error, "state", None) or ""})
    text = f"{error.error}; {error.description}" if error.description else str(error.error)
    return views.page(request, "error.html", status=400, text=text)


def _back(house: House, redirect_uri: str, words: dict[str, str], query: dict[str, str]) -> Response:
    """To the client, with its state and our name (RFC 9207)."""
    if redirect_uri == OOB:
        return HTMLResponse("", 204)
    if query.get("state"):
        words = words | {"state": query["state"]}
    words = words | {"iss": base(house.settings())}
    joint = "&" if urlsplit(redirect_uri).query else "?"
    return RedirectResponse(f"{redirect_uri}{joint}{urlencode(words)}", 302)


# for programs

@router.post("/oauth2/token")
async def token(request: Request) -> Response:
    """Tokens (RFC 6749 §5); errors are JSON."""
    asked = await asked_for(request)
    return await run_in_threadpool(answered, request, asked, lambda server: server.create_token_response(asked))


@router.post("/oauth2/revoke")
async def revoke(request: Request) -> Response:
    """RFC 7009: an unknown token is no error."""
    return await run_in_threadpool(_ended, request, await asked_for(request), "token")


@router.api_route("/oauth2/logout", methods=["GET", "POST"])
async def logout(request: Request) -> Response:
    """The same with parameters in the address, as LANMailServer has it; people are sent on, where the client may."""
    asked = await asked_for(request)
    data = asked.payload.data
    asked._form = dict(data)
    name, on = "token" if "token" in data else "refresh_token", data.get("post_logout_redirect_uri", "")
    ended = await run_in_threadpool(_ended, request, asked, name, on)
    if not on or ended.status_code != 200:
        return ended
    state = urlencode({"state": data["state"]}) if data.get("state") else ""
    return RedirectResponse(on + (("&" if urlsplit(on).query else "?") + state if state else ""), 302)


def _ended(request: Request, asked: Asked, name: str, on: str = "") -> Response:
    def end(server: granting.Server) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        client = server.authenticate_client(asked, granting.AUTHENTICATION)
        if on and (on == OOB or not client.check_redirect_uri(on)):
            raise InvalidRequestError("post_logout_redirect_uri is not registered for this client")
        text = asked.form.get(name)
        if not text:
            raise InvalidRequestError("token is missing")
        found = server.register.token(text)
        if found is not None and found.client == client.known.id:
            server.register.end(found.consent)
        return 200, {}, []

    return answered(request, asked, end)


@router.post("/oauth2/introspect")
async def introspect(request: Request) -> Response:
    """RFC 7662, for a client about its own tokens, and for servers that may ask about all."""
    asked = await asked_for(request)

    def look(server: granting.Server) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        client = server.authenticate_client(asked, ("client_secret_basic", "client_secret_post")).known
        if not asked.form.get("token"):
            raise InvalidRequestError("token is missing")
        return 200, _about(server, client, asked.form.get("token", "")), []

    return await run_in_threadpool(answered, request, asked, look)


def _about(server: granting.Server, client: grants.Client, text: str) -> dict[str, Any]:
    found, now = server.register.token(text), server.now()
    if found is None or not (found.client == client.id or grants.INTROSPECT in client.scopes):
        return {"active": False}
    if found.kind != "access" and found.client != client.id:  # nothing that a server may let somebody in by
        return {"active": False}
    owner = server.query_client(found.client)
    if owner is None or found.replaced or (found.expires and found.expires <= now):
        return {"active": False}
    if not server.may_use(owner.known, found.account) or not server.register.alive(found.consent, now):
        return {"active": False}
    known = {"active": True, "scope": " ".join(found.scopes), "client_id": found.client, "username": found.account,
             "sub": found.account, "token_type": "Bearer" if found.kind == "access" else "refresh_token",
             "iat": int(found.issued)}
    return known | ({"exp": int(found.expires)} if found.expires else {})


@router.get("/.well-known/oauth-authorization-server")
@router.get("/.well-known/openid-configuration")
def metadata(request: Request) -> JSONResponse:
    """RFC 8414."""
    house: House = request.app.state.house
    settings = house.settings()
    return JSONResponse({
        "issuer": base(settings), **urls(settings),
        "scopes_supported": [*grants.SCOPES.values(), grants.OFFLINE],
        "response_types_supported": ["code"], "response_modes_supported": ["query"],
        "grant_types_supported": list(granting.GRANTS),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "revocation_endpoint_auth_methods_supported": list(granting.AUTHENTICATION),
        "introspection_endpoint_auth_methods_supported": list(granting.AUTHENTICATION[:2]),
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": True})


def answered(request: Request, asked: Asked, work: Any) -> Response:
    """What the server says to a program, an error too (RFC 6749 §5)."""
    server = server_of(request.app.state.house)
    try:
        server.check(asked)
        status, body, _ = work(server)
    except OAuth2Error as error:
        status, body, _ = error()
    headers = {"Pragma": "no-cache"} | ({"WWW-Authenticate": 'Basic realm="lanmail"'} if status == 401 else {})
    return JSONResponse(dict(body), status, headers)


async def asked_for(request: Request) -> Asked:
    """What a program wants: the form, or with GET the query."""
    found = await loginform.fields(request) if request.method == "POST" else loginform.parsed(request.url.query)
    query, form = ({}, found) if request.method == "POST" else (found, {})
    return Asked(request.method, query, form, request.headers, found.twice)
