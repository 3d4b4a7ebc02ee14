"""Handing a whole mail in for an account without SMTP: the rules are those of smtpd for a client that has logged in.

    handed_in = submission.submit(office, account, submission.Mail(sender, recipients, text), client="192.0.2.7")
    handed_in.id        lies durably in spool/queue

All recipients or none: who is refused stands in the error, a MailError with the words that smtpd would have said.
Blocks on the disk.
"""

import os
from dataclasses import dataclass

from lanmail import acceptance, envelope, lineends, log, policy, received, spool
from lanmail.accounts import Directory
from lanmail.address import Address
from lanmail.errors import MailError, Permanent
from lanmail.paths import Paths
from lanmail.settings import Account, Settings

_LOGGED = 50  # recipients


@dataclass(frozen=True, slots=True)
class Office:
    """Where, and by which rules."""

    paths: Paths
    settings: Settings
    directory: Directory


@dataclass(frozen=True, slots=True)
class Mail:
    """What is handed in; `sender` None is the null sender, `text` the message with any line ends."""

    sender: Address | None
    recipients: tuple[Address, ...]
    text: bytes


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What became of it."""

    id: str
    message_id: str | None
    size: int


class RefusedRecipient(Exception):
    """One of the recipients is not taken: which, and why."""

    def __init__(self, number: int, error: MailError) -> None:
        super().__init__(number, error)
        self.number, self.error = number, error


def submit(office: Office, account: Account, mail: Mail, *, client: str, way: str) -> HandedIn:
    """Put it into the queue. RefusedRecipient, MailError; both are logged."""
    try:
        return _submitted(office, account, mail, client, way)
    except MailError as error:
        _log_refusal(account, mail, client, error, ",".join(str(one) for one in mail.recipients[:_LOGGED]))
        raise
    except RefusedRecipient as refused:
        _log_refusal(account, mail, client, refused.error, str(mail.recipients[refused.number]))
        raise


def _submitted(office: Office, account: Account, mail: Mail, client: str, way: str) -> HandedIn:
    wishes = office.settings
    text, size, bare = lineends.whole(mail.text)
    policy.sender(office.directory, account, mail.sender)
    if size > wishes.smtpd.max_size:
        raise policy.too_large(wishes.smtpd.max_size)
    if bare and wishes.smtpd.bare_lf == "reject":
        raise acceptance.bare_line_ends()
    queue = spool.queue(office.paths)
    queue.ensure()
    acceptance.check_room(acceptance.free_space(queue.path), acceptance.waiting(queue.path), size, wishes.smtpd)
    head = _envelope(office, account, mail, client, size)
    trace = received.session_part(way, client, wishes.server.hostname, "HTTP", None)
    rules = acceptance.Rules(wishes, True, lambda header: _check_author(office, account, header))
    draft = queue.create()
    try:
        header = text[: acceptance.header_length(text)] if b"\n\n" in text or text[:1] == b"\n" else text
        if len(header) > rules.max_header:
            raise acceptance.header_too_large(rules)
        lines, msgid = acceptance.opening(header, head, trace, draft.id, rules)
        draft.write(lines)
        draft.write(text)
        draft.commit()
    except OSError as error:
        draft.abort()
        raise acceptance.explain(draft.id, error) from None
    finally:
        queue.close()
    log.accepted(id=draft.id, sender=str(mail.sender or ""), size=size, origin=policy.SUBMISSION, client=client,
                 recipients=",".join(str(one.address) for one in head.recipients[:_LOGGED]), account=account.name,
                 msgid=msgid)
    return HandedIn(draft.id, msgid, size)


def _envelope(office: Office, account: Account, mail: Mail, client: str, size: int) -> envelope.Envelope:
    """With all recipients, if each of them is allowed."""
    origin = envelope.Origin(policy.SUBMISSION, (("account", account.name), ("client", client or "local")))
    outside_limit = policy.outside_limit(office.settings, account)
    addresses = dict.fromkeys(mail.recipients)
    if len(addresses) > office.settings.smtpd.max_recipients:
        raise Permanent(f"More than {office.settings.smtpd.max_recipients} recipients", 554, "5.5.3")
    for number, address in enumerate(mail.recipients):
        try:
            outside = policy.recipient(office.directory, address, account, lan=False, origin=origin,
                                       sender=mail.sender, full=lambda name: os.path.exists(office.paths.full / name))
            if outside and size > outside_limit:
                raise policy.too_large_outside(outside_limit)
        except MailError as error:
            raise RefusedRecipient(number, error) from None
    utf8 = any(not one.is_ascii for one in (*addresses, *([mail.sender] if mail.sender else [])))
    params = (*(() if mail.text.isascii() else (("BODY", "8BITMIME"),)), *((("SMTPUTF8", ""),) if utf8 else ()))
    return envelope.Envelope(mail.sender, [envelope.Recipient(one) for one in addresses], params, origin)


def _check_author(office: Office, account: Account, header: bytes) -> None:
    if office.settings.smtpd.check_author:
        policy.author(office.directory, account, header)


def _log_refusal(account: Account, mail: Mail, client: str, error: MailError, to: str) -> None:
    log.rejected(stage="api", client=client, account=account.name, sender=str(mail.sender or ""), recipient=to,
                 reply=str(error))
