"""Consent on another device (RFC 8628): a short code that a person types on the provider's page, and our asking for it.

    code = await begin(app, paths)
    tokens = await wait(app, paths, code)

No browser has to come back to us, so this works without a screen. Organizations may forbid it: then `Blocked`, and
another way has to be taken.
"""

import asyncio
import time
from dataclasses import dataclass, field

from lanmail.errors import Permanent
from lanmail.oauth import authorization, endpoint, errors
from lanmail.oauth.apps import App
from lanmail.oauth.authorization import Declined
from lanmail.oauth.endpoint import Tokens
from lanmail.paths import Paths
from lanmail.secret import Secret

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL = 5.0  # seconds, RFC 8628 §3.2
_SLOWER = 5.0  # RFC 8628 §3.5
_LIFE = 900.0
_LONGEST = 3600.0

pause = asyncio.sleep


class Blocked(Permanent):
    """The provider, the app or the organization does not allow this way."""


@dataclass(frozen=True, slots=True)
class Code:
    """What the person types, and where; `link` has the code in it, where the provider offers that."""

    device: Secret
    user: str
    page: str
    link: str
    interval: float
    ends: float  # on the monotonic clock
    message: str = field(default="", repr=False)


async def begin(app: App, paths: Paths) -> Code:
    """A new code. Blocked; errors.Refused when the provider cannot be asked now."""
    if not app.device_url:
        raise Blocked(f"{app.title or app.name} offers no log-in by a code")
    form = {"client_id": app.client_id, "scope": authorization.scope(app)}
    answer = await endpoint.post(app, paths, app.device_url, form)
    said = errors.fields(answer)
    user, page = said.get("user_code"), said.get("verification_uri") or said.get("verification_url")
    if answer.status == 200 and isinstance(user, str) and isinstance(page, str) and said.get("device_code"):
        return Code(Secret(str(said["device_code"])), authorization.shown(user, 60), _web(page),
                    _web(str(said.get("verification_uri_complete") or "")),
                    max(1.0, _number(said.get("interval"), _INTERVAL)),
                    time.monotonic() + min(_number(said.get("expires_in"), _LIFE), _LONGEST))
    verdict = errors.judge(answer)
    if verdict is None or verdict.reaction in (errors.TRANSIENT, errors.THROTTLED):
        why = verdict or errors.Verdict(errors.TRANSIENT, "", f"HTTP {answer.status}: an answer without a code")
        raise errors.Refused(why)
    raise Blocked(verdict.text)


async def wait(app: App, paths: Paths, code: Code) -> Tokens:
    """The tokens, as soon as the person has agreed. Declined (said no, or too late), Blocked."""
    interval = code.interval
    form = {"grant_type": GRANT, "device_code": code.device.reveal()}
    while True:
        await pause(interval)
        if time.monotonic() > code.ends:
            raise Declined("nobody typed the code in time", "expired_token")
        try:
            return await endpoint.ask(app, paths, form, exchanging=True)
        except errors.Refused as error:
            verdict = error.verdict
            if verdict.code == "slow_down":
                interval += _SLOWER
            elif verdict.reaction == errors.THROTTLED:
                interval = max(interval + _SLOWER, min(verdict.wait, 60.0))
            elif verdict.reaction == errors.TRANSIENT:
                interval = min(interval * 2, 60.0)  # RFC 8628 §3.5: back off when there is no answer
            elif verdict.code in ("access_denied", "authorization_declined"):
                raise Declined("access was declined", verdict.code) from None
            elif verdict.code in ("expired_token", "bad_verification_code"):
                raise Declined("nobody typed the code in time", verdict.code) from None
            elif verdict.reaction != errors.PENDING:
                raise Blocked(verdict.text) from None


def _web(url: str) -> str:
    """A page that a person can be sent to; nothing else that a provider may have written there."""
    return url if url.startswith(("https://", "http://")) and url.isascii() and url.isprintable() else ""


def _number(value: object, otherwise: float) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else otherwise
    except ValueError:
        return otherwise
    return number if 0 < number < 1e6 else otherwise
