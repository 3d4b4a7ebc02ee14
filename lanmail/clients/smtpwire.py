"""SMTP's wire as a client sees it: commands out, replies in, both bounded.

Whatever a server sends, it costs no more than MAX_REPLY bytes here, and no more time than the deadline that is given
for each answer as a whole: a server that sends one octet a second meets it like one that is silent. What is not a reply
by RFC 5321 §4.2.1, and any word that nobody asked for, ends the connection.
"""

import asyncio
import re
import ssl
from collections import deque
from dataclasses import dataclass
from typing import cast

from lanmail import printable
from lanmail.errors import MailError, Permanent, Temporary

MAX_LINE = 4096  # RFC 5321 §4.5.3.1.5 says 512
MAX_REPLY = 64 << 10
MAX_WAITING = 4 << 20  # replies to a pipelined group that nobody has looked at yet
_DSN = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")
_SPLIT = re.compile(r"4\.3\.0[ -].*multiple destination domains", re.IGNORECASE)


class Broken(Exception):
    """The connection is gone, or what comes over it is no SMTP; the text says what happened."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its code, and its lines without codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        return " ".join(line for line in self.lines if line)[:1000]

    @property
    def wants_split(self) -> bool:
        """Gmail: recipients of several domains in one mail."""
        return self.code == 451 and _SPLIT.search(self.text) is not None

    def error(self, dsn: str = "0.0", *, code: int | None = None) -> MailError:
        """As what relay works with. `dsn` (subject.detail) counts when the server gave no enhanced code."""
        number = code or self.code
        kind = number // 100 if number // 100 in (2, 4, 5) else 4
        text, found = self.text, _DSN.match(self.text)
        if found and int(found[1]) == kind:
            # a code in front of each line: once is enough
            status = found[0].strip()
            text = " ".join(line.removeprefix(status).strip() for line in self.lines).strip()[:1000]
        else:
            status = f"{kind}.{dsn}"
        if kind == 2:
            return MailError(number, status, text)
        return (Permanent if kind == 5 else Temporary)(text, number if kind in (4, 5) else 451, status)


class Wire(asyncio.Protocol):
    """One connection. `send` writes, `reply` waits for the next reply."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.broken: str | None = None
        self.expected = 1  # replies that may come: the greeting is the first
        self._buffer = b""
        self._lines: list[str] = []
        self._size = 0
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self.gone = asyncio.Event()  # set when the connection is closed for good

    # the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.broken is not None:
            return
        buffer = self._buffer + data if self._buffer else data
        *lines, self._buffer = buffer.split(b"\n")
        for line in lines:
            self._line(line)
            if self.broken is not None:
                return
        if len(self._buffer) > MAX_LINE:
            self.fail("the server sends a line without end")
        elif self._waiter is not None and not self._waiter.done() and len(self._replies) >= self._wanted:
            self._waiter.set_result(None)

    def _line(self, raw: bytes) -> None:
        line = raw.rstrip(b"\r")
        self._size += len(line)
        code = line[:3]
        if len(line) > MAX_LINE or self._size > MAX_REPLY or not code.isdigit() or line[3:4] not in (b" ", b"-", b""):
            shown = line[:60].decode("ascii", "replace")
            self.fail(f"the server does not speak SMTP: {printable.line(shown)!r}" if len(line) <= MAX_LINE
                      else "the server sends endless replies")
            return
        self._lines.append(printable.line(line[4:].decode("utf-8", "replace")))
        if line[3:4] == b"-":
            return
        reply = Reply(int(code), tuple(self._lines))
        self._lines.clear()
        self._size = 0
        if self.expected <= 0:
            # 421 may come at any time (RFC 5321 §3.8); it is known when the next command finds us closed
            self.fail(f"the server said {reply.code} {reply.text[:200]}" if reply.code == 421
                      else "the server spoke without being asked")
            return
        self.expected -= 1
        self._replies.append(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()
        self.fail(f"the connection was lost: {error}" if error else "the server closed the connection")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # the client's side

    def fail(self, why: str) -> None:
        """Nothing more comes or goes; whoever waits is told."""
        if self.broken is None:
            self.broken = why
        if self.transport is not None:
            self.transport.abort()
        for future in (self._waiter, self._drained):
            if future is not None and not future.done():
                future.set_result(None)

    def send(self, data: bytes, replies: int = 1) -> None:
        """Write commands that `replies` replies answer. Broken."""
        if self.broken is not None:
            raise Broken(self.broken)
        assert self.transport is not None
        self.expected += replies
        self.transport.write(data)

    def expect(self, replies: int) -> None:
        """The server may answer before anything more is said."""
        self.expected += replies

    async def drain(self, seconds: float) -> None:
        """Wait until the server took most of what was written. Broken, also after `seconds`."""
        if not self._paused or self.broken is not None:
            return
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._drained
        except TimeoutError:
            self.fail("the server does not read on")
        finally:
            self._drained = None
        if self.broken is not None:
            raise Broken(self.broken)

    async def gather(self, count: int, seconds: float) -> list[Reply]:
        """The next `count` replies, within `seconds`. Broken; what came before that is in `take`."""
        if len(self._replies) < count:
            await self._wait(count, seconds)
        return [self._replies.popleft() for _ in range(count)]

    async def _wait(self, count: int, seconds: float) -> None:
        if self.broken is None:
            loop = asyncio.get_running_loop()
            self._wanted, self._waiter = count, loop.create_future()
            timer = loop.call_later(seconds, self._late)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        if len(self._replies) < count:
            raise Broken(self.broken or "no answer")

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self.fail("the server does not answer in time")

    async def reply(self, seconds: float) -> Reply:
        """The next reply."""
        return (await self.gather(1, seconds))[0]

    def take(self) -> list[Reply]:
        """The replies that are there already."""
        there = list(self._replies)
        self._replies.clear()
        return there

    async def start_tls(self, context: ssl.SSLContext, name: str, seconds: float) -> ssl.SSLObject:
        """The handshake, after STARTTLS was answered or at once. Broken, OSError (ssl.SSLError), TimeoutError."""
        # RFC 3207 §6: what came in clear behind the 220 was put there by somebody on the way
        if self._buffer or self._lines or self._replies:
            self.fail("the server sent something in clear behind STARTTLS")
        if self.broken is not None:
            raise Broken(self.broken)
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        made = await loop.start_tls(self.transport, self, context, server_hostname=name, ssl_handshake_timeout=seconds)
        if made is None:
            raise Broken(self.broken or "the server closed the connection")
        self.transport = made
        return cast(ssl.SSLObject, made.get_extra_info("ssl_object"))

    def close(self) -> None:
        """Say QUIT, if there is anybody, and do not wait for the answer."""
        if self.broken is None and self.transport is not None:
            self.expected += 1
            self.transport.write(b"QUIT\r\n")
            self.transport.close()
            self.broken = "closed"

    async def see_closed(self, seconds: float = 1.0) -> None:
        """Wait after `close` until all is said and the connection is down; not for long."""
        try:
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        except TimeoutError:
            if self.transport is not None:
                self.transport.abort()
            await asyncio.sleep(0)
