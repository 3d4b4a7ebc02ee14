"""The page at http://localhost:PORT/ to which a provider sends the browser back (RFC 8252 §7.3).

    async with Listener(redirect, accept) as listener:
        …                                   listener.redirect has the port
        code = await listener.code          Declined, when the provider or the person did not agree
        listener.tell(page)                 what came of it; the browser waits for that

It listens on 127.0.0.1 and ::1 only and takes one answer, the first that `accept` does not refuse with Foreign. Whoever
else comes there (a favicon, another page's guess, the same answer once more) changes nothing.
"""

import asyncio
import contextlib
import errno
import re
import socket
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

import h11

from lanmail.oauth import authorization, pages
from lanmail.oauth.authorization import Answer, Declined, Foreign

PATIENCE = 10.0  # seconds for a browser to say what it wants
OUTCOME = 120.0  # seconds for what is done before the page can be shown
LINGER = 3.0  # seconds for a page that is on its way
CLIENTS = 20
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_TRIES = 20
_HOST = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.I)

Accept = Callable[[Answer], str]
Show = Callable[[str], bytes]  # a page in a language


class Listener:
    """The page of one log-in. `redirect` is as it is registered; a port is chosen where it names none."""

    def __init__(self, redirect: str, accept: Accept) -> None:
        loop = asyncio.get_running_loop()
        self.redirect, self._accept = redirect, accept
        self._path = urlsplit(redirect).path or "/"
        self._servers: list[asyncio.Server] = []
        self.code: asyncio.Future[str] = loop.create_future()
        self._shown: asyncio.Future[Show] = loop.create_future()
        self._at_work: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Listener":
        made = _sockets(urlsplit(self.redirect).port or 0)
        self.redirect = authorization.at_port(self.redirect, made[0].getsockname()[1])
        self._servers = [await asyncio.start_server(self._serve, sock=one, limit=32 << 10) for one in made]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.close()
        self.tell(lambda tongue: pages.page("stopped", tongue))
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=LINGER)
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        if self.code.done() and not self.code.cancelled():
            self.code.exception()  # whoever waited for it has gone
        else:
            self.code.cancel()

    def tell(self, show: Show) -> None:
        """The page that the browser gets now, and again when it asks again."""
        if not self._shown.done():
            self._shown.set_result(show)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._at_work) < CLIENTS:
                self._at_work.add(task)
                await self._talk(reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
            pass  # a browser that went away, something that is none, or our end
        finally:
            self._at_work.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=32 << 10)
        async with asyncio.timeout(PATIENCE):
            request = await _request(wire, reader)
        if request is None:
            return
        status, headers, body = await self._answered(request)
        head = h11.Response(status_code=status, headers=[
            *headers, ("Content-Length", str(len(body))), ("Connection", "close")])
        sent = [wire.send(head), *([] if request.method == b"HEAD" else [wire.send(h11.Data(data=body))]),
                wire.send(h11.EndOfMessage())]
        async with asyncio.timeout(PATIENCE):
            writer.write(b"".join(piece or b"" for piece in sent))
            await writer.drain()

    async def _answered(self, request: h11.Request) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        target = request.target.decode("latin-1")
        said = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        path, _, query = target.partition("?")
        # a page elsewhere that has its own name point to this machine must not get at this one
        if not _HOST.fullmatch(said.get("host", "")):
            return 421, (), b""
        if path != self._path or request.method not in (b"GET", b"HEAD"):
            return 404, (), b""
        tongue = pages.language(said.get("accept-language", ""))
        if request.method == b"GET":
            try:
                self._take(authorization.read("?" + query))
            except Foreign as error:
                return 400, pages.HEADERS, pages.page("foreign", tongue, reason=error.text)
        async with asyncio.timeout(OUTCOME):
            show = await asyncio.shield(self._shown)
        return 200, pages.HEADERS, show(tongue)

    def _take(self, answer: Answer) -> None:
        """Foreign. The same answer once more, as when a browser loads the page again, waits for the same outcome."""
        try:
            code = self._accept(answer)
        except Declined as error:
            if not self.code.done():
                self.code.set_exception(error)
        else:
            if not self.code.done():
                self.code.set_result(code)


async def _request(wire: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of what a browser asks; None when it hangs up. h11.RemoteProtocolError."""
    while True:
        event = wire.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        data = await reader.read(16 << 10)
        if not data:
            return None
        wire.receive_data(data)


def _sockets(port: int) -> list[socket.socket]:
    """One on each loopback address, with the same port; IPv6 is left out where the machine has none. OSError."""
    for _ in range(_TRIES):
        made: list[socket.socket] = []
        chosen = port
        try:
            for family, host in _ADDRESSES:
                if family == socket.AF_INET6 and not _has_ipv6():
                    continue
                made.append(one := socket.socket(family, socket.SOCK_STREAM))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind((host, chosen))
                chosen = one.getsockname()[1]
        except OSError as error:
            for one in made:
                one.close()
            if port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return made
    raise OSError(errno.EADDRINUSE, "no port is free on this machine")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
