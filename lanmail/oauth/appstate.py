"""What is known of an app as a whole: state/oauth/apps/NAME.json. An app that is refused stops all its addresses.

It is tried again when its file or its secret changes, and every six hours.
"""

import contextlib
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lanmail import atomic, secret
from lanmail.errors import Temporary
from lanmail.oauth import apps
from lanmail.oauth.apps import App
from lanmail.paths import Paths

AGAIN = 6 * 3600.0
_LIMIT = 64 << 10


@dataclass(slots=True)
class AppState:
    """Times are seconds since the epoch, 0 when there is none."""

    name: str
    broken: float = 0.0  # since when the provider refuses the app
    error: dict[str, Any] = field(default_factory=dict)  # time, class, code, text
    retry_at: float = 0.0
    stamp: str = ""  # of file and secret when it was refused
    skew: float = 0.0  # how far the provider's clock is before ours
    told: dict[str, float] = field(default_factory=dict)

    def waits(self, stamp: str, now: float) -> bool:
        """Whether there is no use in asking now."""
        return bool(self.broken) and self.stamp == stamp and self.retry_at - AGAIN <= now < self.retry_at


def read(paths: Paths, name: str) -> AppState:
    """What is known; a damaged file counts as none."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        said = json.loads(atomic.read(_file(paths, name), _LIMIT))
        return AppState(**{one.name: said[one.name] for one in fields(AppState) if one.name in said} | {"name": name})
    return AppState(name)


def save(paths: Paths, state: AppState) -> None:
    """Write it down. OSError."""
    path = _file(paths, state.name)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(path, json.dumps(asdict(state), ensure_ascii=False, indent=1) + "\n")


def stamp(paths: Paths, app: App) -> str:
    """Changes when the app's file or one of its secrets does; tells nothing about them."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        digest.update(atomic.read(apps.file_of(paths, app.name)))
    for where in (app.client_secret, app.private_key, app.service_account):
        with contextlib.suppress(Temporary):
            digest.update(b"\0" + (secret.read(where, paths.conf).reveal().encode() if where else b""))
    return digest.hexdigest()[:16]


def refused(state: AppState, stamped: str, error: dict[str, Any], now: float | None = None) -> None:
    """The provider refuses the app."""
    at = time.time() if now is None else now
    state.broken, state.error = state.broken or at, error
    state.stamp, state.retry_at = stamped, at + AGAIN


def _file(paths: Paths, name: str) -> Path:
    return paths.state / "oauth" / "apps" / f"{name}.json"
