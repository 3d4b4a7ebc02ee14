"""OAuth2 access tokens as sending and fetching find them: small files, read anew at every connection.

    state/tokens/APP/ADDRESS.json     clear head (state, expires, fingerprint) and the token, encrypted (Fernet)
    state/tokens/request/             a reader that needs a fresh token drops a file here

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
from lanmail.paths import Paths
from lanmail.secret import Secret

ENOUGH = 120  # seconds that a token must still live
WAIT = 20.0  # seconds to wait for a fresh one
POLL = 0.25
KEYS = "oauth-access.keys"
_STUCK = {"needs_consent": "somebody has to log in at the provider again", "app_error": "the app is misconfigured",
          "paused": "fetching tokens is switched off"}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what tells it from the next one."""

    app: str
    address: str
    secret: Secret
    fingerprint: str


def file_of(paths: Paths, app: str, address: str) -> Path:
    """Where the token of an address lies."""
    return paths.state / "tokens" / quote(app, safe="") / f"{quote(address.lower(), safe='@')}.json"


async def access(paths: Paths, app: str, address: str) -> Token:
    """A token that lives long enough; waits a moment for tokend when it does not. Temporary."""
    limit = time.monotonic() + WAIT
    asked = False
    while True:
        head = _load(paths, app, address)
        state = str(head.get("state", "ok"))
        if state in _STUCK:
            raise _trouble(app, address, _STUCK[state])
        if _number(head.get("expires")) - time.time() >= ENOUGH:
            return Token(app, address, _decrypt(paths, app, address, head), str(head.get("fingerprint", "")))
        if not asked:
            asked = True
            request(paths, app, address, "expired")
        if time.monotonic() > limit:
            raise _trouble(app, address, "it has expired and no fresh one came; does lanmail-tokend run?")
        await asyncio.sleep(POLL)


def request(paths: Paths, app: str, address: str, reason: str) -> None:
    """Ask tokend for a fresh token; a full disk only means that nobody asks."""
    directory = paths.state / "tokens" / "request"
    name = f"{quote(app, safe='')},{quote(address.lower(), safe='@')},{quote(reason, safe='')}"
    with contextlib.suppress(OSError):
        directory.mkdir(mode=0o770, parents=True, exist_ok=True)
        temporary = directory / f".{name}.{os.getpid()}.tmp"
        temporary.touch(mode=0o640)
        temporary.rename(directory / name)


def rejected(paths: Paths, token: Token) -> None:
    """A server did not take a token that should have been good."""
    request(paths, token.app, token.address, f"rejected-{token.fingerprint}")


def _load(paths: Paths, app: str, address: str) -> dict[str, Any]:
    path = file_of(paths, app, address)
    try:
        head = json.loads(atomic.read(path, 256 << 10))
    except FileNotFoundError:
        raise _trouble(app, address, f"{path} is not there; has somebody logged in at the provider?") from None
    except (OSError, ValueError) as error:
        raise _trouble(app, address, f"{path} cannot be read: {error}") from error
    if not isinstance(head, dict):
        raise _trouble(app, address, f"{path} is damaged")
    return head


def _decrypt(paths: Paths, app: str, address: str, head: dict[str, Any]) -> Secret:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet  # only who logs in by token needs it

    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    candidates = [*([Path(directory) / KEYS] if directory else []), paths.secrets / KEYS]
    for path in candidates:
        with contextlib.suppress(FileNotFoundError):
            try:
                lines = atomic.read(path, 64 << 10).decode("ascii").split()
                plain = json.loads(MultiFernet([Fernet(line) for line in lines]).decrypt(str(head.get("token", ""))))
                same = (plain["app"], str(plain["address"]).lower(), _number(plain["expires"]))
                word = str(plain["token"])
            except FileNotFoundError:
                raise
            except (OSError, ValueError, KeyError, TypeError, InvalidToken) as error:
                why = f"it cannot be decrypted with {path.name}: {type(error).__name__}"
                raise _trouble(app, address, why) from None
            if same != (app, address.lower(), _number(head.get("expires"))) or not word:
                raise _trouble(app, address, "the file holds another account's token")
            return Secret(word)
    raise _trouble(app, address, f"the keys ({KEYS}) are not there")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _trouble(app: str, address: str, why: str) -> Temporary:
    return Temporary(f"no usable token for {address} (app {app}): {why}", 454, "4.7.0")
