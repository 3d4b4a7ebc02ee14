"""Who is logged in to the pages: state/web/sessions/HASH.json, a file each, so that all workers know it.

The cookie has 32 random octets; the file has their SHA-256 as its name. A session ends by log-out, after
httpd.session_idle without a page, after httpd.session in any case, and when the account is disabled, removed or gets
another password. The file's time is that of the last page, noted at most once a minute. What the next page shall say
lies beside it in HASH.note, so that a page which is slow never writes a session anew that has ended meanwhile.
"""

import contextlib
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lanmail import atomic
from lanmail.paths import Paths
from lanmail.settings import Account, Settings

_NOTED = 60.0
_LIMIT = 4096  # octets of a file


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in. `form` must come back with every form."""

    account: str
    proof: str  # changes with the password
    began: float
    form: str


class Store:
    """The sessions of one installation."""

    def __init__(self, paths: Paths) -> None:
        self.directory = paths.state / "web" / "sessions"

    def begin(self, account: Account) -> str:
        """A new session; the word for the cookie. OSError."""
        word = secrets.token_urlsafe(32)
        made = Session(account.name, proof(account), time.time(), secrets.token_urlsafe(24))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(word, made)
        return word

    def find(self, word: str, settings: Settings) -> Session | None:
        """The session of a cookie, if it has not ended by time; it counts as used now."""
        path = self._path(word)
        try:
            data = atomic.read(path, _LIMIT)
            seen = path.stat().st_mtime
            found = Session(**json.loads(data))
        except (OSError, ValueError, TypeError):
            return None
        now = time.time()
        if now - found.began > settings.httpd.session or now - seen > settings.httpd.session_idle or seen > now + 60:
            self.end(word)
            return None
        if now - seen > _NOTED:
            with contextlib.suppress(OSError):
                os.utime(path)
        return found

    def note(self, word: str, text: str) -> None:
        """What the next page shall say, once."""
        if text:
            data = text.encode("utf-8", "replace")[:_LIMIT]
            atomic.write(self._path(word, "note"), data, mode=0o600, durable=False)

    def noted(self, word: str) -> str:
        """What this page shall say; the next one will not."""
        path = self._path(word, "note")
        try:
            text = atomic.read(path, _LIMIT).decode("utf-8", "ignore")
            path.unlink()
        except OSError:
            return ""
        return text

    def renew(self, word: str, session: Session, account: Account) -> None:
        """The account changed its password in this very session, which goes on: all others of it end."""
        self._write(word, replace(session, proof=proof(account)))

    def end(self, word: str) -> None:
        """Log out."""
        for kind in ("json", "note"):
            self._path(word, kind).unlink(missing_ok=True)

    def sweep(self, settings: Settings) -> None:
        """Take away what has ended by time."""
        now = time.time()
        with contextlib.suppress(OSError):
            for path in self.directory.iterdir():
                if now - path.stat().st_mtime > settings.httpd.session_idle:
                    path.unlink(missing_ok=True)

    def _write(self, word: str, session: Session) -> None:
        atomic.write(self._path(word), json.dumps(asdict(session)), mode=0o600, durable=False)

    def _path(self, word: str, kind: str = "json") -> Path:
        return self.directory / f"{hashlib.sha256(word.encode('utf-8', 'surrogateescape')).hexdigest()}.{kind}"


def proof(account: Account) -> str:
    """What a session remembers of the password: nothing that helps to guess it."""
    return hashlib.sha256(f"session {account.password}".encode()).hexdigest()[:32]
