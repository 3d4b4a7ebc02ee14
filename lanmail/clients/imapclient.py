"""An IMAP client for programs that read mailboxes elsewhere: connect, list, look into a folder, fetch.

    client = await connect(target, patience)           TLS as wished for, logged in
    await client.mailboxes() -> list[Mailbox]
    await client.examine(raw name) -> Selected         never changes anything there; `select` may
    async for response in client.results(client.fetch(uids, items), sink): …
    await client.idle(seconds)                         wait for news of the open mailbox

Commands may be sent ahead: `send` gives a tag, and `results(tag)` yields what the server says up to the end of it.
Servers may work on several at a time (RFC 9051 §5.5): what belongs to another one may be among it, and that one may end
first.
Invariants: no password goes out before TLS is what was asked for; memory does not grow with a mail nor with a mailbox.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from lanmail import mutf7, printable, sequenceset
from lanmail.clients import imaplogin, smtplogin, tlsclient, tunnel
from lanmail.clients.imapwire import Broken, Response, Sink, Value, Wire
from lanmail.errors import Temporary

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
PORTS = {"implicit": 993, "starttls": 143, "none": 143}


@dataclass(frozen=True, slots=True)
class Target:
    """A server and who logs in there."""

    host: str
    port: int
    credentials: smtplogin.Credentials
    tls: str = "implicit"  # implicit, starttls, auto (STARTTLS where it is offered), none
    wish: tlsclient.Wish = tlsclient.DEFAULT
    via: tunnel.Proxy | None = None
    mechanism: str = ""  # the only one to log in with

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for each kind of waiting."""

    connect: float = 30.0
    answer: float = 120.0


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of the server: `raw` for commands, `levels` for people; attributes as the server spells them."""

    raw: bytes
    levels: tuple[str, ...]
    attributes: frozenset[str]
    separator: str = "/"

    @property
    def selectable(self) -> bool:
        return not {"\\noselect", "\\nonexistent"} & {one.lower() for one in self.attributes}


@dataclass(slots=True)
class Selected:
    """The mailbox that is open; `exists` follows what the server tells meanwhile."""

    exists: int = 0
    uidvalidity: int = 0
    uidnext: int = 0
    readonly: bool = False
    grown: bool = False  # there are new messages since somebody set this to False


class Denied(Exception):
    """The server answers NO or BAD; the text is its."""


async def connect(target: Target, patience: Patience) -> "Client":
    """A connection that is logged in. Broken, smtplogin.Refused, Temporary with a sentence."""
    try:
        context = None if target.tls == "none" else await asyncio.to_thread(tlsclient.context, target.wish)
        made = await tunnel.connect(target.host, target.port, target.via, patience.connect)
        client = await _begin(made, target, context, patience)
    except (OSError, TimeoutError) as error:
        raise Temporary(f"{target}: {tlsclient.reason(error)}", 454, "4.7.5") from error
    return client


async def _begin(made: socket.socket, target: Target, context: ssl.SSLContext | None, patience: Patience) -> "Client":
    implicit = context if target.tls == "implicit" else None
    try:
        wire = await Wire.open(sock=made, context=implicit, host=target.host, seconds=patience.connect)
    except BaseException:
        tunnel.close(made)
        raise
    client = Client(target, patience, wire)
    try:
        await client.begin(context)
    except BaseException:
        wire.close()
        raise
    return client


class Client:
    """One connection."""

    def __init__(self, target: Target, patience: Patience, wire: Wire) -> None:
        self.target, self.patience, self.wire = target, patience, wire
        self.capabilities: frozenset[str] = frozenset()
        self.selected = Selected()
        self.opened: bytes | None = None  # the mailbox that is open
        self.greeting = ""
        self.mechanism = ""
        self._count = 0
        self._open: set[str] = set()  # tags that were not answered yet
        self._ended: dict[str, Response] = {}  # answers to commands that nobody has asked after yet

    # reaching the server

    async def begin(self, context: ssl.SSLContext | None) -> None:
        """Greeting, TLS, log-in."""
        target = self.target
        greeting = await self.wire.response(self.patience.answer)
        if greeting.tag != "*" or greeting.kind not in ("OK", "PREAUTH"):
            raise Broken(f"the server does not want us: {greeting.text or greeting.kind}")
        self.greeting = greeting.text
        await self._secure(greeting, context)
        if self.wire.tls is not None:
            tlsclient.check(target.wish, self.wire.tls)
        if greeting.kind != "PREAUTH":
            safe = self.wire.tls is not None or target.tls == "none" or target.host in LOCAL_HOSTS
            self.mechanism = imaplogin.mechanism(self.capabilities, target.credentials, target.mechanism, safe=safe)
            answer = await imaplogin.login(self.wire, self.mechanism, self.capabilities, target.credentials,
                                           target.host, target.port, self.patience.answer)
            await self._ask_capabilities(answer)

    async def _secure(self, greeting: Response, context: ssl.SSLContext | None) -> None:
        """STARTTLS, if it is wished for; then what the server can do."""
        wanted = self.target.tls
        if wanted != "starttls":
            await self._ask_capabilities(greeting)
        if wanted == "starttls" or (wanted == "auto" and "STARTTLS" in self.capabilities):
            if greeting.kind == "PREAUTH":  # RFC 9051 §7.1.4: STARTTLS is no longer possible, so somebody is in between
                raise Broken("the server logs us in before TLS")
            assert context is not None
            await self._starttls(context)
            await self._ask_capabilities(None)  # RFC 9051 §11.1: what was said in clear does not count

    async def _starttls(self, context: ssl.SSLContext) -> None:
        try:
            await self.command("STARTTLS")
        except Denied as error:
            raise Broken(f"the server does not offer STARTTLS: {error}") from None
        await self.wire.start_tls(context, self.target.host, self.patience.connect)

    async def _ask_capabilities(self, said: Response | None) -> None:
        words = said.code.split() if said is not None else []
        if words[:1] == ["CAPABILITY"]:
            self.capabilities = frozenset(word.upper() for word in words[1:])
            return
        for response in await self.command("CAPABILITY"):
            if response.kind == "CAPABILITY":
                self.capabilities = frozenset(bytes(word).decode("ascii", "replace").upper()
                                              for word in response.values if isinstance(word, bytes))

    # commands

    def send(self, text: str | bytes) -> str:
        """Send a command; its tag."""
        self._count += 1
        tag = f"c{self._count}"
        self._open.add(tag)
        self.wire.send(tag.encode() + b" " + (text if isinstance(text, bytes) else text.encode()))
        return tag

    async def results(self, tag: str, sink: Sink | None = None, patience: float = 0.0) -> AsyncIterator[Response]:
        """What the server says up to the end of a command. Denied when that is NO or BAD."""
        while tag not in self._ended:
            response = await self.wire.response(patience or self.patience.answer, sink)
            if response.tag in self._open:
                self._open.remove(response.tag)
                self._ended[response.tag] = response
                continue
            if response.kind == "BYE":
                raise Broken(f"the server says good-bye: {response.text}")
            if response.tag == "*":
                self._note(response)
                yield response
        end = self._ended.pop(tag)
        self._note(end)
        if not end.ok:
            raise Denied(end.text or end.kind)

    async def command(self, text: str | bytes) -> list[Response]:
        """Send a command and collect its answers; only for those with few."""
        return [response async for response in self.results(self.send(text))]

    async def mailboxes(self) -> list[Mailbox]:
        """All mailboxes, with their special use where the server tells it (RFC 6154)."""
        extended = {"LIST-EXTENDED", "SPECIAL-USE"} <= self.capabilities
        listed = await self.command('LIST "" "*" RETURN (SPECIAL-USE)' if extended else 'LIST "" "*"')
        return [made for response in listed if response.kind == "LIST" and (made := _mailbox(response.values))]

    async def foreign(self) -> tuple[str, ...]:
        """Prefixes of what belongs to others (RFC 2342)."""
        found: list[str] = []
        if "NAMESPACE" in self.capabilities:
            with contextlib.suppress(Denied):
                for response in await self.command("NAMESPACE"):
                    for kind in response.values[1:3] if response.kind == "NAMESPACE" else ():
                        found += [plain(one[0]) for one in kind or () if isinstance(one, list) and one
                                  and isinstance(one[0], bytes)] if isinstance(kind, list) else []
        return tuple(prefix for prefix in found if prefix)

    async def examine(self, raw: bytes) -> Selected:
        """Open a mailbox, read-only. Denied."""
        return await self._enter(b"EXAMINE ", raw)

    async def select(self, raw: bytes) -> Selected:
        """Open a mailbox to change it; `readonly` when the server does not let us. Denied."""
        return await self._enter(b"SELECT ", raw)

    async def _enter(self, command: bytes, raw: bytes) -> Selected:
        self.opened, self.selected = None, Selected()
        await self.command(command + astring(raw))
        self.opened, self.selected.grown = raw, False
        return self.selected

    def _note(self, response: Response) -> None:
        if response.kind == "EXISTS":
            self.selected.grown |= response.number > self.selected.exists
            self.selected.exists = response.number
        elif response.kind == "EXPUNGE":
            self.selected.exists = max(0, self.selected.exists - 1)
        word, _, value = response.code.partition(" ")
        if word.upper() in ("UIDVALIDITY", "UIDNEXT") and value.isdigit() and len(value) < 11:
            setattr(self.selected, word.lower(), int(value))
        elif word.upper() == "READ-ONLY":
            self.selected.readonly = True

    def fetch(self, uids: Iterable[int], items: str) -> str:
        """Ask for items of messages by UID; the tag."""
        return self.send(f"UID FETCH {sequenceset.text(sorted(uids))} ({items})")

    async def idle(self, seconds: float) -> None:
        """Wait for new messages in the open mailbox (`selected.grown`), at most so long (RFC 2177). Denied, Broken.

        Who cancels it may go on with other commands.
        """
        tag = self.send("IDLE")
        try:
            async with asyncio.timeout(seconds):
                async for _ in self.results(tag, patience=seconds + self.patience.answer):
                    if self.selected.grown:
                        break
        except TimeoutError:
            pass
        finally:
            if tag in self._open:
                self.wire.send(b"DONE")
        if tag in self._open or tag in self._ended:
            async for _ in self.results(tag):
                pass

    async def logout(self) -> None:
        """Say good-bye, and do not wait for long."""
        with contextlib.suppress(Broken, Denied, TimeoutError):
            async with asyncio.timeout(3):
                await self.command("LOGOUT")
        self.wire.close()


def _mailbox(values: Sequence[Value]) -> Mailbox | None:
    if len(values) < 3 or not isinstance(values[0], list):
        return None
    attributes, separator, raw = values[:3]
    if not isinstance(raw, bytes) or not isinstance(attributes, list):
        return None
    name, mark = plain(raw), plain(separator) if isinstance(separator, bytes) else ""
    levels = tuple(name.rstrip(mark).split(mark)) if mark else (name,)
    known = frozenset(plain(one) for one in attributes if isinstance(one, bytes))
    return Mailbox(bytes(raw), levels, known, mark)


def plain(raw: bytes) -> str:
    """A mailbox name as text: modified UTF-7, or UTF-8 where a server sends that; nothing in it moves a cursor."""
    text = raw.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        text = mutf7.decode(text) if text.isascii() else text
    return printable.line(text, "_")


def encoded(name: str) -> bytes:
    """A mailbox name as commands have it, the way back from `plain`."""
    return mutf7.encode(name).encode("ascii")


def astring(raw: bytes) -> bytes:
    """A mailbox name in a command; servers gave it to us, so nothing of it may begin a line."""
    if any(c in raw for c in b"\r\n\0"):
        raise Denied("a mailbox name with a line end in it")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
