"""Logging in at an IMAP server: AUTHENTICATE (PLAIN, CRAM-MD5, XOAUTH2, OAUTHBEARER) or LOGIN (RFC 9051 §6.2).

A password in clear and a token only go over TLS, to this machine itself, or where it was asked for so. One try per
connection.
"""

import base64
import binascii
import re

from lanmail.clients import imapwire, smtplogin
from lanmail.clients.imapwire import Broken, Response, Wire
from lanmail.clients.smtplogin import Credentials, Refused
from lanmail.errors import Temporary

_COMMAND = "LOGIN"  # the command, which is not the mechanism of that name
# RFC 5530 §3 and what Gmail and Exchange say in words: not these credentials are wrong
_BUSY_CODES = ("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG")
_BUSY = re.compile(r"too many|temporar|unavailable|try again|overload", re.IGNORECASE)


def mechanism(capabilities: frozenset[str], credentials: Credentials, only: str = "", *, safe: bool) -> str:
    """How to log in. Refused when the server offers no way that is safe."""
    offered = {one[5:] for one in capabilities if one.startswith("AUTH=")} - {_COMMAND}
    if "LOGINDISABLED" not in capabilities:
        offered.add(_COMMAND)
    return smtplogin.choose(offered, credentials, safe=safe, only=only)


async def login(wire: Wire, mechanism: str, capabilities: frozenset[str], credentials: Credentials, host: str,
                port: int, seconds: float) -> Response:
    """Log in; the server's last word. Refused; Temporary when that has other reasons than the credentials; Broken."""
    if mechanism == _COMMAND:
        return await _command(wire, credentials, seconds)
    first = smtplogin.first(mechanism, credentials, host, port)
    line = f"l AUTHENTICATE {mechanism}"
    if first is not None and "SASL-IR" in capabilities:  # RFC 4959
        line += " " + (base64.b64encode(first).decode() or "=")
        first = None
    wire.send(line.encode())
    answer = await _answer(wire, seconds)
    rounds = 0
    while answer.tag == "+" and rounds < 5:
        if first is not None:
            said, first = base64.b64encode(first), None
        else:
            said = smtplogin.following(mechanism, credentials, _challenge(answer), rounds).encode()
            rounds += 1
        wire.send(said)
        answer = await _answer(wire, seconds)
    return _judged(answer, credentials)


async def _command(wire: Wire, credentials: Credentials, seconds: float) -> Response:
    """LOGIN, with literals where a name or password needs them."""
    line = b"l LOGIN"
    for text in (credentials.user, credentials.password.reveal()):
        quoted = imapwire.quoted(text)
        if quoted is not None:
            line += b" " + quoted
            continue
        raw = text.encode()
        wire.send(line + b" {%d}" % len(raw))
        answer = await _answer(wire, seconds)
        if answer.tag != "+":
            return _judged(answer, credentials)
        line = raw
    wire.send(line)
    return _judged(await _answer(wire, seconds), credentials)


async def _answer(wire: Wire, seconds: float) -> Response:
    """The next response that is ours; a server may tell other things before."""
    while True:
        answer = await wire.response(seconds)
        if answer.tag in ("+", "l"):
            return answer
        if answer.kind == "BYE":
            raise Broken(f"the server says good-bye: {answer.text}")


def _challenge(answer: Response) -> bytes:
    try:
        return base64.b64decode(answer.text, validate=True)
    except binascii.Error:
        raise Broken("the server's challenge is not base64") from None


def _judged(answer: Response, credentials: Credentials) -> Response:
    if answer.ok:
        return answer
    said = f"log-in as {credentials.user} refused: {answer.text or answer.code}"
    word = answer.code.split(" ")[0].upper()
    if word in _BUSY_CODES or (word != "AUTHENTICATIONFAILED" and _BUSY.search(answer.text)):
        raise Temporary(said, 454, "4.3.2")
    raise Refused(said, 454, "4.7.8")
