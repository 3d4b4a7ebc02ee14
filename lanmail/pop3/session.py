"""A POP3 session: greeting, CAPA, STLS, log-in (RFC 1939, 2449, 2595, 3206, 5034, 6856), then lanmail.pop3.transaction.

Each answer of a refused log-in is the same whatever was wrong. Nothing a client sends before its log-in is logged but
the user name.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable

from lanmail import errors, log, maildir, sasl, sockets
from lanmail.folders import folder, folderpool
from lanmail.pop3 import maildrop, transaction
from lanmail.pop3.connection import Connection
from lanmail.pop3.service import Service
from lanmail.settings import Account

LOCK_STEP = 0.05


class Session(Connection):
    """One client. `implicit`: TLS from the first byte."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, *, implicit: bool, client: str = "") -> None:
        limits = service.settings.pop3d
        super().__init__(loop, max_line=limits.max_line, timeout=limits.login_timeout, client=client)
        self.deadline = loop.time() + limits.login_timeout
        self.service = service
        self.limits = limits
        self.account: Account | None = None
        self.transaction: transaction.Transaction | None = None
        self._implicit = implicit
        self._user: bytes | None = None
        self._asked: Callable[[bytes], None] | None = None  # takes the next line, which is an answer and no command
        self._errors = 0
        self._failed = 0
        self._lock: int | None = None
        self._counted = False
        self._commands: dict[bytes, Callable[[bytes], None]] = {
            b"CAPA": self._capa, b"QUIT": self._quit, b"USER": self._user_, b"PASS": self._pass, b"AUTH": self._auth,
            b"STLS": self._stls, b"UTF8": self._utf8, b"NOOP": self._not_yet, b"STAT": self._not_yet,
        }

    # --- connection -------------------------------------------------------------------------------------------

    def opened(self) -> None:
        service, limits = self.service, self.limits
        service.came(self)
        service.waiting[self.client] += 1
        self._counted = True
        if (service.open > sockets.most_connections(limits.max_connections)
                or service.waiting[self.client] > limits.max_connections_per_client):
            self.send(b"-ERR [SYS/TEMP] Too many connections, try again later\r\n")
            self.close()
            return
        self.send(f"+OK {service.settings.server.hostname} POP3 ready\r\n".encode())

    def closed(self) -> None:
        if self._counted:
            self._leave_waiting()
        if self.account is not None:
            key = (self.account.name, self.client)
            self.service.users[key] -= 1
            if not self.service.users[key]:
                del self.service.users[key]
        if self.transaction is not None:
            self.transaction.leave()
        self.unlock()
        self.service.gone(self)

    def _leave_waiting(self) -> None:
        if self.account is None:
            self.service.waiting[self.client] -= 1
            if not self.service.waiting[self.client]:
                del self.service.waiting[self.client]

    def unlock(self) -> None:
        """Let another session have the mailbox."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def timed_out(self) -> None:
        # RFC 1939 §3: closed without a response and without entering the UPDATE state
        if self.account is None:
            self.send(b"-ERR [SYS/TEMP] Took too long to log in\r\n")

    def too_long(self) -> None:
        self.send(b"-ERR Line too long\r\n")

    def line(self, line: bytes) -> None:
        if self._asked is not None:
            taker, self._asked = self._asked, None
            taker(line)
            return
        verb, _, argument = line.partition(b" ")
        commands = self._commands
        command = commands.get(verb) or commands.get(verb.upper())
        if command is None:
            self.wrong(b"-ERR Unknown command\r\n")
        else:
            command(argument)

    def wrong(self, answer: bytes) -> None:
        """A mistake of the client; after too many in a row it has to go."""
        self._errors += 1
        self.send(answer)
        if self._errors >= self.limits.max_errors or (self.account is None and self._errors >= 5):
            self.send(b"-ERR Too many errors\r\n")
            self.close()

    def right(self) -> None:
        """A command that made sense."""
        self._errors = 0

    # --- AUTHORIZATION ----------------------------------------------------------------------------------------

    def _capa(self, _argument: bytes) -> None:
        names = ["TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE", "UTF8 USER", "IMPLEMENTATION lanmail"]
        if self.tls is None and not self._implicit and self.account is None and self.service.tls_context():
            names.append("STLS")
        mechanisms = self.service.checker.mechanisms(secure=self._may_log_in())
        if mechanisms:
            names += ["USER", f"SASL {' '.join(mechanisms)}"]
        hidden = {name.upper() for name in self.limits.hide_capabilities}
        if self.account is not None:
            hidden |= {name.upper() for name in self.account.hide_capabilities}
        shown = [name for name in names if name.partition(" ")[0] not in hidden]
        self.send("".join(f"{line}\r\n" for line in ("+OK Capabilities", *shown, ".")).encode())

    def _may_log_in(self) -> bool:
        return self.tls is not None or self.service.may_log_in_clear(self.client)

    def _quit(self, _argument: bytes) -> None:
        self.send(b"+OK Bye\r\n")
        self.close()

    def _not_yet(self, _argument: bytes) -> None:
        self.wrong(b"-ERR Log in first\r\n")

    def _stls(self, _argument: bytes) -> None:
        if self.tls is not None:
            return self.wrong(b"-ERR TLS is in use already\r\n")
        context = self.service.tls_context()
        if context is None:
            return self.wrong(b"-ERR [SYS/PERM] No certificate\r\n")
        self.send(b"+OK Begin TLS\r\n")
        self._user = None  # RFC 2595 §4: nothing learnt before TLS counts
        return self.work(self.start_tls(context))

    def _utf8(self, _argument: bytes) -> None:
        self.send(b"+OK UTF8 enabled\r\n")  # RFC 6856 §2.1: messages are sent as they are in either case

    def _user_(self, argument: bytes) -> None:
        if not self._may_log_in():
            return self._no_cleartext()
        if not argument:
            return self.wrong(b"-ERR USER needs a name\r\n")
        self._user = argument
        return self.send(b"+OK\r\n")

    def _pass(self, argument: bytes) -> None:
        if not self._may_log_in():
            return self._no_cleartext()
        if self._user is None:
            return self.wrong(b"-ERR USER first\r\n")
        user, self._user = self._user, None
        try:
            given = sasl.Credentials(sasl.text(user), sasl.text(argument), mechanism="USER")
        except sasl.BadResponse:
            return self.wrong(b"-ERR Malformed user name or password\r\n")
        return self.work(self._log_in(given))

    def _no_cleartext(self) -> None:
        # RFC 2595 §2.1; no [AUTH]: it is not the password that is wrong
        self.wrong(b"-ERR Use TLS first: passwords are not taken in clear text here\r\n")

    def _auth(self, argument: bytes) -> None:
        if not self._may_log_in():
            return self._no_cleartext()
        name, _, rest = argument.partition(b" ")
        mechanism = name.decode("ascii", "replace").upper()
        checker = self.service.checker
        offered = checker.mechanisms(secure=True)
        if not mechanism:  # older than RFC 5034, and some clients still ask so
            return self.send("".join(f"{line}\r\n" for line in ("+OK", *offered, ".")).encode())
        if mechanism not in offered:
            return self.wrong(b"-ERR Unknown authentication mechanism\r\n")
        try:
            exchange = sasl.start(mechanism, sasl.decode(rest) if rest else None, checker.keys)
        except errors.MailError as error:
            return self.wrong(f"-ERR {error.text}\r\n".encode())
        self.max_line = max(self.limits.max_line, sasl.MAX_LINE)
        return self._challenge(exchange)

    def _ask(self, challenge: bytes | None, taker: Callable[[bytes], None]) -> None:
        self._asked = taker
        self.send(b"+ ", sasl.encode(challenge), b"\r\n")

    def _challenge(self, exchange: sasl.Exchange) -> None:
        if exchange.credentials is None:
            return self._ask(exchange.challenge, functools.partial(self._respond, exchange))
        self.max_line = self.limits.max_line
        return self.work(self._log_in(exchange.credentials, exchange))

    def _respond(self, exchange: sasl.Exchange, line: bytes) -> None:
        try:
            if line == b"*":
                raise sasl.BadResponse("Authentication cancelled")
            exchange.respond(sasl.decode(line))
        except errors.MailError as error:
            self.max_line = self.limits.max_line
            return self.wrong(f"-ERR {error.text}\r\n".encode())
        return self._challenge(exchange)

    def _seen(self, account: Account, given: sasl.Credentials, line: bytes) -> None:
        """The client has seen our proof."""
        if line:
            return self.wrong(b"-ERR Authentication cancelled\r\n")
        return self.work(self._begin(account, given))

    async def _log_in(self, given: sasl.Credentials, exchange: sasl.Exchange | None = None) -> None:
        service = self.service
        try:
            account = await service.checker.login(given, client=self.client, service="pop3")
        except errors.MailError as error:
            answer = (b"[AUTH] Authentication failed" if isinstance(error, sasl.AuthFailed)  # RFC 3206
                      else b"[SYS/TEMP] " + error.text.encode())
            refuse = functools.partial(self._refused, given, getattr(error, "why", "") or error.text, answer)
            if exchange is not None and exchange.refusal is not None:  # RFC 7628 §3.2.3: whatever the client says to it
                self._ask(exchange.refusal, refuse)
            else:
                refuse()
            return
        if exchange is not None and exchange.success is not None:
            self._ask(exchange.success, functools.partial(self._seen, account, given))
            return
        await self._begin(account, given)

    async def _begin(self, account: Account, given: sasl.Credentials) -> None:
        """The mailbox of somebody who is let in."""
        service = self.service
        if service.users[account.name, self.client] >= self.limits.max_connections_per_user:
            self.send(b"-ERR [SYS/TEMP] Too many connections of this user\r\n")
            return
        try:
            if not await self._take_lock(account.name):
                log.login_failed(user=account.name, service="pop3", client=self.client, method=given.mechanism,
                                 reason="another session has the mailbox")
                self.send(b"-ERR [IN-USE] Another session has this mailbox open\r\n")
                return
            drop = await self._open(account.name)
        except OSError as error:
            self.unlock()
            log.folder_unusable(account=account.name, folder="INBOX", error=str(error))
            self.send(b"-ERR [SYS/TEMP] The mailbox cannot be opened\r\n")
            return
        self._enter(account, drop, given)

    def _refused(self, given: sasl.Credentials, why: str, answer: bytes, _line: bytes = b"") -> None:
        log.login_failed(user=given.user, service="pop3", client=self.client, method=given.mechanism, reason=why)
        self._failed += 1
        self.send(b"-ERR ", answer, b"\r\n")
        if self._failed >= self.limits.max_failed_logins:
            self.close()

    def _login_ended(self, now: bool) -> None:
        """The account was disabled, or the token taken back. Nothing that was marked is removed (RFC 1939 §6)."""
        if now:
            self.cut()
        else:
            self.finish()

    async def _take_lock(self, name: str) -> bool:
        # A client that lost its line and comes back is often quicker than the end of its old connection.
        self._lock = maildrop.lock(self.service.locks, name)
        until = self.loop.time() + self.limits.in_use_wait
        while self._lock is None and self.loop.time() < until and self.transport is not None:
            await asyncio.sleep(LOCK_STEP)
            self._lock = maildrop.lock(self.service.locks, name)
        return self._lock is not None

    async def _open(self, name: str) -> maildrop.Maildrop:
        root = self.service.mailbox(name)
        inbox = folderpool.get(root, root)
        snapshot = inbox.peek()
        if snapshot is not None and maildrop.is_listed(snapshot):
            return maildrop.Maildrop(inbox, snapshot)
        return await self.service.in_thread(_prepare_and_open, inbox)

    def _enter(self, account: Account, drop: maildrop.Maildrop, given: sasl.Credentials) -> None:
        if self.transport is None:  # gone while we looked
            self.unlock()
            return
        self._leave_waiting()
        self.account = account
        self.service.users[account.name, self.client] += 1
        self.timeout, self.deadline = self.limits.idle_timeout, float("inf")
        self._errors = 0
        self.service.sittings.began(self, account.name, given.standing, self._login_ended)
        log.login(account=account.name, service="pop3", client=self.client, method=given.mechanism, tls=self.tls)
        self.transaction = transaction.Transaction(self, account.name, drop)
        self._commands = {**self.transaction.commands, b"CAPA": self._capa}
        self.send(b"+OK Logged in\r\n")


def _prepare_and_open(inbox: folder.Folder) -> maildrop.Maildrop:
    with contextlib.suppress(FileExistsError):
        maildir.prepare(inbox.root)
    return maildrop.open_drop(inbox)
