"""SASL as a server speaks it (RFC 4422), without a transport: SMTP, POP3 and IMAP bring their own framing.

    exchange = sasl.start(mechanism, initial, checker.keys)      # initial: decoded initial response, or None
    while exchange.credentials is None:
        ...send sasl.encode(exchange.challenge), read a line; "*" cancels (the caller's business)...
        exchange.respond(sasl.decode(line))
    account = await checker.login(exchange.credentials, ...)

Where `exchange.success` is not None, that challenge is sent after the log-in, one (empty) line is read, and then comes
the final answer: SCRAM's proof that the server, too, knows the password's verifier.

When `login` refuses and `exchange.refusal` is not None, that error challenge is sent first, one line is read and
thrown away, and only then comes the final refusal: RFC 7628 §3.2.2 has the client answer it with a lone ^A
(`AQ==`), msmtp and mpop answer an empty line, and both are right for us.

Everything here sees passwords and tokens. Nothing here logs, and no exception repeats what the client sent;
`Credentials` hides both when printed.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from lanmail import errors
from lanmail.logins import grants, scram

# One AUTH line may be this long, base64 and all: OAuth2 access tokens of large providers reach 4 kB and more.
MAX_LINE = 12 * 1024
_MAX_USER = 512
_MAX_PASSWORD = 1024
# RFC 6750 §2.1: b64token
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_OAUTH = ("OAUTHBEARER", "XOAUTH2")


class BadResponse(errors.Permanent):
    """What the client sent is no answer to the challenge: RFC 4954 §4, RFC 3501 §6.2.2 (BAD)."""

    def __init__(self, text: str = "Malformed authentication response", code: int = 501, dsn: str = "5.5.2") -> None:
        super().__init__(text, code, dsn)


class UnknownMechanism(BadResponse):
    """A mechanism we do not have."""

    def __init__(self) -> None:
        super().__init__("Unrecognized authentication mechanism", 504, "5.5.4")


class AuthFailed(errors.Permanent):
    """Refused. The words are the same whatever was wrong; `why` is for our log only, and never holds a secret."""

    def __init__(self, why: str = "") -> None:
        super().__init__("Authentication failed", 535, "5.7.8")
        self.why = why


class Throttled(errors.Temporary):
    """Not even looked at: too many wrong passwords came before; `wait` seconds from now it will be."""

    def __init__(self, wait: float) -> None:
        super().__init__("Too many failed log-ins, try again later", 454, "4.7.0")
        self.wait = wait


@dataclass(slots=True)
class Credentials:
    """Who wants in, and by what: a password, a token, or a proof that was right or not.

    `authzid` is "" unless the client asked to act as somebody.
    """

    user: str
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    authzid: str = ""
    mechanism: str = "LOGIN"
    proven: bool | None = None
    standing: grants.Standing | None = None  # set by who lets a token in: what it stands for


def mechanisms(*, secure: bool, oauth: bool = False, proofs: bool = False) -> list[str]:
    """What a server may advertise; nothing on a connection where a password, or the mail, could be overheard."""
    if not secure:
        return []
    return [*((scram.NAME,) if proofs else ()), "PLAIN", "LOGIN", *(_OAUTH if oauth else ())]


def decode(line: bytes) -> bytes:
    """The bytes of one base64 line; "=" is the empty initial response of RFC 4954 §4. Raises BadResponse."""
    line = line.strip(b"\r\n \t")
    if line == b"=":
        return b""
    if len(line) > MAX_LINE:
        raise BadResponse("Authentication response too long", 500, "5.5.6")
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise BadResponse("Invalid base64 in authentication response") from None


def encode(challenge: bytes | None) -> bytes:
    """A challenge as one base64 line without its line end."""
    return base64.b64encode(challenge or b"")


def text(raw: bytes) -> str:
    """A user name or password as text: UTF-8, else Latin-1, as old mail programs send umlauts.

    Also for the commands that carry them bare (POP3 USER and PASS, IMAP LOGIN). NUL is never part of either.
    """
    if b"\0" in raw:
        raise BadResponse()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Exchange:
    """One authentication in progress: `challenge` is what to send next, `credentials` is set when it is over."""

    mechanism = ""

    def __init__(self) -> None:
        self.challenge: bytes | None = b""
        self.credentials: Credentials | None = None

    @property
    def refusal(self) -> bytes | None:
        """The error challenge to send before the final refusal, for the mechanisms that have one."""
        return None

    @property
    def success(self) -> bytes | None:
        """The challenge to send after a good log-in, before it is said to be one."""
        return None

    def respond(self, raw: bytes) -> Credentials | None:
        """Take the client's (decoded) answer; the credentials when that was all. Raises BadResponse."""
        if self.credentials is not None:
            raise BadResponse()
        if len(raw) > MAX_LINE:
            raise BadResponse("Authentication response too long", 500, "5.5.6")
        self.credentials = self._take(raw)
        if self.credentials is not None:
            self.challenge = None
        return self.credentials

    def _take(self, raw: bytes) -> Credentials | None:
        raise NotImplementedError


class Plain(Exchange):
    """RFC 4616: authzid NUL authcid NUL password, in one go."""

    mechanism = "PLAIN"

    def _take(self, raw: bytes) -> Credentials:
        parts = raw.split(b"\0")
        if len(parts) != 3:
            raise BadResponse()
        authzid, user, password = parts
        return _with_password(self.mechanism, user, password, authzid)


class Login(Exchange):
    """LOGIN (draft-murchison-sasl-login): two prompts. Some clients send the user name as initial response."""

    mechanism = "LOGIN"

    def __init__(self) -> None:
        super().__init__()
        self.challenge = b"Username:"
        self._user: bytes | None = None

    def _take(self, raw: bytes) -> Credentials | None:
        if self._user is None:
            self._user = raw
            self.challenge = b"Password:"
            return None
        return _with_password(self.mechanism, self._user, raw)


class XOAuth2(Exchange):
    """Google's and Microsoft's XOAUTH2: `user=U ^A auth=Bearer T ^A ^A`."""

    mechanism = "XOAUTH2"

    @property
    def refusal(self) -> bytes:
        return json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode()

    def _take(self, raw: bytes) -> Credentials:
        pairs = _pairs(raw)
        return _with_token(self.mechanism, pairs.get(b"user", b""), pairs)


class OAuthBearer(Exchange):
    """RFC 7628: GS2 header (RFC 5801 §4), then key=value pairs, each ended by ^A."""

    mechanism = "OAUTHBEARER"

    @property
    def refusal(self) -> bytes:
        return json.dumps({"status": "invalid_token", "scope": "mail"}).encode()

    def _take(self, raw: bytes) -> Credentials:
        header, separator, rest = raw.partition(b"\x01")
        parts = header.split(b",")
        # "n" or "y": no channel binding; "p=" would ask for one, which this mechanism does not have
        if not separator or len(parts) != 3 or parts[0] not in (b"n", b"y") or parts[2]:
            raise BadResponse()
        if parts[1] and not parts[1].startswith(b"a="):
            raise BadResponse()
        return _with_token(self.mechanism, _saslname(parts[1][2:]), _pairs(rest))


class Scram(Exchange):
    """RFC 5802 and RFC 7677, without channel binding; `keys` finds what a user's proof is checked against."""

    mechanism = scram.NAME

    def __init__(self, keys: Callable[[str], scram.Keys]) -> None:
        super().__init__()
        self._keys = keys
        self._dialogue: scram.Dialogue | None = None
        self._success: bytes | None = None

    @property
    def success(self) -> bytes | None:
        return self._success

    def _take(self, raw: bytes) -> Credentials | None:
        try:
            if self._dialogue is None:
                self._dialogue = scram.Dialogue(raw)
                if max(len(self._dialogue.user), len(self._dialogue.authzid)) > _MAX_USER:
                    raise BadResponse()
                self.challenge = self._dialogue.challenge(self._keys(self._dialogue.user))
                return None
            self._success = self._dialogue.finish(raw)
        except ValueError:
            raise BadResponse() from None
        return Credentials(self._dialogue.user, authzid=self._dialogue.authzid, mechanism=self.mechanism,
                           proven=self._success is not None)


_EXCHANGES: dict[str, type[Exchange]] = {kind.mechanism: kind for kind in (Plain, Login, XOAuth2, OAuthBearer)}


def start(mechanism: str, initial: bytes | None = None, keys: Callable[[str], scram.Keys] | None = None) -> Exchange:
    """Begin; `initial` is the decoded initial response, None when the client sent none. Raises BadResponse.

    Without `keys` there is no SCRAM.
    """
    kind = _EXCHANGES.get(mechanism.upper())
    if keys is not None and mechanism.upper() == scram.NAME:
        exchange: Exchange = Scram(keys)
    elif kind is not None:
        exchange = kind()
    else:
        raise UnknownMechanism()
    if initial is not None:
        exchange.respond(initial)
    return exchange


def _with_password(mechanism: str, user: bytes, password: bytes, authzid: bytes = b"") -> Credentials:
    if not user or len(user) > _MAX_USER or len(authzid) > _MAX_USER or len(password) > _MAX_PASSWORD:
        raise BadResponse()
    return Credentials(text(user), password=text(password), authzid=text(authzid), mechanism=mechanism)


def _with_token(mechanism: str, user: bytes, pairs: dict[bytes, bytes]) -> Credentials:
    scheme, _, token = pairs.get(b"auth", b"").partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not _TOKEN.fullmatch(token) or len(user) > _MAX_USER:
        raise BadResponse()
    return Credentials(text(user), token=token.decode("ascii"), mechanism=mechanism)


def _pairs(raw: bytes) -> dict[bytes, bytes]:
    """key=value pairs, each ended by ^A, the whole ended by one more; a key that comes twice is refused."""
    if not raw.endswith(b"\x01\x01"):
        raise BadResponse()
    pairs: dict[bytes, bytes] = {}
    for item in raw[:-2].split(b"\x01"):
        key, equals, value = item.partition(b"=")
        if not equals or not key.isalpha() or key.lower() in pairs:
            raise BadResponse()
        pairs[key.lower()] = value
    return pairs


def _saslname(raw: bytes) -> bytes:
    """RFC 5801 §4: "=2C" is a comma and "=3D" an equals sign; any other use of "=" is an error."""
    if re.search(rb"=(?!2C|3D)", raw):
        raise BadResponse()
    return raw.replace(b"=2C", b",").replace(b"=3D", b"=")
