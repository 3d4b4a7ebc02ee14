"""A POP3 client for programs that fetch mail: connect, log in, list, retrieve (RFC 1939, 2449, 2595, 5034).

    client = await connect(target, seconds)             TLS as wished for, logged in
    await client.uids() -> list[bytes | None] | None    by message number; None when the server has no UIDL
    await client.sizes() -> dict[int, int]
    client.ask(b"RETR", numbers) and then, for each, `await client.begun()` and pieces of `client.wire.piece`
    await client.quit() -> bool                         only now does the server delete anything

Log-in is one try per connection, never with a password in clear before TLS is what was asked for. What a server says in
an error goes to people without control characters.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

from lanmail import printable
from lanmail.clients import smtplogin, tlsclient, tunnel
from lanmail.clients.pop3wire import Broken, Wire
from lanmail.clients.smtplogin import Credentials, Refused
from lanmail.errors import Temporary
from lanmail.remote import LOCAL_HOSTS

MAX_LISTING = 32 << 20
MAX_MAILS = 500_000  # in one mailbox
CONNECT = 30.0
_STAMP = re.compile(rb"<[!-;=?-~]+@[!-;=?-~]+>")
_CODE = re.compile(r"\[([A-Z/-]+)\] ?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A server and who logs in there."""

    host: str
    port: int
    credentials: Credentials | None
    tls: str = "implicit"  # implicit, starttls, auto (STARTTLS when offered), none
    wish: tlsclient.Wish = tlsclient.DEFAULT
    via: tunnel.Proxy | None = None
    mechanism: str = ""  # the only one to use
    must_have_tls: str = ""  # tls = auto: why it must offer TLS all the same

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Denied(Temporary):
    """The server answers -ERR; `code` is its response code (RFC 2449 §8), in capitals."""

    def __init__(self, text: str, word: str = "") -> None:
        super().__init__(text, 451, "4.3.0")
        self.word = word


@dataclass(slots=True)
class Capabilities:
    """What CAPA told: names in capitals, with their arguments."""

    known: bool = False  # the server has CAPA
    words: dict[str, list[str]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.words

    def login_delay(self) -> float:
        """Seconds between two log-ins that the server asks for (RFC 2449 §6.5)."""
        value = self.words.get("LOGIN-DELAY", ["0"])[:1]
        return float(value[0]) if value and value[0].isdigit() and len(value[0]) < 7 else 0.0


async def connect(target: Target, seconds: float) -> "Client":
    """A connection that is logged in. Broken, smtplogin.Refused, Denied, Temporary with a sentence."""
    try:
        context = None if target.tls == "none" else await asyncio.to_thread(tlsclient.context, target.wish)
        made = await tunnel.connect(target.host, target.port, target.via, min(CONNECT, seconds))
        return await _begin(made, target, context, seconds)
    except (OSError, TimeoutError) as error:
        raise Temporary(f"{target}: {tlsclient.reason(error)}", 454, "4.7.5") from error


async def _begin(made: socket.socket, target: Target, context: ssl.SSLContext | None, seconds: float) -> "Client":
    try:
        wire = await Wire.open(made, context if target.tls == "implicit" else None, target.host, min(CONNECT, seconds))
    except BaseException:
        tunnel.close(made)
        raise
    client = Client(target, wire, seconds)
    try:
        await client.begin(context)
    except BaseException:
        wire.close()
        raise
    return client


class Client:
    """One connection."""

    def __init__(self, target: Target, wire: Wire, seconds: float) -> None:
        self.target, self.wire, self.seconds = target, wire, seconds
        self.capabilities = Capabilities()
        self.banner = ""
        self.login = ""  # how we logged in

    # reaching the server

    async def begin(self, context: ssl.SSLContext | None) -> None:
        """Greeting, TLS, log-in."""
        greeting = await self._answer()
        self.banner = shown(greeting)
        await self._ask_capabilities()
        if self.target.tls in ("starttls", "auto"):
            assert context is not None
            await self._stls(context)
        if self.wire.tls is not None:
            tlsclient.check(self.target.wish, self.wire.tls)
        if self.target.credentials is not None:
            await self._login(self.target.credentials, _STAMP.search(greeting))
            await self._ask_capabilities()  # more may be offered now, and LOGIN-DELAY may be this user's

    async def _stls(self, context: ssl.SSLContext) -> None:
        target = self.target
        if target.tls == "auto" and self.capabilities.known and "STLS" not in self.capabilities:
            if target.must_have_tls:
                raise Temporary(f"{target} does not offer STLS, but {target.must_have_tls}", 454, "4.7.5")
            return
        try:
            await self.command(b"STLS")
        except Denied as error:
            if target.tls == "auto" and not target.must_have_tls:
                return
            raise Temporary(f"{target} does not offer STLS: {error.text}", 454, "4.7.5") from None
        await self.wire.start_tls(context, target.host, min(CONNECT, self.seconds))
        await self._ask_capabilities()

    async def _ask_capabilities(self) -> None:
        self.capabilities = Capabilities()
        with contextlib.suppress(Denied):
            for line in (await self.listing(b"CAPA")).split(b"\r\n"):
                words = line.decode("ascii", "replace").upper().split()
                if words:
                    self.capabilities.words[words[0]] = words[1:]
            self.capabilities.known = True

    # logging in

    async def _login(self, who: Credentials, stamp: re.Match[bytes] | None) -> None:
        try:
            method = self.login = self._method(who, stamp is not None)
        except Refused as error:  # nothing was tried, so no password is to blame
            raise Temporary(error.text, error.code, error.dsn) from None
        try:
            if method == "USER":
                await self.command(b"USER " + _word(who.user))
                await self.command(b"PASS " + _word(who.password.reveal(), blanks=True))
            elif method == "APOP":
                assert stamp is not None
                digest = hashlib.md5(stamp[0] + who.password.reveal().encode(), usedforsecurity=False).hexdigest()
                await self.command(b"APOP " + _word(who.user) + b" " + digest.encode())
            else:
                await self._sasl(method, who)
        except Denied as error:
            if error.word not in ("", "AUTH"):  # RFC 3206 and 2449: the password is not to blame
                raise
            raise Refused(f"log-in as {who.user} refused: {error.text}", 454, "4.7.8") from None

    def _method(self, who: Credentials, has_stamp: bool) -> str:
        """USER, APOP or a SASL mechanism. Refused when nothing is safe."""
        encrypted = self.wire.tls is not None
        safe = encrypted or self.target.tls == "none" or self.target.host in LOCAL_HOSTS
        offered = set(self.capabilities.words.get("SASL", ()))
        only = self.target.mechanism
        if who.is_token or only:
            if only and only not in offered:
                offered.add(only)  # said by somebody who knows the server
            return smtplogin.choose(offered, who, safe=safe, only=only)
        if not encrypted:
            if has_stamp:
                return "APOP"
            if "CRAM-MD5" in offered:
                return "CRAM-MD5"
        if offered & {"PLAIN", "LOGIN"}:
            return smtplogin.choose(offered, who, safe=safe)
        if safe:
            return "USER"
        return smtplogin.choose(offered | {"PLAIN"}, who, safe=False)

    async def _sasl(self, mechanism: str, who: Credentials) -> None:
        """AUTH, always with the first response in a line of its own: Microsoft takes it no other way."""
        first = smtplogin.first(mechanism, who, self.target.host, self.target.port)
        self.wire.send(b"AUTH " + mechanism.encode())
        line, rounds = await self._line(), 0
        while line.startswith(b"+") and not line.startswith(b"+OK") and rounds < 5:
            if first is not None:
                said, first = base64.b64encode(first), None
            else:
                said = smtplogin.following(mechanism, who, _challenge(line), rounds).encode()
                rounds += 1
            self.wire.send(said)
            line = await self._line()
        _check(line)

    # commands

    async def command(self, line: bytes) -> bytes:
        """Send a command with a one-line answer; what follows +OK. Denied, Broken."""
        self.wire.send(line)
        return await self._answer()

    async def listing(self, line: bytes) -> bytes:
        """Send a command with a multi-line answer, and collect it. Denied, Broken."""
        await self.command(line)
        parts, size, last = [], 0, False
        while not last:
            part, last = await self.wire.piece(self.seconds)
            size += len(part)
            if size > MAX_LISTING:
                raise Broken("the server's answer does not end")
            parts.append(part)
        return b"".join(parts)

    def ask(self, command: bytes, numbers: Iterable[int]) -> None:
        """Send a command about each of these messages, at once."""
        lines = b"\r\n".join(b"%b %d" % (command, number) for number in numbers)
        if lines:
            self.wire.send(lines)

    async def begun(self) -> bytes:
        """The first line of the next answer. Denied, Broken."""
        return await self._answer()

    async def stat(self) -> tuple[int, int]:
        """How many messages there are, and their octets."""
        words = (await self.command(b"STAT")).split()
        if len(words) < 2 or not _number(words[0]) or not _number(words[1]):
            raise Broken("the server's answer to STAT is none")
        return int(words[0]), int(words[1])

    async def uids(self) -> dict[int, str] | None:
        """The unique ids by message number; None when the server cannot tell them."""
        try:
            rows = (await self.listing(b"UIDL")).split(b"\r\n")
        except Denied:
            return None
        if len(rows) > MAX_MAILS:
            raise Broken(f"the server lists {len(rows)} mails, more than can be")
        found: dict[int, str] = {}
        twice: dict[bytes, int] = {}
        for row in rows:
            number, _, uid = row.strip().partition(b" ")
            if not number and not uid:
                continue
            if not _number(number) or len(uid) > 500:
                raise Broken(f"the server's list of ids cannot be read: {shown(row[:60])!r}")
            if not uid:
                return None
            count = twice[uid] = twice.get(uid, 0) + 1
            # a server that gives one id to several messages: they are told apart by their order
            found[int(number)] = uid.decode("utf-8", "surrogateescape") + (f" {count}" if count > 1 else "")
        return found

    async def sizes(self) -> dict[int, int]:
        """The octets of each message."""
        found = {}
        for row in (await self.listing(b"LIST")).split(b"\r\n"):
            words = row.split()
            if len(words) >= 2 and _number(words[0]) and _number(words[1]):
                found[int(words[0])] = int(words[1])
        return found

    async def header(self, number: int) -> bytes:
        """The header of a message, with CRLF. Denied where the server has no TOP."""
        return await self.listing(b"TOP %d 0" % number)

    async def quit(self) -> bool:
        """Say good-bye; True when the server deleted what it was told to."""
        try:
            await self.command(b"QUIT")
            return True
        except (Denied, Broken):
            return False
        finally:
            self.wire.close()

    async def _line(self) -> bytes:
        return await self.wire.line(self.seconds)

    async def _answer(self) -> bytes:
        return _check(await self._line())


def _check(line: bytes) -> bytes:
    if line.startswith(b"+OK"):
        return line[3:].strip()
    if not line.startswith(b"-ERR"):
        raise Broken(f"the server does not speak POP3: {shown(line[:60])!r}")
    text = shown(line[4:].strip())
    found = _CODE.match(text)
    raise Denied(text or "it gives no reason", found[1].upper() if found else "")


def _challenge(line: bytes) -> bytes:
    try:
        return base64.b64decode(line[1:].strip(), validate=True)
    except binascii.Error:
        raise Broken("the server's challenge is not base64") from None


def _word(text: str, *, blanks: bool = False) -> bytes:
    if any(c in text for c in "\r\n\0") or (not blanks and " " in text):
        raise Refused("the user name or password has a blank or line end in it, which USER and PASS cannot carry",
                      454, "4.7.8")
    return text.encode()


def _number(word: bytes) -> bool:
    return word.isdigit() and len(word) < 16


def shown(raw: bytes) -> str:
    """What a server says, for logs and people."""
    return printable.line(raw.decode("utf-8", "replace")[:400])
