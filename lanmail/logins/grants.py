"""What our OAuth2 server has granted: clients, consents and tokens, as flat files that every program may read.

    state/grants/clients/ID.json      a mail program of an account: its scopes, where it may send people to
    state/grants/consents/ID.json     an account let a client in; its mtime is the last use
    state/grants/tokens/HASH.json     an access or refresh token, by the SHA-256 of what the client holds
    state/grants/codes/HASH.json      an authorization code, for half a minute
    state/grants/devices/HASH.json    a device that waits for its owner (`devicecodes`)

Secrets and tokens are random, 32 octets, and only their hashes are stored; so a look at three files says whether a
log-in is good, without a key, a database or a server to ask. Without its consent no token is good: to end one is to
remove a file. Access tokens live an hour. A refresh token is good once: the next one comes with it. A client that asks
twice within GRACE (its connection broke, it opened two) gets the same successor; later that is theft, and the consent
ends. A consent that nobody uses for half a year ends, too.

`standing` is what smtpd, pop3d and imapd ask at a log-in, and `stands` while it lasts. Everything else
is for httpd and the command line, and blocks.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from lanmail.logins.grantfiles import ID, Files, digest

SCOPES = {"imap": "IMAP.AccessAsUser.All", "pop3": "POP.AccessAsUser.All", "smtp": "SMTP.Send"}
OFFLINE = "offline_access"
INTROSPECT = "introspect"  # the scope of a server that may ask about every token
CODE_LIFE, ACCESS_LIFE, GRACE, IDLE = 30.0, 3600.0, 60.0, 183 * 86400.0
STAMP = 3600.0  # the last use is noted at most so often


class Refused(Exception):
    """The token or code is no good; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Client:
    """A mail program's registration. Without a secret it is a public one, which needs PKCE (RFC 8252 §8.5)."""

    id: str
    account: str
    name: str
    scopes: tuple[str, ...]
    secret: str = ""  # SHA-256 of it
    redirect_uris: tuple[str, ...] = ()
    disabled: bool = False
    created: float = 0.0

    def has_secret(self, given: str) -> bool:
        """In constant time."""
        return bool(self.secret) and hmac.compare_digest(digest(given), self.secret)


@dataclass(slots=True)
class Consent:
    """An account has let a client in."""

    id: str
    client: str
    account: str
    scopes: list[str]
    created: float
    used: float = 0.0  # the last use, from the file's mtime


@dataclass(slots=True)
class Token:
    """A token as its file has it; `kind` is access or refresh."""

    kind: str
    consent: str
    client: str
    account: str
    scopes: list[str]
    issued: float
    expires: float = 0.0  # 0: as long as the consent
    replaced: float = 0.0  # when a refresh token was used
    successor: str = ""  # the next one, readable for whoever has this one


@dataclass(slots=True)
class Code:
    """An authorization code."""

    client: str
    account: str
    scopes: list[str]
    redirect_uri: str
    challenge: str
    method: str
    expires: float
    consent: str = ""  # of the tokens that it was exchanged for: it must not come again


@dataclass(slots=True)
class Issued:
    """What a client gets; the refresh token may be empty."""

    access: str
    refresh: str
    scopes: list[str]
    consent: str


@dataclass(frozen=True, slots=True)
class Standing:
    """By what somebody was let in with a token; it may end while he is there (`sittings`)."""

    account: str
    client: str
    consent: str
    service: str


def verify_token(state: Path, token: str, *, service: str, now: float | None = None) -> str | None:
    """The account whose access token this is, and that it was granted for `service` (smtp, pop3, imap); else None."""
    found = standing(state, token, service=service, now=now)
    return found.account if found is not None else None


def standing(state: Path, token: str, *, service: str, now: float | None = None) -> Standing | None:
    """The same, with what the token stands for."""
    now = time.time() if now is None else now
    found = Register(state).token(token)
    if found is None or found.kind != "access" or found.expires <= now or SCOPES.get(service) not in found.scopes:
        return None
    made = Standing(found.account, found.client, found.consent, service)
    return made if stands(state, made, now) else None


def stands(state: Path, known: Standing, now: float) -> bool:
    """Whether neither the consent nor the client has ended; notes the use. The token's own hour does not count."""
    register = Register(state)
    client = register.client(known.client)
    if client is None or client.disabled or SCOPES[known.service] not in client.scopes:
        return False
    return register.alive(known.consent, now)


class Register:
    """All of it, below `state`."""

    def __init__(self, state: Path) -> None:
        self._files = Files(state / "grants", _KEYS)

    # clients

    def clients(self, account: str | None = None) -> list[Client]:
        """All, or those of an account, by age."""
        found = [one for one in (self.client(name) for name in self._files.names("clients")) if one is not None]
        return sorted((one for one in found if account in (None, one.account)), key=lambda one: one.created)

    def client(self, client_id: str) -> Client | None:
        """The client, disabled or not."""
        known = self._files.read("clients", client_id) if ID.fullmatch(client_id) else None
        if known is None:
            return None
        return Client(**{**known, "scopes": tuple(known["scopes"]), "redirect_uris": tuple(known["redirect_uris"])})

    def add_client(self, account: str, name: str, scopes: list[str], *, public: bool = False,
                   redirect_uris: tuple[str, ...] = ()) -> tuple[Client, str]:
        """A new client and its secret, which is shown this once; a public one has none."""
        secret = "" if public else secrets.token_urlsafe(32)
        made = Client(secrets.token_hex(16), account, name, tuple(scopes), digest(secret) if secret else "",
                      tuple(redirect_uris), created=time.time())
        self.save_client(made)
        return made, secret

    def save_client(self, client: Client) -> None:
        """Write it, durably."""
        self._files.write("clients", client.id, asdict(client))

    def move(self, account: str, new: str) -> None:
        """The clients of an account are those of another name; who is logged in has to log in anew, with that."""
        for client in self.clients(account):
            self.save_client(replace(client, account=new))
        for consent in self.consents(account):
            self.end(consent.id)

    def remove_client(self, client_id: str) -> None:
        """The client and all that was granted to it."""
        for consent in self.consents():
            if consent.client == client_id:
                self.end(consent.id)
        self._files.unlink("clients", client_id)

    # consents

    def consents(self, account: str | None = None) -> list[Consent]:
        """All that count, or those of an account, the last used first."""
        found = []
        for name in self._files.names("consents"):
            known = self._files.read("consents", name)
            if known is not None and account in (None, known["account"]):
                with contextlib.suppress(FileNotFoundError):
                    found.append(Consent(**{**known, "used": self._files.path("consents", name).stat().st_mtime}))
        return sorted(found, key=lambda one: -one.used)

    def alive(self, consent_id: str, now: float) -> bool:
        """Whether the consent counts; notes that it was used."""
        if not ID.fullmatch(consent_id):
            return False
        path = self._files.path("consents", consent_id)
        try:
            used = path.stat().st_mtime
        except OSError:
            return False
        if now - used > IDLE:
            return False
        if now - used > STAMP:
            with contextlib.suppress(OSError):  # a program that may not write here lets the owner in all the same
                os.utime(path, (now, now))
        return True

    def end(self, consent_id: str) -> None:
        """From now on none of its tokens is good."""
        if ID.fullmatch(consent_id):
            self._files.unlink("consents", consent_id)

    # codes and tokens

    def code(self, client: Client, account: str, scopes: list[str], redirect_uri: str, challenge: str = "",
             method: str = "") -> str:
        """A new authorization code."""
        made = secrets.token_urlsafe(32)
        known = Code(client.id, account, scopes, redirect_uri, challenge, method, time.time() + CODE_LIFE)
        self._files.write("codes", digest(made), asdict(known))
        return made

    def look_at_code(self, code: str, client_id: str, now: float) -> Code:
        """The code, if it may be exchanged. One that comes a second time ends what the first was exchanged for."""
        known = self._files.read("codes", digest(code))
        if known is None or known["client"] != client_id:
            raise Refused("there is no such code")
        found = Code(**known)
        if found.consent:
            self.end(found.consent)
            raise Refused("the code was used before: what it was exchanged for is void")
        if now >= found.expires:
            raise Refused("the code has expired")
        return found

    def exchange(self, code: str, client_id: str, now: float) -> Issued:
        """Tokens for a code. Refused."""
        with self._files.alone():
            found = self.look_at_code(code, client_id, now)
            consent = self._consent(client_id, found.account, found.scopes, now)
            found.consent = consent.id
            self._files.write("codes", digest(code), asdict(found))
            return self._first(consent, now)

    def grant(self, client_id: str, account: str, scopes: list[str], now: float) -> Issued:
        """Tokens for a client that the account has let in without a code of ours (see `devicecodes`)."""
        return self._first(self._consent(client_id, account, scopes, now), now)

    def _consent(self, client_id: str, account: str, scopes: list[str], now: float) -> Consent:
        consent = Consent(secrets.token_hex(16), client_id, account, scopes, now)
        known = asdict(consent)
        del known["used"]
        self._files.write("consents", consent.id, known)
        return consent

    def _first(self, consent: Consent, now: float) -> Issued:
        refresh = self._refresh_token(consent, now) if OFFLINE in consent.scopes else ""
        return Issued(self._access_token(consent, consent.scopes, now), refresh, consent.scopes, consent.id)

    def refresh(self, token: str, client_id: str, scopes: list[str] | None, now: float) -> Issued:
        """New tokens for a refresh token. Refused."""
        with self._files.alone():
            found = self.token(token)
            if found is None or found.kind != "refresh" or found.client != client_id:
                raise Refused("there is no such token")
            if not self.alive(found.consent, now):
                raise Refused("the consent has ended, or was not used for too long")
            consent = Consent(found.consent, found.client, found.account, found.scopes, found.issued)
            if found.replaced and now - found.replaced > GRACE:
                self.end(found.consent)
                raise Refused("the token was used before: the consent is void")
            if found.replaced:
                successor = _unseal(token, found.successor)
            else:
                successor = self._refresh_token(consent, now)
                found.replaced, found.successor = now, _seal(token, successor)
                self._files.write("tokens", digest(token), asdict(found))
            wanted = scopes or found.scopes
            return Issued(self._access_token(consent, wanted, now), successor, wanted, consent.id)

    def token(self, token: str) -> Token | None:
        """What is known of a token, good or not."""
        known = self._files.read("tokens", digest(token))
        return Token(**known) if known is not None else None

    def _access_token(self, consent: Consent, scopes: list[str], now: float) -> str:
        return self._token("access", consent, scopes, now, now + ACCESS_LIFE)

    def _refresh_token(self, consent: Consent, now: float) -> str:
        return self._token("refresh", consent, consent.scopes, now, 0.0)

    def _token(self, kind: str, consent: Consent, scopes: list[str], now: float, expires: float) -> str:
        made = secrets.token_urlsafe(32)
        known = Token(kind, consent.id, consent.client, consent.account, scopes, now, expires)
        self._files.write("tokens", digest(made), asdict(known))
        return made

    def sweep(self, now: float) -> int:
        """Take away what is not good any more; how many files."""
        gone = 0
        for name in self._files.names("codes"):
            known = self._files.read("codes", name)
            if known is None or now - known["expires"] > ACCESS_LIFE:
                gone += self._files.unlink("codes", name)
        for consent in self.consents():
            if now - consent.used > IDLE:
                gone += self._files.unlink("consents", consent.id)
        there = set(self._files.names("consents"))
        for name in self._files.names("tokens"):
            known = self._files.read("tokens", name)
            void = known is None or known["consent"] not in there or (known["expires"] and known["expires"] <= now)
            if void or (known and known["replaced"] and now - known["replaced"] > IDLE):
                gone += self._files.unlink("tokens", name)
        return gone


_KEYS = {"clients": {one.name for one in fields(Client)}, "tokens": {one.name for one in fields(Token)},
         "codes": {one.name for one in fields(Code)}, "consents": {one.name for one in fields(Consent)} - {"used"}}


def _pad(token: str, length: int) -> bytes:
    return hashlib.shake_256(b"lanmail successor\0" + token.encode()).digest(length)


def _seal(token: str, successor: str) -> str:
    """The next token, for whoever has this one: each is random and used as a key for one text only (one-time pad)."""
    data = successor.encode()
    return base64.b64encode(bytes(a ^ b for a, b in zip(data, _pad(token, len(data)), strict=True))).decode()


def _unseal(token: str, sealed: str) -> str:
    data = base64.b64decode(sealed)
    return bytes(a ^ b for a, b in zip(data, _pad(token, len(data)), strict=True)).decode()
