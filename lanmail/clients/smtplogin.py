"""Logging in at an SMTP server (RFC 4954): PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER.

A password in clear (PLAIN, LOGIN) and a token only ever go over TLS, to this machine itself, or where conf says
tls = "none". One try per connection: servers punish a storm of wrong log-ins for everybody behind our address.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from lanmail.clients.smtpwire import Broken, Reply, Wire
from lanmail.errors import Temporary
from lanmail.secret import Secret

CLEAR = ("PLAIN", "LOGIN")
TOKEN = ("OAUTHBEARER", "XOAUTH2")
MAX_INITIAL = 500  # RFC 4954 §4: with a longer response the line would be above 512; then it comes in a line of its own


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, with a password or with a token."""

    user: str
    password: Secret
    is_token: bool = False


class Refused(Temporary):
    """The server does not let us in, or offers no way that is safe."""


def choose(offered: set[str], credentials: Credentials, *, safe: bool, only: str = "") -> str:
    """The mechanism to use. Refused when there is none; never one that would show the password to others."""
    if credentials.is_token:
        wanted = [only] if only in TOKEN else ["XOAUTH2", "OAUTHBEARER"]
    else:
        wanted = [only] if only and only not in TOKEN else ["PLAIN", "LOGIN", "CRAM-MD5"]
    possible = [name for name in wanted if name in offered]
    if not possible:
        there = " ".join(sorted(offered)) or "no log-in at all"
        raise Refused(f"the server offers {there}, and none of {' '.join(wanted)}", 454, "4.7.4")
    usable = [name for name in possible if safe or name == "CRAM-MD5"]
    if not usable:
        raise Refused("the connection is not encrypted, so the password is not sent", 454, "4.7.11")
    return usable[0]


async def login(wire: Wire, mechanism: str, credentials: Credentials, host: str, port: int, seconds: float) -> None:
    """Log in. Refused, Broken."""
    steps = first(mechanism, credentials, host, port)
    initial = base64.b64encode(steps).decode() if steps is not None else None
    if initial is not None and len(mechanism) + len(initial) <= MAX_INITIAL:
        reply = await _ask(wire, f"AUTH {mechanism} {initial or '='}", seconds)
    else:
        reply = await _ask(wire, f"AUTH {mechanism}", seconds)
        if reply.code == 334 and initial is not None:
            reply = await _ask(wire, initial, seconds)
    rounds = 0
    while reply.code == 334 and rounds < 4:
        challenge = _challenge(reply) if mechanism == "CRAM-MD5" else b""
        answer = following(mechanism, credentials, challenge, rounds)
        reply = await _ask(wire, answer, seconds)
        rounds += 1
    if not reply.ok:
        error = reply.error("7.8", code=reply.code if 400 <= reply.code < 600 else 454)
        raise Refused(f"log-in as {credentials.user} refused: {error}", 454, "4.7.8")


async def _ask(wire: Wire, line: str, seconds: float) -> Reply:
    wire.send(line.encode() + b"\r\n")
    return await wire.reply(seconds)


def first(mechanism: str, credentials: Credentials, host: str, port: int) -> bytes | None:
    """The initial response; None where the server speaks first."""
    user, word = credentials.user, credentials.password.reveal()
    if mechanism == "PLAIN":
        return f"\0{user}\0{word}".encode()
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {word}\1\1".encode()
    if mechanism == "OAUTHBEARER":
        name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 §4
        return f"n,a={name},\1host={host}\1port={port}\1auth=Bearer {word}\1\1".encode()
    return None


def following(mechanism: str, credentials: Credentials, challenge: bytes, rounds: int) -> str:
    """The answer to a challenge, in base64."""
    user, word = credentials.user.encode(), credentials.password.reveal().encode()
    if mechanism == "LOGIN" and rounds < 2:
        return base64.b64encode((user, word)[rounds]).decode()
    if mechanism == "CRAM-MD5" and rounds == 0:
        digest = hmac.new(word, challenge, hashlib.md5).hexdigest()
        return base64.b64encode(user + b" " + digest.encode()).decode()
    if mechanism == "XOAUTH2":
        return ""  # the challenge is an error in JSON; only after an empty line the real answer comes
    if mechanism == "OAUTHBEARER":
        return "AQ=="  # the same, RFC 7628 §3.2.3
    return "*"


def _challenge(reply: Reply) -> bytes:
    text = reply.lines[-1] if reply.lines else ""
    if not re.fullmatch(r"[A-Za-z0-9+/]+=*", text) or len(text) % 4:
        raise Broken("the server's challenge is not base64")
    return base64.b64decode(text)
