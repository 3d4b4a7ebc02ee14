"""The OAuth2 server: Authlib's, on the files of grants.py. What it is asked comes from authorize.py.

RFC 6749 (authorization code and refresh token), RFC 7636 (PKCE; public clients must), RFC 7009, RFC 7662, RFC 8252 (a
loopback redirect may have any port), RFC 8628 (programs without a browser), RFC 9207 (`iss` in the answer). Scopes are
grants.SCOPES and offline_access.
"""

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    AuthorizationServer,
    ClientMixin,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Request,
    RefreshTokenGrant,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6749.util import extract_basic_authorization
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceCodeGrant

from lanmail.logins import devicecodes, grants
from lanmail.logins.endpoints import OOB, is_loopback

logging.getLogger("authlib").setLevel(logging.WARNING)  # at debug it would log tokens


AUTHENTICATION = ("client_secret_basic", "client_secret_post", "none")
GRANTS = ("authorization_code", "refresh_token", DEVICE_CODE_GRANT_TYPE)


class Asked(OAuth2Request):  # type: ignore[misc]
    """A request as Authlib wants it."""

    def __init__(self, method: str, query: Mapping[str, str], form: Mapping[str, str],
                 headers: Mapping[str, str], twice: str = "") -> None:
        self.twice = twice  # a parameter that came more than once
        super().__init__(method, "https://lanmail.invalid/", headers=headers)  # where we are asked decides nothing
        self._args, self._form = dict(query), dict(form)
        self.payload = BasicOAuth2Payload({**self._args, **self._form})

    @property
    def args(self) -> dict[str, str]:
        """Of the query."""
        return self._args

    @property
    def form(self) -> dict[str, str]:
        """Of the body."""
        return self._form


class Registered(ClientMixin):  # type: ignore[misc]
    """A client as Authlib asks it."""

    def __init__(self, known: grants.Client) -> None:
        self.known = known

    def get_client_id(self) -> str:
        """Its id."""
        return self.known.id

    def get_default_redirect_uri(self) -> str:
        """There is none: each request says where to."""
        return ""

    def get_allowed_scope(self, scope: str) -> str:
        """What was asked for; the server has refused what is beyond."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Exactly one that is registered, or one on the same machine (RFC 8252 §7.3)."""
        return redirect_uri in self.known.redirect_uris or redirect_uri == OOB or is_loopback(redirect_uri)

    def check_client_secret(self, client_secret: str) -> bool:
        """In constant time."""
        return self.known.has_secret(client_secret)

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """Who has a secret must show it."""
        return (method == "none") != bool(self.known.secret)

    def check_response_type(self, response_type: str) -> bool:
        """Only codes."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """A server that only asks about tokens gets none."""
        return grant_type in GRANTS and grants.INTROSPECT not in self.known.scopes


class _Codes(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTHENTICATION
    server: "Server"

    def save_authorization_code(self, code: str, request: Asked) -> None:
        raise AssertionError("codes are made by generate_authorization_code")

    def create_authorization_response(self, redirect_uri: str, grant_user: str) -> Any:
        raise AssertionError("answers are made by authorize.py")

    def query_authorization_code(self, code: str, client: Registered) -> "_Code | None":
        try:
            return _Code(self.server.register.look_at_code(code, client.known.id, self.server.now()))
        except grants.Refused as error:
            raise InvalidGrantError(str(error)) from None

    def authenticate_user(self, authorization_code: "_Code") -> str:
        return authorization_code.known.account

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        request = self.request
        if not self.server.may_use(request.client.known, request.authorization_code.known.account):
            raise InvalidGrantError("the account is disabled, or the client is another's")
        try:
            issued = self.server.register.exchange(request.form["code"], request.client.known.id, self.server.now())
        except grants.Refused as error:
            raise InvalidGrantError(str(error)) from None
        return 200, answer(issued), self.TOKEN_RESPONSE_HEADER


class _Code:
    """An authorization code as Authlib asks it."""

    def __init__(self, known: grants.Code) -> None:
        self.known = known
        self.code_challenge, self.code_challenge_method = known.challenge, known.method

    def get_redirect_uri(self) -> str:
        return self.known.redirect_uri

    def get_scope(self) -> str:
        return " ".join(self.known.scopes)


class _Proof(CodeChallenge):  # type: ignore[misc]
    """PKCE by S256 only: with `plain` whoever saw the request could exchange the code."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"


class _Refreshing(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTHENTICATION
    server: "Server"

    def authenticate_refresh_token(self, refresh_token: str) -> "_Token | None":
        found = self.server.register.token(refresh_token)
        return _Token(found) if found is not None and found.kind == "refresh" else None

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        request = self.request
        wanted = (request.payload.scope or "").split() or None
        if not self.server.may_use(request.client.known, request.refresh_token.known.account):
            raise InvalidGrantError("the account is disabled, or the client is another's")
        try:
            issued = self.server.register.refresh(
                request.form["refresh_token"], request.client.known.id, wanted, self.server.now())
        except grants.Refused as error:
            raise InvalidGrantError(str(error)) from None
        return 200, answer(issued), self.TOKEN_RESPONSE_HEADER


class _Token:
    """A token as Authlib asks it."""

    def __init__(self, known: grants.Token) -> None:
        self.known = known

    def check_client(self, client: Registered) -> bool:
        return self.known.client == client.known.id

    def get_scope(self) -> str:
        return " ".join(self.known.scopes)


class _Devices(DeviceCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = AUTHENTICATION
    server: "Server"

    def query_device_credential(self, device_code: str) -> "_Device":
        found = self.server.waiting.get(device_code)
        if found is None:
            raise InvalidGrantError("there is no such device_code, or it was used")
        return _Device(device_code, found, self.server.now())

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        found = self.server.waiting.get(user_code)
        return (found.account, bool(found.account)) if found is not None and found.answered else None

    def should_slow_down(self, credential: "_Device") -> bool:
        return self.server.waiting.hurries(credential.secret, self.server.now())

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        server, device, client = self.server, self.request.credential, self.request.client.known
        if not server.may_use(client, device.known.account):
            raise InvalidGrantError("the account is disabled, or the client is another's")
        if not server.waiting.take(device.secret):
            raise InvalidGrantError("the device_code was used")
        issued = server.register.grant(client.id, device.known.account, list(device.known.scopes), server.now())
        return 200, answer(issued), self.TOKEN_RESPONSE_HEADER


class _Device:
    """A program that waits, as Authlib asks it. What it takes for the code of the user is only handed back to us."""

    def __init__(self, secret: str, known: devicecodes.Device, now: float) -> None:
        self.secret, self.known, self._now = secret, known, now

    def get_client_id(self) -> str:
        return self.known.client

    def get_user_code(self) -> str:
        return self.secret

    def is_expired(self) -> bool:
        return self.known.expires <= self._now


class Server(AuthorizationServer):  # type: ignore[misc]
    """Over one register. `may_use(client, account)` says whether the account is there, active, and the client's own."""

    def __init__(self, register: grants.Register, waiting: devicecodes.Waiting, may_use: Any,
                 now: Any = time.time) -> None:
        super().__init__([*grants.SCOPES.values(), grants.OFFLINE])
        self.register, self.waiting, self.may_use, self.now = register, waiting, may_use, now
        self.register_grant(_Codes, [_Proof(required=True)])
        self.register_grant(_Refreshing)
        self.register_grant(_Devices)

    def check(self, asked: Asked) -> None:
        """What RFC 6749 §3.2, §2.3 and §5.2 ask of every request of a program. OAuth2Error."""
        if asked.twice:
            raise InvalidRequestError(f"{ascii(asked.twice)[1:-1][:50]} comes more than once")
        known, _ = extract_basic_authorization(asked.headers)
        said = asked.form.get("client_id") or known  # one without a value counts as omitted (§3.2); Dovecot sends such
        if known and (asked.form.get("client_secret") or said != known):
            raise InvalidRequestError("the client authenticates in two ways at once")

    def create_token_response(self, request: Asked) -> Any:
        """Tokens. A missing grant_type is not an unknown one (RFC 6749 §5.2)."""
        if not request.form.get("grant_type"):
            raise InvalidRequestError("grant_type is missing")
        return super().create_token_response(request)

    def let_wait(self, asked: Asked, page: str) -> dict[str, Any]:
        """A program without a browser begins (RFC 8628 §3.2); `page` is where its owner types the code. OAuth2Error."""
        client = self.authenticate_client(asked, AUTHENTICATION, "device_authorization")
        if not client.check_grant_type(DEVICE_CODE_GRANT_TYPE):
            raise UnauthorizedClientError("this client gets no tokens")
        self.validate_requested_scope(asked.payload.scope)
        scopes, secret = scopes_of(client.known, asked), secrets.token_urlsafe(32)
        try:
            typed = self.waiting.begin(secret, client.known.id, scopes, self.now())
        except devicecodes.Refused as error:
            raise InvalidRequestError(str(error)) from None
        return {"device_code": secret, "user_code": typed, "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={typed}", "expires_in": int(devicecodes.LIFE),
                "interval": devicecodes.INTERVAL,
                # no part of the RFC, but what scripts written for Microsoft show to people
                "message": f"To log in, open {page} in a browser and type the code {typed}"}

    def query_client(self, client_id: str) -> Registered | None:
        """The client; a disabled one is as good as none."""
        known = self.register.client(client_id)
        return Registered(known) if known is not None and not known.disabled else None

    def create_oauth2_request(self, request: Asked) -> Asked:
        """It is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, list[tuple[str, str]]]:
        """As it is."""
        return status, body, headers

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def validate_requested_scope(self, scope: str | None) -> None:
        """Some, and only such as there are (case counts, as everywhere in OAuth2)."""
        if not scope or not scope.split():
            raise InvalidScopeError("scope is missing")
        super().validate_requested_scope(scope)


def scopes_of(client: grants.Client, asked: Asked) -> list[str]:
    """What a request is for, offline_access being the default. InvalidScopeError, also beyond the client's."""
    wanted = (asked.payload.scope or "").split()
    beyond = [one for one in wanted if one != grants.OFFLINE and one not in client.scopes]
    if beyond:
        raise InvalidScopeError(f"this client may not ask for {' '.join(beyond)}")
    services = [one for one in wanted if one != grants.OFFLINE]
    if not services:
        raise InvalidScopeError("scope names no service")
    access = asked.payload.data.get("access_type", "offline")
    if access not in ("online", "offline"):
        raise InvalidRequestError("access_type is online or offline")
    return [*dict.fromkeys(services), *([grants.OFFLINE] if access == "offline" else [])]


def answer(issued: grants.Issued) -> dict[str, Any]:
    """The JSON of a token response (RFC 6749 §5.1)."""
    found: dict[str, Any] = {"access_token": issued.access, "token_type": "Bearer",
                             "expires_in": int(grants.ACCESS_LIFE), "scope": " ".join(issued.scopes)}
    return found | ({"refresh_token": issued.refresh} if issued.refresh else {})
