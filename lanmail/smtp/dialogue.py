"""The dialogue: lines and message text out of what was received, verbs that are run, answers that are owed.

A verb is a method `smtp_VERB`, as in aiosmtpd. Every complete command of a piece is run at once, and all are answered
in one write (RFC 2920). A verb that has to wait calls `hold`, and commands rest until `release`; at most AHEAD octets
and one read are kept meanwhile, then the socket is not read.
"""

import asyncio
import re
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, ClassVar

from lanmail import log, sockets
from lanmail.errors import MailError, Permanent
from lanmail.smtp import limits
from lanmail.smtp.connection import Connection

if TYPE_CHECKING:
    from lanmail.smtp.service import Service

AHEAD = 64 << 10
_LONGEST_REPLY = 500  # RFC 5321 §4.5.3.1.5: 512 with CRLF

_control = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
# a browser that was led here (cross-protocol attacks); Postfix's smtpd_forbidden_commands and more
_FOREIGN = frozenset(b"GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PROXY".split())
_TLS_HANDSHAKE = b"\x16\x03"


class Dialogue(Connection):
    """Commands and answers. Subclasses have the verbs."""

    slow = frozenset({b"AUTH", b"STARTTLS"})  # verbs that really wait; all others must not
    verbs: ClassVar[dict[bytes, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.verbs = {name[5:].encode(): name for name in dir(cls) if name.startswith("smtp_")}

    def __init__(self, service: "Service", listener: sockets.Listener, proxied_for: str = "") -> None:
        super().__init__(service, listener, proxied_for)
        self.strikes = limits.Strikes()
        self.verb = b"connect"
        self.ahead = False  # the client sent more before it saw the answer to this line
        self._input = b""
        self._held = False
        self._penalty = False  # the answer waits: too many errors
        self._working = False
        self._skipping = False  # inside a line that is too long
        self._line: asyncio.Future[bytes] | None = None

    # what a subclass adds

    def text_wanted(self) -> bool:
        """True inside a message."""
        raise NotImplementedError

    def text_received(self, text: bytes) -> int:
        """Message text; how many octets of it were taken."""
        raise NotImplementedError

    def overdue(self, now: float) -> str | None:
        """Why the client has taken too long."""
        raise NotImplementedError

    def between_mails(self) -> bool:
        """True when nothing is lost by closing now."""
        raise NotImplementedError

    # what was received

    def received(self, data: bytes) -> None:
        if self._held or self.full:
            self._input += data
            if len(self._input) >= AHEAD:
                self.stop_reading()
            return
        self._work(self._input + data if self._input else data)

    def busy(self) -> bool:
        return self._held

    def gone(self) -> None:
        self._input = b""
        if self._line is not None:
            self._line.cancel()

    def _work(self, data: bytes) -> None:
        """Everything that can be done with `data`."""
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
                self.stop_reading()
        if (self._penalty or not self.flush()) and self.wire is not None:
            self.wire.acknowledge()
        if self.service.stopping:
            self.stop()

    def _unfinished(self, data: bytes, at: int) -> int:
        """A line whose end has not come: kept while it is not too long, else skipped up to its end."""
        if self._skipping or self._too_long(len(data) - at, data[at : at + 5]):
            self._skipping = True
            return len(data)
        return at

    def _too_long(self, size: int, start: bytes) -> bool:
        smtpd = self.service.smtpd
        if size <= smtpd.max_line:
            return False
        return size > smtpd.max_auth_line or (self._line is None and start.upper() != b"AUTH ")

    def _command(self, line: bytes) -> None:
        if self._skipping or self._too_long(len(line), line[:5]):
            self._skipping = False
            self._bad_line(Permanent("Line too long", 500, "5.5.6"))
        elif not line.endswith(b"\r"):
            # RFC 5321 §2.3.8; a command that ends otherwise is how one dialogue is smuggled into another
            self._bad_line(Permanent("Lines must end in CRLF", 500, "5.5.2"))
        elif self._line is not None:
            waiter, self._line = self._line, None
            self.hold()
            waiter.set_result(line[:-1])
        else:
            verb, _, rest = line[:-1].partition(b" ")
            self.verb = verb = verb.upper()
            name = self.verbs.get(verb)
            if name is None:
                self._unknown(verb)
            elif _control(rest):
                self.refuse("500 5.5.2 Control characters in a command")
            else:
                self._run(verb, name, rest)

    def _bad_line(self, error: MailError) -> None:
        if self._line is None:
            self.verb = b""
            self.refuse(str(error))
            return
        waiter, self._line = self._line, None
        self.hold()
        waiter.set_exception(error)

    def _unknown(self, verb: bytes) -> None:
        if verb in _FOREIGN or verb.startswith(_TLS_HANDSHAKE):
            self.log_refusal("not SMTP")
            self.finish("421 4.7.0 This is a mail server, good bye" if verb in _FOREIGN else "")
        else:
            self.refuse("500 5.5.1 Command not recognized")

    # running a verb

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

    async def next_line(self) -> bytes:
        """The next line as it is, for a verb that asks something (AUTH). Raises MailError for a bad one."""
        line: asyncio.Future[bytes] = self.loop.create_future()
        self._line = line
        self.release()
        return await line

    def forget_input(self) -> None:
        """What was sent in the clear before TLS is no part of what comes after it (CVE-2011-0411)."""
        self._input = b""

    def hold(self) -> None:
        """Let commands rest until `release`."""
        self._held = True

    def release(self) -> None:
        """Go on with what the client has sent."""
        if self._held and not self._penalty:
            self._held = False
            self.heard = self.loop.time()
            self.go_on()

    def go_on(self) -> None:
        if self.closing or self._held or self.full or self._working:
            return
        self.resume_reading()
        self._work(self._input)
        if self.eof and not self._held and not self.closing:
            self.quit()

    # refusing, and losing patience

    def refuse(self, line: str) -> None:
        """Answer no: counted, delayed when there are many, and in the end the client is sent away."""
        self.log_refusal(line)
        self.reply(line.encode("ascii", "backslashreplace")[:_LONGEST_REPLY])
        smtpd, strikes = self.service.smtpd, self.strikes
        strikes.errors += 1
        if strikes.errors >= smtpd.max_errors:
            self.finish(f"421 4.7.0 {self.service.hostname} Too many errors")
        elif strikes.errors >= smtpd.error_delay_after and not self._penalty:
            self._penalty = True
            self.hold()
            self.loop.call_later(smtpd.error_delay, self._penalty_over)

    def _penalty_over(self) -> None:
        self._penalty = False
        self.release()

    def check_time(self, now: float) -> None:
        if self.closing:
            self.linger(now)
        elif not self.shaking and (not self._held or self.full):  # else it is we who take the time
            reason = self.overdue(now)
            if reason:
                self.log_refusal(reason)
                self.finish(f"421 4.4.2 {self.service.hostname} {reason}")

    def stop(self, *, now: bool = False) -> None:
        self._leave(f"421 4.3.2 {self.service.hostname} Shutting down", now)

    def login_ended(self, now: bool) -> None:
        """The account was disabled, or the token taken back."""
        self._leave(f"421 4.7.0 {self.service.hostname} Your log-in has ended", now)

    def _leave(self, words: str, now: bool) -> None:
        if not self.closing and (now or (not self._held and self.between_mails())):
            self.finish(words)
