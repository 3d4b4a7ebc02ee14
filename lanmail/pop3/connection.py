"""One client's connection: bytes to lines, answers to bytes, flow control, time-outs, TLS.

A subclass has `line(bytes)` called for each line, in order, one at a time: while a coroutine given to `work` runs, no
further line is taken. Answers of pipelined commands leave in one write. Memory per connection is bounded whatever the
client does: its input to BUFFER while we are busy, our output to about HIGH and one answer, because no command is
begun while the client does not read.
"""

import asyncio
import errno
import ssl
from collections.abc import Coroutine
from typing import Any, cast

from lanmail import log

BUFFER = 64 * 1024
BATCH = 64 * 1024
HIGH, LOW = 256 * 1024, 64 * 1024
HANDSHAKE = 30.0


class Connection(asyncio.Protocol):
    """See the module's text. `max_line`, `timeout` (silence) and `deadline` (loop time) may be changed at any time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_line: int, timeout: float, client: str = "") -> None:
        self.loop = loop
        self.max_line = max_line
        self.timeout = timeout
        self.client = client
        self.tls: str | None = None
        self.transport: asyncio.Transport | None = None
        self._input = b""
        self._output: list[bytes] = []
        self._pending = 0
        self._task: asyncio.Task[None] | None = None
        self._stopped = False   # reading is paused
        self._full = False      # the client does not read
        self._drained: asyncio.Future[None] | None = None
        self._closing = False
        self._eof = False
        self._last = loop.time()
        self.deadline = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    # --- for the subclass -------------------------------------------------------------------------------------

    def line(self, line: bytes) -> None:
        """A line without its line end."""
        raise NotImplementedError

    def too_long(self) -> None:
        """A line is longer than `max_line`; the connection is closed afterwards."""

    def timed_out(self) -> None:
        """Nothing came for `timeout` seconds; the connection is closed afterwards."""

    def opened(self) -> None:
        """The connection stands, TLS too if it begins with that."""

    def closed(self) -> None:
        """The connection is gone; called once."""

    def send(self, *data: bytes) -> None:
        """Answer; leaves with the answers to the other commands that are at hand."""
        self._output += data
        for one in data:
            self._pending += len(one)

    def flush(self) -> None:
        """Write what was sent so far."""
        if self._output:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output, self._pending = [], 0
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(data)

    def work(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Go on with the next line only when this is through."""
        self._task = self.loop.create_task(coroutine)
        self._task.add_done_callback(self._worked)

    async def drained(self) -> None:
        """Write out, and wait until the client takes more. ConnectionError when it is gone."""
        self.flush()
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError
        if self._full:
            self._drained = self.loop.create_future()
            await self._drained
        else:
            await asyncio.sleep(0)  # the turn of the others

    def touch(self) -> None:
        """The client is alive: the time-out starts anew."""
        self._last = self.loop.time()

    def close(self) -> None:
        """Write out and close; no further line is taken."""
        self._closing = True
        self.flush()
        if self.transport is not None:
            self.transport.close()

    def finish(self) -> None:
        """Close as soon as nothing is in the middle of being done."""
        self._closing = True
        if self._task is None:
            self.close()

    def cut(self) -> None:
        """Close now, whatever is under way."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go over to TLS. What the client sent before the handshake is thrown away: nobody vouches for it."""
        self.flush()
        self._input = b""
        if self.transport is None:
            return
        try:
            transport = await self.loop.start_tls(
                self.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE)
        except OSError as error:
            log.tls_failed(client=self.client, service="pop3", error=str(error) or type(error).__name__)
            self.close()
            return
        self.transport = cast(asyncio.Transport, transport)
        self._stopped = False
        self._settle()

    # --- called by the loop -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        if not self.client:  # a load balancer may have told it
            peer = transport.get_extra_info("peername")
            self.client = str(peer[0]).removeprefix("::ffff:") if peer else "unknown"
        self._settle()
        self._timer = self.loop.call_later(self.timeout, self._look_at_clock)
        self.opened()
        self.flush()

    def _settle(self) -> None:
        assert self.transport is not None
        self.transport.set_write_buffer_limits(HIGH, LOW)
        tls = self.transport.get_extra_info("ssl_object")
        self.tls = tls.version() if tls is not None else None

    def data_received(self, data: bytes) -> None:
        self._last = self.loop.time()
        self._input = self._input + data if self._input else data
        if self._task is None and not self._full:
            self._take()
        elif len(self._input) > BUFFER and not self._stopped and self.transport is not None:
            self._stopped = True
            self.transport.pause_reading()

    def _take(self) -> None:
        """Give out the lines at hand, until there is something to wait for."""
        data, start = self._input, 0
        while not (self._closing or self._task is not None or self._full):
            end = data.find(b"\n", start)
            if end < 0 or end - start > self.max_line:
                if len(data) - start > self.max_line:
                    self.too_long()
                    self.close()
                break
            line = data[start:end]
            start = end + 1
            self.line(line[:-1] if line[-1:] == b"\r" else line)
            if self._pending > BATCH:
                self.flush()
                if not self._full and start < len(data):
                    self.loop.call_soon(self._go_on)
                    break
        self._input = data[start:] if start else data
        self.flush()
        if self._task is None and (self._closing or self._served_out()):
            self.close()
        elif self._stopped and len(self._input) <= BUFFER and self.transport is not None:
            self._stopped = False
            self.transport.resume_reading()

    def _served_out(self) -> bool:
        """The client closed its side, and everything it had asked for is answered."""
        return self._eof and not self._full and b"\n" not in self._input

    def _go_on(self) -> None:
        if self._task is None and not self._full and not self._closing:
            self._take()

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            if not isinstance(error, ConnectionError):
                log.crashed(error=repr(error), where=f"client {self.client}")
            self.close()
        elif self._closing:
            self.close()
        else:
            self.flush()
            self._take()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._last = self.loop.time()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._go_on()

    def eof_received(self) -> bool:
        self._eof = True
        # False closes the connection; TLS cannot be left half open
        return self.tls is None and not (self._task is None and self._served_out())

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self.transport = None
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError())
        if isinstance(exc, OSError) and exc.errno in (errno.ENOBUFS, errno.ENOMEM):
            log.crashed(error=repr(exc), where=f"client {self.client}")
        self.closed()

    def _look_at_clock(self) -> None:
        left = min(self._last + self.timeout, self.deadline) - self.loop.time()
        if left > 0 or self._busy():
            self._timer = self.loop.call_later(max(left, 1.0), self._look_at_clock)
            return
        self.timed_out()
        self.flush()
        if self.transport is not None:
            # close would wait for a client that does not read
            self.transport.abort() if self._full else self.transport.close()

    def _busy(self) -> bool:
        """Whether it is us that the client waits for."""
        return self._task is not None and not self._full
