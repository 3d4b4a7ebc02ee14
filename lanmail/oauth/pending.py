"""Log-ins at providers that were begun and not finished yet: state/oauth/pending/ID.json, 0600.

A browser comes back with a `state`, a person with a one-time link: both are long random words, and ID is a hash of the
word, so that a file is found by it and gives away neither. What must stay secret (state, verifier) is encrypted with
oauth-refresh.keys. Everything here ends by itself.

    request   what a provider was asked; lives until its answer was used
    link      may be followed once; then it becomes a request
    done      a request that led to a grant, remembered for REMEMBERED seconds for a browser that asks again
"""

import contextlib
import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from lanmail import atomic
from lanmail.oauth import keys
from lanmail.oauth.authorization import Asked, Foreign
from lanmail.paths import Paths

LIFE = 72 * 3600.0  # seconds; a person may answer a mail after the week-end
REMEMBERED = 600.0
_LIMIT = 64 << 10
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Wish:
    """For whom a consent is wanted. Empty `login_as` and `mailbox`: the address itself.

    `by`: only a browser that is logged in to our pages as this account may begin and end it, so that nobody talks
    somebody else into opening a mailbox to him. `source`: the external mailbox that it was begun for.
    """

    app: str
    address: str
    account: str = ""
    login_as: str = ""
    mailbox: str = ""
    by: str = ""
    source: str = ""

    @property
    def person(self) -> str:
        """Who has to log in at the provider."""
        return self.login_as or self.address

    @property
    def user(self) -> str:
        """Whom mail servers are told."""
        return self.mailbox or self.address


@dataclass(frozen=True, slots=True)
class Pending:
    """One file; only a request has `asked`."""

    id: str
    kind: Literal["request", "link", "done"]
    wish: Wish
    expires: float
    asked: Asked | None = None


class Folder:
    """The files of one installation. OSError, keys.Unusable."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.directory = paths.state / "oauth" / "pending"

    def put(self, wish: Wish, asked: Asked) -> Pending:
        """Remember a request."""
        return self._write(Pending(_hash(asked.state), "request", wish, time.time() + LIFE, asked))

    def link(self, wish: Wish) -> str:
        """The secret word of a new one-time link."""
        word = secrets.token_urlsafe(24)
        self._write(Pending(_hash(word), "link", wish, time.time() + LIFE))
        return word

    def follow(self, word: str) -> Wish:
        """What a one-time link is for; it is used up by this. Foreign."""
        found = self._read(_hash(word))
        if found is None or found.kind != "link":
            raise Foreign("this link was used already, or it is too old")
        try:
            (self.directory / f"{found.id}.json").unlink()
        except FileNotFoundError:
            raise Foreign("this link was used already") from None
        return found.wish

    def look(self, word: str) -> Wish | None:
        """The same without using it up, for the page that asks."""
        found = self._read(_hash(word))
        return found.wish if found is not None and found.kind == "link" else None

    def of_state(self, state: str) -> Pending:
        """The request that an answer belongs to. Foreign."""
        found = self._read(_hash(state))
        if found is None or found.kind != "request":
            raise Foreign("this answer belongs to a log-in that was finished already, or that is too old")
        return found

    def newest(self, app: str, address: str) -> Pending | None:
        """The request that was made last for an address."""
        mine = [one for one in self.list() if one.kind == "request" and one.wish.app == app
                and one.wish.address.lower() == address.lower()]
        return max(mine, key=lambda one: one.expires, default=None)

    def claim(self, pending: Pending) -> bool:
        """Take a request away, because its code is handed in now; only one of several that try is told True."""
        try:
            (self.directory / f"{pending.id}.json").unlink()
        except FileNotFoundError:
            return False
        return True

    def finish(self, pending: Pending) -> None:
        """Remember for a while that it came to a good end."""
        self._write(Pending(pending.id, "done", pending.wish, time.time() + REMEMBERED))

    def done(self, state: str) -> Wish | None:
        """For whom a request came to a good end a moment ago."""
        found = self._read(_hash(state)) if state else None
        return found.wish if found is not None and found.kind == "done" else None

    def drop(self, pending: Pending) -> None:
        """It is done with."""
        (self.directory / f"{pending.id}.json").unlink(missing_ok=True)

    def over(self, asked: Asked) -> None:
        """The same, by what was asked."""
        (self.directory / f"{_hash(asked.state)}.json").unlink(missing_ok=True)

    def forget(self, app: str, address: str) -> None:
        """Drop whatever was begun for an address."""
        for one in list(self.list()):
            if one.wish.app == app and one.wish.address.lower() == address.lower():
                self.drop(one)

    def list(self) -> Iterator[Pending]:
        """All that are still good; those that are over are removed."""
        for path in sorted(self.directory.glob("*.json")) if self.directory.is_dir() else ():
            with contextlib.suppress(keys.Unusable):  # a damaged one is nobody's
                if _ID.fullmatch(path.stem) and (found := self._read(path.stem)) is not None:
                    yield found

    def encrypt_again(self) -> None:
        """Write all with the newest key."""
        for one in list(self.list()):
            self._write(one)

    def _write(self, pending: Pending) -> Pending:
        ring = keys.load(self._paths, keys.REFRESH)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = {"id": pending.id, "kind": pending.kind} | (asdict(pending.asked) if pending.asked else {})
        head = {"v": 1, "kind": pending.kind, "expires": pending.expires, **asdict(pending.wish), "key": ring.id,
                "token": ring.encrypt(secret)}
        atomic.write(self.directory / f"{pending.id}.json", json.dumps(head, ensure_ascii=False, indent=1), mode=0o600)
        return pending

    def _read(self, name: str) -> Pending | None:
        path = self.directory / f"{name}.json"
        try:
            head: dict[str, Any] = json.loads(atomic.read(path, _LIMIT))
            wish = Wish(**{one.name: str(head.get(one.name, "")) for one in fields(Wish)})
            expires = float(head["expires"])
            plain = keys.load(self._paths, keys.REFRESH).decrypt(str(head["token"]))
            if plain.pop("id", "") != name:
                raise keys.Unusable(f"{path} is another one's")
            kind = plain.pop("kind")
            asked = Asked(**plain) if kind == "request" else None
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise keys.Unusable(f"{path} is damaged") from None
        if not time.time() <= expires <= time.time() + 2 * LIFE:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return Pending(name, kind, wish, expires, asked)


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()[:32]
