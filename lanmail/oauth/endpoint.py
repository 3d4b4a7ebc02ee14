"""Requests to token endpoints, and the one answer that is wanted.

    tokens = await ask(app, paths, {"grant_type": "refresh_token", "refresh_token": "…"})

The app proves itself as its settings say. Everything but a token is `errors.Refused`. Times: a token's life counts from
the moment before the request, so that it never seems longer than it is.
"""

import base64
import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

from lanmail import secret
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import Temporary
from lanmail.oauth import assertion, errors
from lanmail.oauth.apps import App
from lanmail.paths import Paths
from lanmail.secret import NONE, Secret

LIFE = 3600.0  # of an access token whose answer does not say
_LONGEST = 10 * 365 * 86_400.0
_FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave. Times in seconds since the epoch."""

    access: Secret
    issued: float
    expires: float
    scope: str = ""
    refresh: Secret = NONE
    refresh_expires: float = 0.0
    id_token: Secret = NONE
    skew: float = 0.0  # how far the provider's clock is before ours


async def ask(app: App, paths: Paths, form: Mapping[str, str], *, exchanging: bool = False,
              proof: bool = True) -> Tokens:
    """One request to the app's token endpoint. errors.Refused."""
    before = time.time()
    answer = await post(app, paths, app.token_url, form, proof=proof)
    verdict = errors.judge(answer, exchanging=exchanging)
    if verdict is not None:
        raise errors.Refused(verdict)
    said = errors.fields(answer)
    life = _seconds(said.get("expires_in")) or LIFE
    ends = _seconds(said.get("refresh_token_expires_in"))
    return Tokens(
        access=Secret(said["access_token"]), issued=before, expires=before + life, scope=_text(said.get("scope")),
        refresh=Secret(_text(said.get("refresh_token"))), refresh_expires=before + ends if ends else 0.0,
        id_token=Secret(_text(said.get("id_token"))), skew=_skew(answer, before),
    )


async def post(app: App, paths: Paths, url: str, form: Mapping[str, str], *, proof: bool = True) -> httpclient.Answer:
    """One POST of a form, with (`proof`) what proves the app. errors.Refused when there is no answer."""
    try:
        more, headers = _proof(app, paths) if proof else ({}, ())
        body = urlencode({**form, **more}).encode()
        wished = httpclient.Request("POST", url, (_FORM, ("Accept-Language", "en"), *headers), (body,), len(body))
        return await httpclient.send(wished, tlsclient.wish(app, paths.conf), tunnel.of(app, paths.conf), app.timeout)
    except errors.Refused:
        raise
    except Temporary as error:
        raise errors.Refused(errors.unanswered(error)) from error


def _proof(app: App, paths: Paths) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """(fields of the form, headers) that say who asks."""
    match app.authentication:
        case "none":
            return {"client_id": app.client_id}, ()
        case "client_secret_basic":
            # RFC 6749 §2.3.1: form-encoded each, before they are put together
            word = secret.read(app.client_secret, paths.conf).reveal()
            pair = f"{quote_plus(app.client_id)}:{quote_plus(word)}".encode()
            return {}, (("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"),)
        case "private_key_jwt":
            return {"client_id": app.client_id, "client_assertion_type": assertion.CLIENT_TYPE,
                    "client_assertion": assertion.client(app, paths).reveal()}, ()
    return {"client_id": app.client_id, "client_secret": secret.read(app.client_secret, paths.conf).reveal()}, ()


def _seconds(value: object) -> float:
    """A number of seconds, which some providers write as a string; 0 for anything else."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return min(number, _LONGEST) if math.isfinite(number) and number > 0 else 0.0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _skew(answer: httpclient.Answer, before: float) -> float:
    try:
        there = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    now = time.time()
    return 0.0 if before - 2 <= there <= now + 2 else there - now
