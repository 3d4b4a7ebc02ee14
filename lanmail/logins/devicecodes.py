"""Programs without a browser that wait until their owner types a short code into our page (RFC 8628).

    state/grants/devices/HASH.json    one that waits, by the SHA-256 of the code that only the program knows

The code that people type is short, so it lives a quarter of an hour, opens nothing without the password of the very
account that the client belongs to, and who guesses at it has to wait as for passwords (`passwords.Checker`).
"""

import secrets
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from lanmail.logins.grantfiles import Files, digest

LIFE, INTERVAL = 900.0, 5
MOST = 20  # of one client that wait at the same time
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 §6.1: no vowels, so no words; eight of them: 34 bits
SLACK = 0.5  # seconds that an answer may have taken on its way
_KIND = "devices"


class Refused(Exception):
    """It cannot wait, or has not waited."""


@dataclass(frozen=True, slots=True)
class Device:
    """One that waits. `account` is who let it in, or nobody; `answered` tells a no from none yet."""

    client: str
    scopes: tuple[str, ...]
    typed: str  # the SHA-256 of the code that people type
    expires: float
    interval: int = INTERVAL
    polled: float = 0.0
    answered: bool = False
    account: str = ""


class Waiting:
    """All of them, below `state`. Blocks; for httpd."""

    def __init__(self, state: Path) -> None:
        self._files = Files(state / "grants", {_KIND: {one.name for one in fields(Device)}})

    def begin(self, secret: str, client_id: str, scopes: list[str], now: float) -> str:
        """`secret` is the program's code; the one that people type. Refused when too many wait."""
        with self._files.alone():
            there = [one for one in self._all() if one.expires > now]
            if len([one for one in there if one.client == client_id]) >= MOST:
                raise Refused(f"{MOST} log-ins of this client wait for an answer")
            taken = {one.typed for one in there}
            while digest(code := "".join(secrets.choice(LETTERS) for _ in range(8))) in taken:
                pass
            made = Device(client_id, tuple(scopes), digest(code), now + LIFE)
            self._files.write(_KIND, digest(secret), asdict(made), durable=False)
        return f"{code[:4]}-{code[4:]}"

    def typed(self, text: str, now: float) -> Device | None:
        """The one that waits for the code that somebody typed, however that is written."""
        found = self._find(text, now)
        return found[1] if found else None

    def answer(self, text: str, account: str, now: float) -> bool:
        """Its owner let it in, or with "" did not; False when it does not wait any more."""
        with self._files.alone():
            found = self._find(text, now)
            if found is None:
                return False
            name, known = found
            self._files.write(_KIND, name, asdict(replace(known, answered=True, account=account)))
        return True

    def get(self, secret: str) -> Device | None:
        """The one that has this code, whatever became of it."""
        return self._read(digest(secret))

    def hurries(self, secret: str, now: float) -> bool:
        """It asks: sooner than it was told to? Then it has to wait longer each time (RFC 8628 §3.5)."""
        with self._files.alone():
            known = self.get(secret)
            if known is None:
                return False
            early = now - known.polled < known.interval - SLACK
            known = replace(known, polled=now, interval=known.interval + 5 * early)
            self._files.write(_KIND, digest(secret), asdict(known), durable=False)
        return early

    def take(self, secret: str) -> bool:
        """Its tokens are made now; False when somebody else was faster: they are made once."""
        return bool(self._files.unlink(_KIND, digest(secret)))

    def sweep(self, now: float) -> int:
        """Take away what has expired, some time later, so that it is told why; how many."""
        names = self._files.names(_KIND)
        old = [name for name in names if (known := self._read(name)) is None or known.expires + LIFE < now]
        return sum(self._files.unlink(_KIND, name) for name in old)

    def _find(self, text: str, now: float) -> tuple[str, Device] | None:
        code = "".join(letter for letter in text.upper() if letter in LETTERS)
        wanted = digest(code) if len(code) == 8 and len(text) <= 40 else ""
        for name in self._files.names(_KIND) if wanted else ():
            known = self._read(name)
            if known is not None and known.typed == wanted and not known.answered and known.expires > now:
                return name, known
        return None

    def _all(self) -> list[Device]:
        return [one for one in map(self._read, self._files.names(_KIND)) if one is not None]

    def _read(self, name: str) -> Device | None:
        known = self._files.read(_KIND, name)
        return Device(**{**known, "scopes": tuple(known["scopes"])}) if known is not None else None
