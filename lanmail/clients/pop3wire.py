"""POP3's wire as a client sees it: lines and multi-line answers, all bounded in size and time (RFC 1939 §3).

    wire.send(b"STAT")                          a command; several may be sent ahead where the server allows that
    await wire.line(seconds) -> bytes           one line of an answer, without its CRLF
    await wire.piece(seconds) -> bytes, bool    the next piece of a multi-line answer, dot-unstuffed; whether it is the
                                                last. A small message is one piece, and memory does not grow with a
                                                large one.

A server that sends what is no POP3, or more than there can be, or nothing for too long, is Broken.
"""

import asyncio
import socket
import ssl
from typing import cast

MAX_LINE = 8 << 10  # RFC 2449 §4 allows 512; tokens and chatty servers need more
PIECE = 256 << 10
_HIGH = 1 << 20  # octets that wait for us from which on nothing more is read
_END = b"\r\n.\r\n"


class Broken(Exception):
    """The connection is gone, or what comes over it is no POP3; the text says what happened."""


class Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._at = 0  # where in _data what was not taken yet begins
        self._coming: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        self._line_start = True

    @classmethod
    async def open(cls, sock: socket.socket, context: ssl.SSLContext | None, host: str, seconds: float) -> "Wire":
        """On a connected socket; with a context TLS comes first. OSError (ssl.SSLError), TimeoutError."""
        loop = asyncio.get_running_loop()
        if context is None:
            _, made = await loop.create_connection(cls, sock=sock)
        else:
            _, made = await loop.create_connection(cls, sock=sock, ssl=context, server_hostname=host,
                                                   ssl_handshake_timeout=seconds)
        return made

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """The handshake after STLS was answered. Broken, OSError (ssl.SSLError), TimeoutError."""
        if self._at < len(self._data) or self._coming:
            # RFC 2595 §4: what came in clear behind the +OK was put there by somebody on the way
            raise Broken("the server sent something in clear behind STLS")
        assert self._transport is not None
        made = await asyncio.get_running_loop().start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=seconds)
        if made is None:
            raise Broken("the server closed the connection")
        self._transport = made

    @property
    def tls(self) -> ssl.SSLObject | None:
        """What tells of the connection's TLS; None in clear."""
        found: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object") if self._transport else None
        return found

    def send(self, lines: bytes) -> None:
        """A command, or several with CRLF between them; the last CRLF is added."""
        if self._transport is not None:
            self._transport.write(lines + b"\r\n")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def line(self, seconds: float) -> bytes:
        """The next line. Broken."""
        while (end := self._data.find(b"\r\n", self._at)) < 0:
            if len(self._data) - self._at > MAX_LINE:
                raise Broken("the server sends a line without end")
            await self._more(seconds)
        found = self._data[self._at:end]
        self._at = end + 2
        self._line_start = True
        if len(found) > MAX_LINE:
            raise Broken("the server sends a line without end")
        return found

    async def piece(self, seconds: float) -> tuple[bytes, bool]:
        """The next piece of a multi-line answer, and whether it is the last. Broken."""
        scanned = self._at
        while True:
            data, at = self._data, self._at
            if self._line_start and data.startswith(b".\r\n", at):
                self._at = at + 3
                return b"", True
            end = data.find(_END, scanned)
            if end >= 0:
                self._at = end + 5
                return self._unstuffed(data[at:end + 2]), True
            if len(data) - at > PIECE:
                return self._part(data, at), False
            left = len(data) - at
            await self._more(seconds)
            scanned = max(self._at, self._at + left - 4)

    def _part(self, data: bytes, at: int) -> bytes:
        """What can be handed out of an answer that goes on: whole lines, or most of one that is very long."""
        end = data.rfind(b"\r\n", at) + 2
        whole = end > at + 1
        if not whole:
            end = len(data) - 1  # it may be the CR of a line end
        part = self._unstuffed(data[at:end])
        self._at, self._line_start = end, whole
        return part

    def _unstuffed(self, text: bytes) -> bytes:
        if b"\r\n.." in text:
            text = text.replace(b"\r\n..", b"\r\n.")
        if self._line_start and text.startswith(b".."):
            text = text[1:]
        return text

    async def _more(self, seconds: float) -> None:
        """Wait until there is more to look at."""
        if not self._coming:
            if self._lost is not None:
                raise Broken(self._lost)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                raise Broken(f"the server says nothing for {seconds:.0f} s") from None
            finally:
                self._waiter = None
            if not self._coming:
                raise Broken(self._lost or "the connection was lost")
        self._data = b"".join((self._data[self._at:], *self._coming))
        self._at = 0
        self._coming.clear()
        if self._size > _HIGH and self._transport is not None:
            self._transport.resume_reading()
        self._size = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class

    def data_received(self, data: bytes) -> None:
        self._coming.append(data)
        before, self._size = self._size, self._size + len(data)
        if self._size > _HIGH >= before and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        why = getattr(error, "strerror", None) or "the server closed it"
        self._lost = f"the connection was lost: {why}"
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
