"""The browser's way to a code: what is asked of the provider, and what its answer says (RFC 6749 §4.1, RFC 7636).

    asked = ask(endpoint, client, redirect, scope, address)     asked.url is for the browser
    answer = read(text)                  the address line it came back with, a query, or the code alone
    code = judge(answer, asked, issuer)

Nothing here talks to anybody or touches the disk.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from lanmail import printable
from lanmail.errors import Permanent
from lanmail.oauth.apps import App

MAX_ANSWER = 16 << 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CODE = re.compile(r"[\x21-\x7e]{12,8192}")
_KNOWN = ("code", "state", "iss", "error", "error_description", "error_uri")


class Declined(Permanent):
    """The provider, or the person, did not agree; `error` is the provider's word (RFC 6749 §4.1.2.1)."""

    def __init__(self, text: str, error: str = "") -> None:
        super().__init__(text)
        self.error = error


class Foreign(Permanent):
    """An answer that does not belong to what was asked, or none at all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a provider; `state` and `verifier` are secrets until it is answered."""

    url: str
    redirect: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider sent back by way of the browser. A code pasted alone has no state."""

    code: str = field(default="", repr=False)
    state: str | None = field(default=None, repr=False)
    issuer: str | None = None
    error: str = ""
    description: str = ""


def ask(
    endpoint: str, client_id: str, redirect: str, scope: str, address: str, extra: Mapping[str, str] | None = None,
) -> Asked:
    """A request for a code, with PKCE, and the address as a hint of who is to log in."""
    state, verifier, nonce = (secrets.token_urlsafe(size) for size in (24, 48, 16))
    said = {
        "client_id": client_id, "response_type": "code", "redirect_uri": redirect, "scope": scope, "state": state,
        "code_challenge": challenge(verifier), "code_challenge_method": "S256", "login_hint": address,
        **({"nonce": nonce} if "openid" in scope.split() else {}), **(extra or {}),
    }
    parts = urlsplit(endpoint)
    query = "&".join(part for part in (parts.query, urlencode(said, quote_via=quote)) if part)
    return Asked(urlunsplit(parts._replace(query=query, fragment="")), redirect, state, verifier, nonce)


def scope(app: App) -> str:
    """What a person is asked to consent to: the scopes of all resources."""
    return " ".join(dict.fromkeys(one for scopes in app.resources.values() for one in scopes))


def challenge(verifier: str) -> str:
    """S256 of RFC 7636 §4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def read(text: str) -> Answer:
    """The answer in what a person pasted or a browser asked for. Foreign when there is none.

    Terminals and mail programs break long lines, so white space counts for nothing; but a code alone has no blanks.
    """
    if len(text) > MAX_ANSWER:
        raise Foreign("that is too long for an answer of a provider")
    line = "".join(text.split()).strip("<>\"'")
    found = _parameters(line)
    if found.get("code") or found.get("error"):
        return Answer(found.get("code", ""), found.get("state"), found.get("iss"), found.get("error", ""),
                      shown(found.get("error_description", "")))
    if found or "://" in line or "?" in line or " " in text.strip() or not _CODE.fullmatch(line):
        raise Foreign("there is neither a code nor an error in it; copy the whole address line of the page that could "
                      "not be shown (it has code=… in it)")
    return Answer(unquote(line))


def _parameters(line: str) -> dict[str, str]:
    """What stands behind ? and #. Foreign when something is said twice (RFC 6749 §3.1)."""
    said = re.split(r"[?#]", line, maxsplit=1)[-1].replace("#", "&")  # what stands before may be anything, or no URL
    pairs = parse_qsl(said, keep_blank_values=True)
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in _KNOWN:
            if name in found:
                raise Foreign(f"the answer says {name} twice")
            found[name] = value
    return found


def judge(answer: Answer, asked: Asked, issuer: str = "", *, pasted: bool = False) -> str:
    """The code, if the answer is the one to this request. Declined, Foreign.

    `issuer`: whom the answer must name, if the provider promises that (RFC 9207 §2.4). Only a person who pastes the
    code alone may leave the state out; PKCE still ties the code to this request.
    """
    alone = pasted and answer.state is None and bool(answer.code)
    if not alone and not same(answer.state or "", asked.state):
        raise Foreign("this answer belongs to another log-in, or to an older one; begin again with the newest link")
    if not alone and issuer and answer.issuer != issuer:
        who = f"comes from {shown(answer.issuer)!r}, not" if answer.issuer else "does not say that it comes"
        raise Foreign(f"the answer {who} from {issuer}")
    if answer.error:
        word = shown(answer.error)[:60]
        said = answer.description or _PLAIN.get(word, "")
        raise Declined(f"the provider says {word}{': ' if said else ''}{said}", word)
    if not answer.code:
        raise Foreign("there is no code in the answer")
    return answer.code


_PLAIN = {"access_denied": "access was declined", "consent_required": "nobody has consented yet",
          "server_error": "it has a fault of its own", "temporarily_unavailable": "it is busy; try again later"}


def same(one: str, other: str) -> bool:
    """Compare secrets in constant time."""
    return bool(other) and hmac.compare_digest(one.encode(), other.encode())


def shown(text: str, size: int = 400) -> str:
    """A provider's text as one line that moves no cursor."""
    line = " ".join(printable.line(text).split())
    return line if len(line) <= size else line[: size - 1] + "…"


def at_port(redirect: str, port: int) -> str:
    """A loopback redirect with the port that is listened on (RFC 8252 §7.3); one with a port of its own stays."""
    parts = urlsplit(redirect)
    if parts.port or parts.hostname not in LOOPBACK:
        return redirect
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))


def is_loopback(redirect: str) -> bool:
    """Whether the browser is sent back to its own machine."""
    parts = urlsplit(redirect)
    return parts.scheme == "http" and parts.hostname in LOOPBACK
