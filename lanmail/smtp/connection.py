"""A connection: octets in and out, TLS, closing. What the octets mean is in `dialogue`.

The class is an aiosmtpd SMTP, but its way of moving octets is replaced whole: there a connection costs a task, a stream
reader and a pass over every attribute, and each line a step of a coroutine.

A client that does not read our answers is not read either, so neither its octets nor ours pile up here.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from aiosmtpd import smtp

from lanmail import log, policy, proxy, sockets
from lanmail.smtp import tcp
from lanmail.smtp.client import Client

if TYPE_CHECKING:
    from lanmail.smtp.service import Service

LINGER = 2.0  # seconds that a client has to read our last words


class Connection(smtp.SMTP):
    """One client. Subclasses say what is done with its octets."""

    lmtp = False

    def __init__(self, service: "Service", listener: sockets.Listener, proxied_for: str = "") -> None:
        # not super().__init__(): what it sets up is not used, and it takes longer than a whole mail
        self.service = service
        self.listener = listener
        self.loop = service.loop
        self.client = Client(proxied_for, listener.kind, service.hostname, lmtp=self.lmtp)
        self.heard = self.loop.time()
        self.closing = False
        self.eof = False
        self.shaking = False  # the TLS handshake is under way, and has a time-out of its own
        self.full = False  # the client does not read our replies
        self.wire: tcp.Wire | None = None
        self._closed_at = 0.0
        self._transport: Any = None
        self._out: list[bytes] = []
        self._reading = True
        self._counted = False
        self._task: asyncio.Task[None] | None = None

    # what a subclass adds

    def greet(self) -> None:
        """The client is there: say 220, or why not."""
        raise NotImplementedError

    def received(self, data: bytes) -> None:
        """Octets have come."""
        raise NotImplementedError

    def go_on(self) -> None:
        """The way to the client is free again: do what had to wait."""
        raise NotImplementedError

    def busy(self) -> bool:
        """True while we owe an answer that takes time."""
        raise NotImplementedError

    def gone(self) -> None:
        """The connection has ended."""
        raise NotImplementedError

    def check_time(self, now: float) -> None:
        """Called every second."""
        raise NotImplementedError

    def stop(self, *, now: bool = False) -> None:
        """The server stops: go now, or after the mail that is under way."""
        raise NotImplementedError

    def log_refusal(self, reply: str) -> None:
        """Tell the log what was refused to whom."""
        raise NotImplementedError

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        service, client = self.service, self.client
        if self.shaking:
            self._secured()
            return
        if not client.address:
            peer = transport.get_extra_info("peername")
            client.address = peer[0] if isinstance(peer, tuple) else "local"
            if policy.within(client.address, service.proxy_networks):
                service.proxied(transport, client.address, self.listener)
                return
        client.tls = transport.get_extra_info("ssl_object")
        client.lan = client.kind in (policy.LAN, policy.MX) and policy.within(client.address, service.lan_networks)
        service.sessions.add(self)
        self._counted = True
        too_many = service.gate.admit(client.address, service.smtpd, service.most_connections)
        if too_many or service.stopping:
            words = f"421 4.7.0 {service.hostname} {too_many}" if too_many else f"421 4.3.2 {service.hostname} Stopping"
            self.log_refusal(words)
            self.finish(words)
        elif self._needs_tls():
            self._begin_with_tls(transport)
        else:
            self.wire = tcp.Wire(transport)
            self._greet()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        if not self.closing:
            self.received(data)

    def eof_received(self) -> bool:
        self.eof = True
        return self.busy() and not self.closing and self.client.tls is None  # keep our side open for the answer

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._transport = None
        if self.wire is not None:
            self.wire.let_go()
            self.wire = None
        if self._task is not None:
            self._task.cancel()
        if self._counted:
            self._counted = False
            self.service.gate.leave(self.client.address)
            self.service.left(self)
            self.gone()

    def pause_writing(self) -> None:
        self.full = True
        self.stop_reading()

    def resume_writing(self) -> None:
        self.full = False
        self.go_on()

    # saying something

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's name for `reply`."""
        self.reply(status if isinstance(status, bytes) else status.encode())

    def reply(self, line: bytes) -> None:
        """Answer; sent by `flush` when all commands at hand are done. Nothing follows our last words."""
        if not self.closing:
            self._out.append(line)

    def flush(self) -> bool:
        """Send the replies; False when there were none."""
        out = self._out
        if not out:
            return False
        if self._transport is not None:
            out.append(b"")
            self._transport.write(b"\r\n".join(out))
        out.clear()
        return True

    def finish(self, last_words: str) -> None:
        """Say this and close. A client that is still sending gets some time to read it: closing a socket with
        unread octets makes the kernel send a reset, which takes our words away again."""
        if last_words and not self._needs_tls():
            self.reply(last_words.encode())
        if self.client.tls is not None or self.eof:
            self.quit()
            return
        self._close()
        if self._transport is not None:
            try:
                self._transport.write_eof()
            except OSError:  # the client is gone already
                self._transport.abort()
            else:
                self.resume_reading()

    def quit(self) -> None:
        """Close after the replies so far; the client wished it so."""
        self._close()
        if self._transport is not None:
            self._transport.close()

    def _close(self) -> None:
        self.flush()
        self.closing = True
        self._closed_at = self.loop.time()
        if self._transport is None and self._task is not None:
            self._task.cancel()  # a handshake on the bare socket

    def linger(self, now: float) -> None:
        """Called while closing: end a connection that the client does not end, or whose last words it never reads."""
        if now - self._closed_at > LINGER and self._transport is not None:
            self._transport.abort()

    def stop_reading(self) -> None:
        """Leave what comes to the kernel, whose full buffer tells the client to wait."""
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    # TLS

    def _needs_tls(self) -> bool:
        """True before the handshake on a port that begins with it: plain words would be none."""
        return self.listener.tls and self.client.tls is None

    def _greet(self) -> None:
        self.greet()
        self.flush()

    def _begin_with_tls(self, transport: asyncio.BaseTransport) -> None:
        """A transport reads as soon as this callback is over (uvloop's in any case), and a quick client has said its
        ClientHello already: so TLS begins on the bare socket."""
        self._transport = None
        self.shaking = True
        transport.set_protocol(asyncio.Protocol())
        self._task = self.loop.create_task(self._implicit_tls(proxy.take_over(transport)))

    async def _implicit_tls(self, one: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(
                lambda: self, one, ssl=self.service.tls_context(self.client.kind),
                ssl_handshake_timeout=self.service.smtpd.greeting_timeout,
            )
        except (OSError, EOFError, asyncio.CancelledError) as error:
            log.tls_failed(client=self.client.address, service="smtp", error=str(error))
            one.close()
            self._task = None
            self.connection_lost(None)  # nobody else tells us while there is no TLS

    def _secured(self) -> None:
        """The handshake on the bare socket has succeeded."""
        self.shaking = False
        self.wire = tcp.Wire(self._transport)
        self.client.secured(self._transport.get_extra_info("ssl_object"))
        self._greet()

    async def start_tls(self) -> bool:
        """The handshake; False when it failed and the connection is gone."""
        self.flush()
        if self._transport is None:
            return False
        self.shaking = True
        self.stop_reading()
        try:
            transport = await self.loop.start_tls(
                self._transport, self, self.service.tls_context(self.client.kind), server_side=True,
                ssl_handshake_timeout=self.service.smtpd.greeting_timeout,
            )
        except (OSError, EOFError) as error:
            log.tls_failed(client=self.client.address, service="smtp", error=str(error))
            if self._transport is not None:
                self._transport.abort()
                self.connection_lost(None)  # nobody else tells us while there is no TLS
            return False
        if transport is None or self._transport is None:
            return False
        self._transport = transport
        self._reading = True
        self.shaking = False
        self.client.secured(transport.get_extra_info("ssl_object"))
        return True
