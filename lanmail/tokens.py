"""OAuth2 access tokens as sending and fetching find them: small files, read anew at every connection.

    state/tokens/APP/ADDRESS.json         clear head (state, expires, fingerprint) and the token, encrypted (Fernet)
    state/tokens/APP/ADDRESS,graph.json   the same for a resource other than mail
    state/tokens/request/                 a reader that needs a fresh token drops a file here

Only tokend writes tokens. The keys are oauth-access.keys, one a line, handed over by systemd or in conf/secrets/. The
plaintext repeats app, address and expiry, so files cannot be swapped. Whatever is wrong with a file is temporary and is
said loudly; it never counts as "no password".
"""

import asyncio
import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lanmail import atomic
from lanmail.errors import Temporary
from lanmail.oauth import keys
from lanmail.paths import Paths
from lanmail.secret import Secret

ENOUGH = 120  # seconds that a token must still live
WAIT = 20.0  # seconds to wait for a fresh one
NOBODY = 5.0  # and for tokend to say that there will be none
POLL = 0.25
KEYS = keys.ACCESS
MAIL = "mail"  # the resource whose tokens mail servers take
_STUCK = {"needs_consent": "somebody has to log in at the provider again", "app_error": "the app is misconfigured",
          "paused": "fetching tokens is switched off"}


class Missing(Temporary):
    """There is no token to be had now; to find that out cost nothing, so it may be asked again soon."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what tells it from the next one."""

    app: str
    address: str
    secret: Secret
    fingerprint: str
    resource: str = MAIL


def file_of(paths: Paths, app: str, address: str, resource: str = MAIL) -> Path:
    """Where the token of an address lies."""
    suffix = "" if resource == MAIL else f",{part(resource)}"
    return paths.state / "tokens" / part(app) / f"{part(address.lower())}{suffix}.json"


def part(text: str) -> str:
    """A text as one part of a file's name: never hidden, no comma or slash in it."""
    quoted = quote(text, safe="@")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


async def access(paths: Paths, app: str, address: str, resource: str = MAIL, *, unlike: str = "") -> Token:
    """A token that lives long enough; waits a moment for tokend when there is none. Temporary.

    `unlike` is the fingerprint of one that a server refused: another one is waited for.
    """
    begun, asked = time.monotonic(), False
    while True:
        head = _load(file_of(paths, app, address, resource), app, address)
        state = str(head.get("state", "ok"))
        if state in _STUCK:
            raise _trouble(app, address, _STUCK[state])
        fresh = str(head.get("fingerprint", "")) != unlike or not unlike
        if fresh and _lives(head):
            return Token(app, address, _decrypt(paths, app, address, head), str(head["fingerprint"]), resource)
        if not asked:
            asked = True
            request(paths, app, address, f"rejected-{unlike}" if unlike else "expired", resource)
        if time.monotonic() - begun > (WAIT if head else NOBODY):
            missing = "nobody has logged in at the provider" if not head else "it has expired and no fresh one came"
            raise _trouble(app, address, f"{missing}; does lanmail-tokend run?")
        await asyncio.sleep(POLL)


def request(paths: Paths, app: str, address: str, reason: str, resource: str = MAIL) -> None:
    """Ask tokend for a fresh token; a full disk only means that nobody asks."""
    directory = paths.state / "tokens" / "request"
    name = ",".join(map(part, (app, address.lower(), resource, reason)))
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o770, parents=True, exist_ok=True)
        temporary = directory / f".{name}.{os.getpid()}.tmp"
        temporary.touch(mode=0o640)
        temporary.rename(directory / name)


def rejected(paths: Paths, token: Token) -> None:
    """A server did not take a token that should have been good."""
    request(paths, token.app, token.address, f"rejected-{token.fingerprint}", token.resource)


def _load(path: Path, app: str, address: str) -> dict[str, Any]:
    """The file's head, empty when there is no file."""
    try:
        head = json.loads(atomic.read(path, 256 << 10))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _trouble(app, address, f"{path} cannot be read: {error}") from error
    if not isinstance(head, dict):
        raise _trouble(app, address, f"{path} is damaged")
    return head


def _lives(head: dict[str, Any]) -> bool:
    """Whether it is good for a whole session's log-in; of a short life, a fifth is enough."""
    expires, issued = _number(head.get("expires")), _number(head.get("issued"))
    return expires - time.time() >= min(ENOUGH, 0.2 * (expires - issued))


def _decrypt(paths: Paths, app: str, address: str, head: dict[str, Any]) -> Secret:
    try:
        plain = keys.load(paths, KEYS).decrypt(str(head.get("token", "")))
        same = (plain["app"], str(plain["address"]).lower(), _number(plain["expires"]))
        word = str(plain["token"])
    except keys.Unusable as error:
        raise _trouble(app, address, error.text) from None
    except KeyError:
        raise _trouble(app, address, "the file is damaged") from None
    if same != (app, address.lower(), _number(head.get("expires"))) or not word:
        raise _trouble(app, address, "the file holds another account's token")
    return Secret(word)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _trouble(app: str, address: str, why: str) -> Missing:
    return Missing(f"no usable token for {address} (app {app}): {why}", 454, "4.7.0")
