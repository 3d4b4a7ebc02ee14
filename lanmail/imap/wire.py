"""The IMAP wire: command text and literals in, answers out, with memory bounded in both directions.

`Connection` is an asyncio protocol with a buffer of its own and pull-style reading, so that a session is ordinary
sequential code. What may not be changed without thought:
  - nothing is read from the socket while more than `INPUT_HIGH` octets wait, so a flood stays in the kernel;
  - `write` only collects; whoever writes much must `await drain()` when `full` says so, or memory is unbounded;
  - output is flushed when the session waits for input, so the answers to pipelined commands share packets;
  - after STARTTLS whatever the client sent in clear text behind it is thrown away (command injection).
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

INPUT_HIGH = 1 << 18
OUTPUT_CHUNK = 1 << 16
OUTPUT_HIGH = 1 << 18


class Closed(Exception):
    """The peer is gone, or was sent away."""


class TimedOut(Closed):
    """The peer was silent, or did not read, for too long."""


class Interrupted(Exception):
    """This client has to go, and is between two commands; the text says why."""


class TooLong(Exception):
    """A line exceeds what the session allows; its beginning is in `.start`."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self.start = start


class Connection(asyncio.Protocol):
    """One client; `run(connection)` is started as a task once it is connected."""

    def __init__(self, run: "Callable[[Connection], Coroutine[Any, Any, None]]", peer: str = "") -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None  # the transport's, asked for once: each time it makes another object
        self._input = bytearray()
        self._output: list[bytes] = []
        self._output_size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expires = 0.0  # 0: nobody is waiting
        self._blocked = False
        self._eof = False
        self._deaf = False
        self._why_not = ""  # the client has to go
        self.interruptible = False  # set by the session while nothing is under way
        self.lost = False
        self.secure = False
        self.peer = peer
        self.task: asyncio.Task[None] | None = None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=OUTPUT_HIGH)
        self.secure = transport.get_extra_info("ssl_object") is not None
        name = transport.get_extra_info("peername")
        if not self.peer:  # a load balancer may have told it
            self.peer = name[0] if isinstance(name, tuple) else ""
        self.task = self._loop.create_task(self._run(self))

    def data_received(self, data: bytes) -> None:
        self._input += data
        if len(self._input) > INPUT_HIGH and not self._deaf and self._transport is not None:
            self._deaf = True
            self._transport.pause_reading()
        self.wake()

    def eof_received(self) -> bool:
        self._eof = True
        self.wake()
        return not self.secure  # commands that came before the half-close are still answered; TLS has no half-close

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._release_writer()
        self.wake()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._release_writer()

    # reading

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3`, or None in clear text."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return None if tls is None else tls.version()

    @property
    def pending(self) -> bool:
        """Whether input waits to be read."""
        return bool(self._input)

    def wake(self) -> None:
        """Let `activity` return: something happened that the session should look at."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def interrupt(self, why: str) -> None:
        """As soon as this client is between two commands, its session gets `Interrupted`."""
        self._why_not = why
        self.wake()

    async def activity(self, patience: float) -> None:
        """Send what was said, then wait for input or `wake`; Closed when there will be none, TimedOut after a while."""
        self.flush()
        if self.lost or self._eof:
            raise Closed
        if self._why_not and self.interruptible:
            raise Interrupted(self._why_not)
        if self._deaf and self._transport is not None and len(self._input) <= INPUT_HIGH:
            self._deaf = False
            self._transport.resume_reading()
        self._waiter = self._loop.create_future()
        self._arm(patience)
        try:
            await self._waiter
        finally:
            self._waiter = None
            expired, self._expires = self._expires < 0, 0.0
        if expired:
            raise TimedOut

    async def line(self, limit: int, patience: float) -> bytes:
        """The next line without its end (CRLF, or LF alone); TooLong past `limit`, with the rest left unread."""
        looked = 0
        while True:
            end = self._input.find(b"\n", looked)
            if end > limit or (end < 0 and len(self._input) > limit):
                raise TooLong(bytes(self._input[:limit]))
            if end >= 0:
                line = bytes(self._input[:end])
                del self._input[: end + 1]
                return line[:-1] if line.endswith(b"\r") else line
            looked = len(self._input)
            await self.activity(patience)

    def _hurry(self) -> None:
        """Acknowledge what comes next at once. A client that sends a literal and the line end behind it one after the
        other, as Python's imaplib does, holds that back until then (Nagle's algorithm), and the kernel would take
        40 ms for it."""
        self.flush()
        if self._socket is None and self._transport is not None:
            self._socket = self._transport.get_extra_info("socket")
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def some(self, limit: int, patience: float) -> bytes:
        """At least one and at most `limit` octets."""
        while not self._input:
            self._hurry()
            await self.activity(patience)
        data = bytes(self._input[:limit])
        del self._input[:limit]
        return data

    async def exactly(self, size: int, patience: float) -> bytes:
        """`size` octets; only for sizes that were checked."""
        parts: list[bytes] = []
        while size:
            parts.append(await self.some(size, patience))
            size -= len(parts[-1])
        return b"".join(parts)

    async def skip(self, size: int, patience: float) -> None:
        """Read `size` octets and forget them."""
        while size:
            size -= len(await self.some(min(size, INPUT_HIGH), patience))

    async def skip_line(self, patience: float) -> None:
        """Read to the end of the line and forget it."""
        while True:
            end = self._input.find(b"\n")
            if end >= 0:
                del self._input[: end + 1]
                return
            self._input.clear()
            await self.activity(patience)

    # writing

    def write(self, data: bytes) -> None:
        """Say something; it leaves with the next flush."""
        self._output.append(data)
        self._output_size += len(data)
        if self._output_size >= OUTPUT_CHUNK:
            self.flush()

    def write_all(self, pieces: list[bytes]) -> None:
        """The same for several pieces."""
        self._output += pieces
        self._output_size += sum(map(len, pieces))
        if self._output_size >= OUTPUT_CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand what was written to the transport."""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self._output_size = 0
            if self._transport is not None and not self.lost:
                self._transport.write(data)

    @property
    def full(self) -> bool:
        """Whether the peer does not keep up (or is gone): time to `drain`."""
        return self._blocked or self.lost

    async def drain(self, patience: float) -> None:
        """Flush, and wait until the peer has read enough; Closed when it is gone, TimedOut when it does not read."""
        self.flush()
        while self._blocked and not self.lost:
            self._writable = self._loop.create_future()
            self._arm(patience)
            try:
                await self._writable
            finally:
                self._writable = None
                expired, self._expires = self._expires < 0, 0.0
            if expired:
                self.abort()
                raise TimedOut
        if self.lost:
            raise Closed

    def close(self) -> None:
        """Send what was said and hang up."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(self, context: ssl.SSLContext, patience: float) -> None:
        """Send what was said in clear text and go on under TLS; Closed when the handshake fails."""
        assert self._transport is not None
        self.flush()
        self._input.clear()
        try:
            transport = await self._loop.start_tls(
                self._transport, self, context, server_side=True, ssl_handshake_timeout=patience
            )
        except (OSError, ssl.SSLError) as error:
            self.abort()
            raise Closed from error
        if transport is None:
            raise Closed
        self._transport = transport
        self._transport.set_write_buffer_limits(high=OUTPUT_HIGH)
        self.secure = True

    # time-outs: one lazy timer, since arming one for each line would cost more than reading it

    def _arm(self, patience: float) -> None:
        self._expires = time.monotonic() + patience
        if self._timer is None:
            self._timer = self._loop.call_later(patience, self._tick)
        elif self._timer.when() > self._loop.time() + patience + 1:
            self._timer.cancel()
            self._timer = self._loop.call_later(patience, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.lost or not self._expires:
            return
        left = self._expires - time.monotonic()
        if left > 0.001:
            self._timer = self._loop.call_later(left, self._tick)
            return
        self._expires = -1.0
        self.wake()
        self._release_writer()

    def _release_writer(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
