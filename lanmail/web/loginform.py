"""What the log-in pages of the OAuth2 server share: forms that cannot come from elsewhere, and the look at a password.

A form carries a word that stands in a cookie as well, which pages of other servers can neither read nor set.
"""

import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request, Response

from lanmail import log, sasl
from lanmail.errors import MailError
from lanmail.settings import Account
from lanmail.web import guard
from lanmail.web.house import House

COOKIE = "lanmail-form"
SERVICE = "oauth2"


class Fields(dict[str, str]):
    """Parameters by name; of several of a name the first counts, and `twice` names it."""

    twice = ""


async def fields(request: Request) -> Fields:
    """The fields of a form (application/x-www-form-urlencoded), and no files."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return Fields()
    return parsed((await request.body()).decode("utf-8", "replace"))


def parsed(text: str) -> Fields:
    """A query, or a form like one."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return Fields()
    found = Fields(reversed(pairs))
    names = [name for name, _ in pairs]
    found.twice = next((name for name in found if names.count(name) > 1), "")
    return found


def word(request: Request) -> str:
    """What the form on a page must carry."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(24)


def remember(request: Request, answer: Response, given: str) -> None:
    """Set the cookie beside a page with a form."""
    answer.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=request.scope["scheme"] == "https",
                      path="/oauth2", max_age=3600)


def is_own(request: Request, form: Mapping[str, str]) -> bool:
    """Whether a form was filled in on a page of ours."""
    cookie = request.cookies.get(COOKIE, "")
    return bool(cookie) and secrets.compare_digest(cookie.encode(), form.get("form", "").encode()) and not _foreign(
        request)


def _foreign(request: Request) -> bool:
    """Whether the form was sent by a page of another server."""
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return False  # no-referrer makes browsers say null for our own page; the cookie decides
    house: House = request.app.state.house
    return not guard.is_ours(origin.partition("://")[2], house.settings())


def client(request: Request) -> str:
    """The IP address of whoever asks."""
    return request.client.host if request.client else ""


async def owner(request: Request, form: Mapping[str, str], account: str) -> tuple[Account | None, str]:
    """Who typed name and password, if it is `account`, else what the page has to say: wrong, later."""
    house: House = request.app.state.house
    given, here = sasl.Credentials(form.get("user", "").strip(), form.get("password", ""), mechanism="page"), client(
        request)
    try:
        found = await house.checker.login(given, client=here, service=SERVICE)
    except MailError as error:
        _failed(given.user, here, getattr(error, "why", "") or error.text)
        return None, "later" if isinstance(error, sasl.Throttled) else "wrong"
    if found.name != account:
        _failed(given.user, here, "the client is another account's")
        return None, "wrong"
    return found, ""


def _failed(user: str, here: str, why: str) -> None:
    log.login_failed(user=user, service=SERVICE, client=here, method="page", reason=why)
