"""LMTP (RFC 2033): another mail server hands over mail for our accounts; one answer for each recipient."""

from aiosmtpd.smtp import syntax

from lanmail.errors import MailError, Permanent
from lanmail.smtp.session import Session
from lanmail.smtp.transaction import Transaction


class Lmtp(Session):
    """A mail server in front of this one."""

    lmtp = True

    @syntax("LHLO host")
    async def smtp_LHLO(self, hostname: str) -> None:
        self._hello(hostname, esmtp=True)

    async def smtp_HELO(self, hostname: str) -> None:
        raise Permanent("This is LMTP: say LHLO", 500, "5.5.1")

    async def smtp_EHLO(self, hostname: str) -> None:
        raise Permanent("This is LMTP: say LHLO", 500, "5.5.1")

    def answer_message(self, transaction: Transaction, entry_id: str, error: MailError | None) -> None:
        if error is None:
            for address in transaction.answers:
                self.reply(f"250 2.1.5 <{address}> Ok: queued as {entry_id}".encode())
            return
        for _ in transaction.answers[1:]:
            self.reply(str(error).encode())
        self.refuse(str(error))  # one error, however many recipients
