"""One HTTP/1.1 request, by TLS as wished for and through our proxies; nothing of it may grow or last for ever.

    answer = await send(Request("POST", url, headers, body, length), wish, via, seconds)

Redirects are not followed, cookies not kept, compressed answers not asked for. `seconds` bounds the whole exchange, not
one read, so a server that sends an octet a minute holds nobody. Of the answer's body at most LIMIT octets are read; a
server may answer, and hang up, before it has the whole request.

Whatever goes wrong before there is an answer is Temporary, and the text says at which step. An answer of any status is
returned: what it means is the caller's business.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from lanmail import printable
from lanmail.clients import tlsclient, tunnel
from lanmail.errors import Temporary

LIMIT = 64 << 10
USER_AGENT = "lanmail"
_READ = 64 << 10


LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `body` comes in pieces that together have `length` octets; it may block for a read from disk."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Iterable[bytes] = ()
    length: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `headers` with names in lower case, the first LIMIT octets of the body."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    whole: bool  # False: the body was longer, or it broke off

    def excerpt(self, size: int = 200) -> str:
        """The start of the body as one line of text, without mark-up and control characters."""
        text = self.body[: 20 * size].decode("utf-8", "replace")
        words = "".join(_outside_tags(text)).split()
        line = printable.line(" ".join(words))
        return line if len(line) <= size else line[: size - 1] + "…"


def _outside_tags(text: str) -> Iterator[str]:
    for piece in text.split("<"):
        _, closed, rest = piece.partition(">")
        yield f" {rest}" if closed else piece


async def send(
    request: Request, wish: tlsclient.Wish = tlsclient.DEFAULT, via: tunnel.Proxy | None = None, seconds: float = 60.0,
) -> Answer:
    """The answer to a request. Temporary."""
    parts = urlsplit(request.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Temporary(f"{request.url!r} is no http or https URL", 451, "4.3.5")
    where = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme == "http" and parts.hostname not in LOCAL and any(
            name.lower() == "authorization" for name, _ in request.headers):
        raise Temporary(f"{where}: a password or token goes by https only", 451, "4.3.5")
    step = f"no connection to {where}"
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            port = parts.port or (443 if parts.scheme == "https" else 80)
            made = await tunnel.connect(parts.hostname, port, via, seconds)
            try:
                reader, writer = await _open(made, parts.hostname if parts.scheme == "https" else "", wish)
            except BaseException:
                tunnel.close(made)
                raise
            step = f"{where} gives no answer"
            return await _Exchange(reader, writer).run(request, parts.netloc, parts.path or "/", parts.query)
    except TimeoutError as error:
        raise Temporary(f"{step} within {seconds:g} seconds", 451, "4.4.2") from error
    except ssl.SSLError as error:
        raise Temporary(f"{where}: {tlsclient.reason(error)}", 454, "4.7.5") from error
    except h11.ProtocolError as error:
        raise Temporary(f"{where} does not speak HTTP: {error}", 451, "4.5.0") from error
    except OSError as error:
        raise Temporary(f"{step}: {error.strerror or error}", 451, "4.4.2") from error
    finally:
        if writer is not None:
            writer.transport.abort()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(made: socket.socket, name: str, wish: tlsclient.Wish) -> Streams:
    """Streams on a connected socket; with a name, by TLS and with its certificate checked."""
    if not name:
        return await asyncio.open_connection(sock=made, limit=_READ)
    context = tlsclient.context(wish)
    reader, writer = await asyncio.open_connection(
        sock=made, ssl=context, server_hostname=name, limit=_READ)
    try:
        tlsclient.check(wish, writer.get_extra_info("ssl_object"))
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


class _Exchange:
    """One request and its answer on a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._sending, self._receiving = h11.Connection(h11.CLIENT), h11.Connection(h11.CLIENT)

    async def run(self, request: Request, host: str, path: str, query: str) -> Answer:
        head = h11.Request(
            method=request.method, target=f"{path}?{query}" if query else path,
            headers=[("Host", host), ("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close"),
                     ("Content-Length", str(request.length)), *request.headers],
        )
        # h11 keeps both directions in one state machine; ours must read while it still writes
        self._receiving.send(h11.Request(method=request.method, target="/", headers=[("Host", host)]))
        self._receiving.send(h11.EndOfMessage())
        answering = asyncio.create_task(self._answer())
        try:
            with contextlib.suppress(ConnectionError):  # it hung up: perhaps it said why
                await self._give(head, request.body, answering)
            return await answering
        finally:
            answering.cancel()

    async def _give(self, head: h11.Request, body: Iterable[bytes], answering: "asyncio.Task[Answer]") -> None:
        self._writer.write(self._sending.send(head) or b"")
        for piece in body:
            if answering.done():
                return  # it knows enough
            self._writer.write(self._sending.send(h11.Data(data=piece)) or b"")
            await self._writer.drain()
        self._writer.write(self._sending.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def _answer(self) -> Answer:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._receiving.next_event()
            if event is h11.NEED_DATA:
                try:
                    data = await self._reader.read(_READ)
                    self._receiving.receive_data(data)
                except (ConnectionError, h11.RemoteProtocolError):
                    if head is None:
                        raise
                    return _made(head, body, whole=False)
                if not data and head is None:
                    raise ConnectionError("it hung up")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data) and head is not None:
                body += event.data
                if len(body) > LIMIT:
                    return _made(head, body, whole=False)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) and head is not None:
                return _made(head, body, whole=True)


def _made(head: h11.Response, body: bytearray, *, whole: bool) -> Answer:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    reason = printable.line(head.reason.decode("latin-1"))[:100]
    return Answer(head.status_code, reason, headers, bytes(body[:LIMIT]), whole)
