"""A connection: bytes in, lines and message text out; replies, time-outs, TLS. The verbs are in `session`.

The class is an aiosmtpd SMTP: the verbs are its methods `smtp_VERB`, found by name. Its way of moving bytes is replaced
whole, because there it costs a task, a stream reader and a pass over every attribute for each connection, and a
coroutine step for each line. Here `data_received` runs every complete command of a piece at once and answers all of
them in one write (RFC 2920). A verb that has to wait calls `hold`, and commands rest until `release`.

What bounds memory: at most AHEAD octets are kept while commands rest (then the socket is not read), a line has a limit,
and when the client does not read its answers, neither do we read it.
"""

import asyncio
import re
import socket
import ssl
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar

from aiosmtpd import smtp

from lanmail import log, sockets
from lanmail.errors import MailError, Permanent
from lanmail.smtp import limits, policy

if TYPE_CHECKING:
    from lanmail.smtp.service import Service

AHEAD = 64 << 10
LINGER = 2.0  # seconds that a client has to read our last words while it is still sending
RATE_WINDOW = 60.0  # seconds over which a message must make data_min_rate

_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
# a browser or a TLS client that was led here (cross-protocol attacks); Postfix's smtpd_forbidden_commands and more
_FOREIGN = frozenset(b"GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PROXY".split())


class Connection(smtp.SMTP):
    """One client. Subclasses have the verbs."""

    slow = frozenset({b"AUTH", b"STARTTLS"})  # verbs that really wait; all others must not
    verbs: ClassVar[dict[bytes, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.verbs = {name[5:].encode(): name for name in dir(cls) if name.startswith("smtp_")}

    def __init__(self, service: "Service", listener: sockets.Listener, client: str = "") -> None:
        # not super().__init__(): what it sets up is not used, and it takes longer than a whole mail
        self.service = service
        self.listener = listener
        self.kind = listener.kind
        self.loop = service.loop
        self.client = client  # known before when a proxy told it
        self.strikes = limits.Strikes()
        self.tls: ssl.SSLObject | None = None
        self.lan = False
        self.closing = False
        self.ahead = False  # the client sent more before it saw the answer to this line
        self.heard = self.loop.time()
        self._transport: Any = None
        self._socket: socket.socket | None = None
        self._input = b""
        self._out: list[bytes] = []
        self._held = False
        self._penalty = False  # the answer waits: too many errors
        self._working = False
        self._reading_stopped = False
        self._full = False  # the client does not read our replies
        self._skipping = False  # inside a line that is too long
        self._eof = False
        self._counted = False
        self._line: asyncio.Future[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    # what the subclass adds

    def greet(self) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything the client said (RFC 3207 §4.2)."""
        raise NotImplementedError

    def text_wanted(self) -> bool:
        """True inside a message."""
        raise NotImplementedError

    def text_received(self, data: bytes) -> int:
        """Message text; how many octets of it were taken."""
        raise NotImplementedError

    def gone(self) -> None:
        """The connection has ended."""
        raise NotImplementedError

    def overdue(self, now: float) -> str | None:
        """Why the client has taken too long."""
        raise NotImplementedError

    def between_mails(self) -> bool:
        """True when nothing is lost by closing now."""
        raise NotImplementedError

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.transport = transport
        pseudo = transport.get_extra_info("socket")
        peer = transport.get_extra_info("peername")
        if not self.client:
            self.client = peer[0] if isinstance(peer, tuple) else "local"
            if policy.within(self.client, self.service.proxy_networks):
                self.service.proxied(transport, self.client, self.listener)
                return
        if pseudo is not None:
            self._socket = socket.socket(pseudo.family, pseudo.type, pseudo.proto, fileno=pseudo.fileno())
        service = self.service
        self.tls = transport.get_extra_info("ssl_object")
        self.lan = self.kind in (policy.LAN, policy.MX) and policy.within(self.client, service.lan_networks)
        service.sessions.add(self)
        self._counted = True
        too_many = service.gate.admit(self.client, service.smtpd, service.most_connections)
        if too_many:
            log.rejected(stage="connect", client=self.client, reply=too_many)
            if self.listener.tls and self.tls is None:
                self.finish("")  # plain words would be no TLS
            else:
                self.finish(f"421 4.7.0 {service.hostname} {too_many}")
        elif service.stopping:
            self.finish(f"421 4.3.2 {service.hostname} Shutting down")
        elif self.listener.tls and self.tls is None:
            self.hold()
            self.loop.call_soon(self._start_implicit_tls)
        else:
            self._greet()

    def data_received(self, data: bytes) -> None:
        self._acknowledge()
        self.heard = self.loop.time()
        if self.closing:
            return
        if self._held or self._full:
            self._input += data
            if len(self._input) >= AHEAD:
                self._stop_reading()
            return
        self._work(self._input + data if self._input else data)

    def eof_received(self) -> bool:
        self._eof = True
        return self._held and not self.closing and self.tls is None  # an answer is due: keep our side open

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        self._transport = self.transport = None
        if self._socket is not None:
            self._socket.detach()
            self._socket = None
        if self._line is not None:
            self._line.cancel()
        if self._task is not None:
            self._task.cancel()
        self._input = b""
        if self._counted:
            self._counted = False
            self.service.gate.leave(self.client)
            self.service.left(self)
            self.gone()

    def pause_writing(self) -> None:
        self._full = True
        self._stop_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._go_on()

    # replies

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's name for `reply`."""
        self.reply(status if isinstance(status, bytes) else status.encode())

    def reply(self, line: bytes) -> None:
        """Answer; it is sent when all commands at hand are done."""
        self._out.append(line)

    def refuse(self, line: str) -> None:
        """Answer no: counted, delayed when there are many, and in the end the client is sent away."""
        self.reply(line.encode("utf-8", "replace"))
        smtpd, strikes = self.service.smtpd, self.strikes
        strikes.errors += 1
        if strikes.errors >= smtpd.max_errors:
            log.rejected(stage="session", client=self.client, reply="too many errors")
            self.finish(f"421 4.7.0 {self.service.hostname} Too many errors")
        elif strikes.errors >= smtpd.error_delay_after and not self._penalty:
            self._penalty = True
            self.hold()
            self.loop.call_later(smtpd.error_delay, self._penalty_over)

    def _penalty_over(self) -> None:
        self._penalty = False
        self.release()

    def finish(self, last_words: str) -> None:
        """Say this and close. A client that is still sending gets some time to read it: closing a socket with
        unread octets makes the kernel send a reset, which takes our words away again."""
        if last_words:
            self.reply(last_words.encode())
        self._flush()
        self.closing = True
        self._input = b""
        transport = self._transport
        if transport is None:
            return
        if self.tls is not None or self._eof:
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the client is gone already
            transport.abort()
            return
        self._resume_reading()
        self.loop.call_later(LINGER, transport.close)

    def quit(self) -> None:
        """Close after the replies so far; the client wished it so."""
        self._flush()
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        out = self._out
        if out and self._transport is not None:
            out.append(b"")
            self._transport.write(b"\r\n".join(out))
        out.clear()

    # commands

    def hold(self) -> None:
        """Let commands rest until `release`."""
        self._held = True

    def release(self) -> None:
        """Go on with what the client has sent."""
        if self._held and not self._penalty:
            self._held = False
            self.heard = self.loop.time()
            self._go_on()

    def _go_on(self) -> None:
        if self.closing or self._held or self._full or self._working:
            return
        self._resume_reading()
        self._work(self._input)
        if self._eof and not self._held and not self.closing:
            self.quit()

    def _work(self, data: bytes) -> None:
        """Everything that can be done with what was received."""
        self._input = b""
        self._working = True
        at, size = 0, len(data)
        while at < size and not self._held and not self.closing:
            if self.text_wanted():
                at += self.text_received(data[at:] if at else data)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                at = self._unfinished(data, at)
                break
            self.ahead = end + 1 < size
            line, at = data[at:end], end + 1
            self._command(line)
        self._working = False
        if at < size and not self.closing:
            self._input = data[at:] if at else data
            if len(self._input) >= AHEAD:
                self._stop_reading()
        if self._out and not self._penalty:
            self._flush()
        if not self._held and not self.closing and self.service.stopping and self.between_mails():
            self.stop()

    def _unfinished(self, data: bytes, at: int) -> int:
        """A line whose end has not come: kept while it is not too long, else skipped up to its end."""
        if len(data) - at > self._line_limit(data[at : at + 5]) or self._skipping:
            self._skipping = True
            return len(data)
        return at

    def _line_limit(self, start: bytes) -> int:
        smtpd = self.service.smtpd
        return smtpd.max_auth_line if self._line is not None or start.upper() == b"AUTH " else smtpd.max_line

    def _command(self, line: bytes) -> None:
        if self._skipping or len(line) > self._line_limit(line[:5]):
            self._skipping = False
            self._bad_line(Permanent("Line too long", 500, "5.5.6"))
            return
        if not line.endswith(b"\r"):
            # RFC 5321 §2.3.8; a command that ends otherwise is how one dialogue is smuggled into another
            self._bad_line(Permanent("Lines must end in CRLF", 500, "5.5.2"))
            return
        line = line[:-1]
        if self._line is not None:
            waiter, self._line = self._line, None
            self.hold()
            waiter.set_result(line)
            return
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        name = self.verbs.get(verb)
        if name is None:
            self._unknown(verb)
        elif _control(line):
            self.refuse("500 5.5.2 Control characters in a command")
        else:
            self._run(verb, name, rest)

    def _run(self, verb: bytes, name: str, rest: bytes) -> None:
        try:
            arg = rest.strip(b" \t").decode()
        except UnicodeDecodeError:
            self.refuse("500 5.5.2 Commands are ASCII or UTF-8")
            return
        work: Coroutine[Any, Any, None] = getattr(self, name)(arg)
        if verb in self.slow:
            self.hold()
            self._task = self.loop.create_task(self._run_slow(work))
            return
        try:
            work.send(None)
        except StopIteration:
            return
        except MailError as error:
            self.refuse(str(error))
        except Exception as error:
            self._bug(error)
        else:
            work.close()
            raise RuntimeError(f"{name} waits: it belongs into `slow`")

    async def _run_slow(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except MailError as error:
            self.refuse(str(error))
        except Exception as error:
            self._bug(error)
        self._task = None
        self.release()

    def _bug(self, error: Exception) -> None:
        """Nobody classified it: temporary for the client, a line in the log for us."""
        log.crashed(error=repr(error), where="".join(traceback.format_exception(error)))
        self.refuse("451 4.3.0 Internal error, try again later")

    def _unknown(self, verb: bytes) -> None:
        if verb in _FOREIGN or verb[:2] == b"\x16\x03":
            log.rejected(stage="command", client=self.client, reply="not SMTP")
            self.finish("" if verb[:1] == b"\x16" else "421 4.7.0 This is a mail server, good bye")
        else:
            self.refuse("500 5.5.1 Command not recognized")

    async def next_line(self) -> bytes:
        """The next line as it is, for a verb that asks something (AUTH)."""
        self._line = self.loop.create_future()
        line = self._line
        self.release()
        return await line

    def _bad_line(self, error: MailError) -> None:
        if self._line is None:
            self.refuse(str(error))
            return
        waiter, self._line = self._line, None
        self.hold()
        waiter.set_exception(error)

    # TLS

    def _greet(self) -> None:
        self.greet()
        self._flush()

    def _start_implicit_tls(self) -> None:
        if self._transport is not None and not self.closing:
            self._stop_reading()
            self._task = self.loop.create_task(self._implicit_tls())

    async def _implicit_tls(self) -> None:
        if await self.start_tls():
            self._held = False
            self._greet()
            self._go_on()

    async def start_tls(self) -> bool:
        """The handshake; False when it failed and the connection is gone."""
        self._stop_reading()
        self._flush()
        self._input = b""  # what was sent in the clear before is no part of what comes now (CVE-2011-0411)
        if self._transport is None:
            return False
        try:
            transport = await self.loop.start_tls(
                self._transport, self, self.service.tls_context(self.kind), server_side=True,
                ssl_handshake_timeout=self.service.smtpd.greeting_timeout,
            )
        except (OSError, EOFError) as error:
            log.tls_failed(client=self.client, service="smtp", error=str(error))
            if self._transport is not None:
                self._transport.abort()
                self.connection_lost(error)  # nobody else tells us while there is no TLS
            return False
        if transport is None or self._transport is None:
            return False
        self._transport = self.transport = transport
        self.tls = transport.get_extra_info("ssl_object")
        self._reading_stopped = False
        self.reset()
        return True

    # flow and time

    def _acknowledge(self) -> None:
        """Without it a client that sends small packets waits 40 ms for an ACK; the kernel forgets it, so each time."""
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _stop_reading(self) -> None:
        if not self._reading_stopped and self._transport is not None:
            self._reading_stopped = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_stopped and self._transport is not None:
            self._reading_stopped = False
            self._transport.resume_reading()

    def check_time(self, now: float) -> None:
        """Called every second."""
        if self.closing or (self._held and self._line is None and not self._full):
            return
        reason = self.overdue(now)
        if reason:
            log.rejected(stage="timeout", client=self.client, reply=reason)
            self.finish(f"421 4.4.2 {self.service.hostname} {reason}")

    def stop(self) -> None:
        """The server stops: go now, or after the mail that is under way."""
        if not self.closing and not self._held and self.between_mails():
            self.finish(f"421 4.3.2 {self.service.hostname} Shutting down")
