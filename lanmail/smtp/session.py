"""The verbs of SMTP (RFC 5321), ESMTP and submission (RFC 6409).

Each `smtp_VERB` answers by `reply`, or raises a MailError, which is answered and counted as an error of the client.
None of them waits but AUTH and STARTTLS; the end of a message is answered when the spool has it on disk.
"""

import functools
from typing import TYPE_CHECKING

from aiosmtpd.smtp import syntax

from lanmail import acceptance, log, policy, sockets
from lanmail.address import Address
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.smtp import auth, data, hello, intake, parameters
from lanmail.smtp.dialogue import Dialogue
from lanmail.smtp.transaction import Transaction

if TYPE_CHECKING:
    from lanmail.smtp.service import Service

_RATE_WINDOW = 60.0  # seconds over which a message must make data_min_rate


class Session(Dialogue):
    """A client of one of the SMTP listeners."""

    def __init__(self, service: "Service", listener: sockets.Listener, proxied_for: str = "") -> None:
        super().__init__(service, listener, proxied_for)
        self.transaction: Transaction | None = None
        self._mails = 0
        self._rules: acceptance.Rules | None = None
        self._swallow = 0  # octets of a refused BDAT chunk

    def greet(self) -> None:
        client, hostname = self.client, self.service.hostname
        if client.kind == policy.LAN and not client.lan:
            self._turn_away(f"554 5.7.1 {hostname} Your address may not use this port")
        elif client.tls is None and self.wire is not None and self.wire.unread():
            # a spammer in a hurry, or a client of another protocol
            self._turn_away(f"554 5.5.0 {hostname} You spoke before the greeting")
        else:
            self.reply(f"220 {hostname} {'LMTP' if self.lmtp else 'ESMTP'} lanmail".encode())

    def _turn_away(self, words: str) -> None:
        self.log_refusal(words)
        self.finish(words)

    # greetings

    @syntax("HELO host")
    async def smtp_HELO(self, hostname: str) -> None:
        self._hello(hostname, esmtp=False)

    @syntax("EHLO host")
    async def smtp_EHLO(self, hostname: str) -> None:
        self._hello(hostname, esmtp=True)

    def _hello(self, hostname: str, *, esmtp: bool) -> None:
        if not hostname:
            raise Permanent("Who are you? Say EHLO with your name", 501, "5.5.4")
        if self.ahead and self.client.account is None and not self.client.lan and not self.lmtp:
            # RFC 2920 §3.1: nothing may follow EHLO in a group; who does not wait for us does not listen to us either
            self._turn_away("554 5.5.0 You did not wait for the answer")
            return
        self._drop_mail()
        self.client.hello(hostname, esmtp=esmtp)
        self._rules = None
        self.reply(hello.answer(self) if esmtp else b"250 " + self.service.hostname.encode())

    @syntax("STARTTLS")
    async def smtp_STARTTLS(self, arg: str) -> None:
        if arg:
            raise Permanent("STARTTLS takes no argument", 501, "5.5.4")
        if self.client.tls is not None:
            raise Permanent("TLS is on already", 503, "5.5.1")
        if not hello.offers_tls(self):
            raise Temporary("TLS is not available", 454, "4.7.0")
        self._drop_mail()
        self.reply(b"220 2.0.0 Go ahead")
        self.forget_input()
        await self.start_tls()

    @syntax("AUTH mechanism [initial-response]")
    async def smtp_AUTH(self, arg: str) -> None:
        if self.transaction is not None:
            raise Permanent("Not within a mail", 503, "5.5.1")
        await auth.login(self, arg)
        self._rules = None

    # transactions

    @syntax("MAIL FROM:<address>", extended=" [SIZE=n] [BODY=8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=id]")
    async def smtp_MAIL(self, arg: str | None) -> None:
        if not self.client.helo:
            raise Permanent("Say EHLO first", 503, "5.5.1")
        if self.transaction is not None:
            raise Permanent("There is a sender already; RSET begins anew", 503, "5.5.1")
        if self.client.account is None and self.client.kind in (policy.SUBMISSION, policy.SUBMISSIONS):
            raise Permanent("Log in first", 530, "5.7.0")
        if self.service.stopping:
            self.finish(f"421 4.3.2 {self.service.hostname} Shutting down")
            return
        said = parameters.mail(arg or "")
        service = self.service
        if said.extended and not self.client.esmtp:
            raise Permanent("Parameters need EHLO", 555, "5.5.4")
        if said.size > service.smtpd.max_size:
            raise policy.too_large(service.smtpd.max_size)
        service.room.check(said.size, service.smtpd)
        self.transaction = Transaction(self._sender(said.sender), said.carried, said.utf8, self.heard, said.size)
        self.reply(b"250 2.1.0 Ok")

    def _sender(self, said: Address | None) -> Address | None:
        client, service = self.client, self.service
        if client.account is not None:
            policy.sender(service.directory, client.account, said)
            return said
        return (policy.fixed_sender(client.address, service.settings) if client.lan else None) or said

    @syntax("RCPT TO:<address>", extended=" [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address]")
    async def smtp_RCPT(self, arg: str | None) -> None:
        transaction = self.transaction
        if transaction is None:
            raise Permanent("Say MAIL FROM first", 503, "5.5.1")
        if transaction.reader is not None:
            raise Permanent("The message has begun", 503, "5.5.1")
        said = parameters.rcpt(arg or "")
        address = said.recipient
        if not address.domain:
            address = Address(address.local, self.service.settings.server.domain)
        if said.extended and not self.client.esmtp:
            raise Permanent("Parameters need EHLO", 555, "5.5.4")
        if len(transaction.answers) >= self.service.smtpd.max_recipients:
            raise Temporary("Too many recipients", 452, "4.5.3")
        if not address.is_ascii and not transaction.utf8:
            raise Permanent("This address needs SMTPUTF8", 553, "5.6.7")
        try:
            outside = policy.recipient(
                self.service.directory, address, self.client.account, lan=self.client.lan, origin=self.client.origin,
                sender=transaction.sender, full=self.service.is_full)
            if outside:
                self._check_outside(transaction)
        except MailError as error:
            self._refuse_recipient(address, error)
            return
        transaction.add(address, said.carried)
        transaction.outside = transaction.outside or outside
        self.reply(b"250 2.1.5 Ok")

    def _check_outside(self, transaction: Transaction) -> None:
        """Less may go outside than within the office: the others of this mail still get it."""
        limit = policy.outside_limit(self.service.settings, self.client.account)
        if transaction.declared > limit:
            raise policy.too_large_outside(limit)

    def _refuse_recipient(self, address: Address, error: MailError) -> None:
        """Not an error like others, for a list may hold many old addresses; but who tries on and on is sent away."""
        assert self.transaction is not None
        self.transaction.refused = True
        self.log_refusal(str(error), str(address))
        self.reply(str(error).encode())
        self.strikes.refused_recipients += 1
        if self.strikes.refused_recipients >= self.service.smtpd.max_refused_recipients:
            self.finish(f"421 4.7.0 {self.service.hostname} Too many unknown recipients")

    @syntax("RSET")
    async def smtp_RSET(self, arg: str) -> None:
        if arg:
            raise Permanent("RSET takes no argument", 501, "5.5.4")
        self._drop_mail()
        self._junk()
        self.reply(b"250 2.0.0 Ok")

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:
        transaction = self._ready_for_text()
        if arg:
            raise Permanent("DATA takes no argument", 501, "5.5.4")
        if transaction.reader is not None:
            raise Permanent("The message came with BDAT", 503, "5.5.1")
        transaction.reader = data.DotReader()
        self._begin(transaction)
        self.reply(b"354 End data with <CR><LF>.<CR><LF>")

    @syntax("BDAT octets [LAST]")
    async def smtp_BDAT(self, arg: str) -> None:
        size, last = parameters.bdat(arg)
        if size < 0:
            # how much follows is anybody's guess: RFC 3030 §4.2 leaves only this
            self._turn_away("501 5.5.4 Syntax: BDAT octets [LAST]")
            return
        try:
            transaction = self._ready_for_text()
        except MailError as error:
            # RFC 3030 §2: the octets come all the same
            self._swallow = size
            self.refuse(str(error))
            return
        reader = transaction.reader
        if reader is None:
            reader = transaction.reader = data.BdatReader()
            self._begin(transaction)
        assert isinstance(reader, data.BdatReader)
        reader.chunk(size, last)
        if not size:
            self.text_received(b"")

    def _ready_for_text(self) -> Transaction:
        transaction = self.transaction
        if transaction is None:
            raise Permanent("Say MAIL FROM first", 503, "5.5.1")
        if not transaction.recipients:
            if transaction.refused:
                raise Permanent("No valid recipients", 554, "5.5.1")
            raise Permanent("Say RCPT TO first", 503, "5.5.1")
        return transaction

    # the rest

    @syntax("NOOP [anything]")
    async def smtp_NOOP(self, arg: str) -> None:
        self._junk()
        self.reply(b"250 2.0.0 Ok")

    @syntax("QUIT")
    async def smtp_QUIT(self, arg: str) -> None:
        if arg:
            raise Permanent("QUIT takes no argument", 501, "5.5.4")
        self.reply(b"221 2.0.0 Good bye")
        self.quit()

    @syntax("VRFY address")
    async def smtp_VRFY(self, arg: str) -> None:
        if not arg:
            raise Permanent("Syntax: VRFY address", 501, "5.5.4")
        self._junk()
        # RFC 5321 §3.5.3: the truth would only serve those who look for addresses
        self.reply(b"252 2.1.5 Send a mail and see")

    @syntax("HELP [verb]")
    async def smtp_HELP(self, arg: str) -> None:
        self._junk()
        self.reply(hello.help_text(self, arg))

    async def smtp_EXPN(self, arg: str) -> None:
        raise Permanent("Lists are not shown", 502, "5.5.1")

    def _junk(self) -> None:
        self.strikes.junk += 1
        if self.strikes.junk > self.service.smtpd.max_junk_commands:
            self.finish(f"421 4.7.0 {self.service.hostname} Too many commands without a mail")

    # what the connection asks

    def gone(self) -> None:
        super().gone()
        self._drop_mail()

    def log_refusal(self, reply: str, recipient: str | None = None) -> None:
        transaction = self.transaction
        log.rejected(
            stage=self.verb.decode("ascii", "replace").lower()[:20] or "line", client=self.client.address,
            account=self.client.account_name, sender=str(transaction.sender or "") if transaction else None,
            recipient=recipient or (transaction.named() if transaction else None) or None, reply=reply,
        )

    def between_mails(self) -> bool:
        return self.transaction is None or self.transaction.mail is None

    def overdue(self, now: float) -> str | None:
        smtpd, transaction = self.service.smtpd, self.transaction
        if transaction is not None:
            if now - transaction.started > smtpd.data_timeout:
                return "The mail takes too long"
            if transaction.mail is not None:
                slow = transaction.too_slow(now, _RATE_WINDOW, smtpd.data_min_rate)
                return "The message comes too slowly" if slow else None
        patience = smtpd.idle_timeout if self._mails or transaction is not None else smtpd.greeting_timeout
        return "Silent for too long" if now - self.heard > patience else None

    # the message

    def _begin(self, transaction: Transaction) -> None:
        service = self.service
        rules = self._rules
        if rules is None or rules.settings is not service.settings:
            complete = self.client.account is not None or self.client.lan
            rules = self._rules = acceptance.Rules(service.settings, complete, self._check_header)
        limit = rules.max_size
        if transaction.outside:
            limit = policy.outside_limit(service.settings, self.client.account)
        transaction.window = self.heard
        transaction.mail = intake.Intake(
            service.queue, service.pool, transaction.envelope(self.client.origin),
            self.client.trace(utf8=transaction.utf8), rules, self._disk_is_ready,
            limit,
        )

    def _check_header(self, header: bytes) -> None:
        account = self.client.account
        if account is not None and self.service.smtpd.check_author:
            policy.author(self.service.directory, account, header)

    def text_wanted(self) -> bool:
        transaction = self.transaction
        if transaction is None or transaction.reader is None:
            return self._swallow > 0
        reader = transaction.reader
        return isinstance(reader, data.DotReader) or reader.left > 0

    def text_received(self, text: bytes) -> int:
        transaction = self.transaction
        if transaction is None or transaction.reader is None or transaction.mail is None:
            taken = min(self._swallow, len(text))
            self._swallow -= taken
            return taken
        reader, mail = transaction.reader, transaction.mail
        mail.write(reader.feed(text), reader.size)
        if reader.ended:
            self.hold()
            mail.end(reader.bare, functools.partial(self._message_done, transaction, mail))
        elif isinstance(reader, data.BdatReader) and not reader.left:
            self._chunk_done(mail)
        elif mail.backlog:
            self.stop_reading()
        return len(text) - len(reader.rest)

    def _chunk_done(self, mail: intake.Intake) -> None:
        if mail.refusal is None:
            self.reply(b"250 2.0.0 Ok, go on")
            return
        error = mail.refusal
        self._drop_mail()
        self.refuse(str(error))

    def _disk_is_ready(self) -> None:
        mail = self.transaction.mail if self.transaction else None
        if mail is None or not mail.backlog:
            self.resume_reading()

    def _message_done(self, transaction: Transaction, mail: intake.Intake, error: MailError | None) -> None:
        """The spool has it, or it was refused; the client may have gone meanwhile."""
        if error is None:
            log.accepted(
                id=mail.id, sender=str(transaction.sender or ""), recipients=transaction.named(), size=mail.size,
                origin=self.client.origin.kind, client=self.client.address, account=self.client.account_name,
                msgid=mail.msgid,
            )
            self._mails += 1
            self.strikes.junk = 0
        if not self.closing:
            self.answer_message(transaction, mail.id, error)
        self.transaction = None
        self.release()

    def answer_message(self, transaction: Transaction, entry_id: str, error: MailError | None) -> None:
        """The reply after the message."""
        if error is None:
            self.reply(f"250 2.0.0 Ok: queued as {entry_id}".encode())
        else:
            self.refuse(str(error))

    def _drop_mail(self) -> None:
        if self.transaction is not None:
            if self.transaction.mail is not None:
                self.transaction.mail.give_up()
            self.transaction = None
