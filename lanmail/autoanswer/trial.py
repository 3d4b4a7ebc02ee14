"""What an autoresponder would do with a mail that came now, and why: for `lanmail autoresponder test` and the pages.

Nothing is changed: no answer is remembered, none is queued. The questions are those of rules/autoresponder.py.
"""

import email
import email.policy
import os
import time
from dataclasses import dataclass, field
from typing import Any

from lanmail import accounts, address, entry, envelope, message, period, spool, wire
from lanmail.address import Address
from lanmail.autoanswer import guards, letter, memory
from lanmail.paths import Paths
from lanmail.rules.mail import Mail, Visit
from lanmail.settings import Account, Settings

MOST = 64 << 20  # octets of a mail
ORIGINS = ("mx", "submission", "lan", "lmtp", "pickup", "fetch", "local")


@dataclass(frozen=True, slots=True)
class Case:
    """A mail, and how it came; what is None is taken from the mail itself.

    `data` is a message, or a file of a spool or Maildir that begins with its envelope. `sender` "<>" is none.
    """

    data: bytes
    sender: str | None = None
    recipient: str | None = None
    origin: str | None = None
    spam: bool = False
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one guard says: `why` it minds, "" when it does not."""

    guard: str
    minds: str
    why: str


@dataclass(slots=True)
class Trial:
    """What came out."""

    head: envelope.Envelope
    to: Address | None
    verdicts: list[Verdict]
    targets: list[str] = field(default_factory=list)
    keep: bool = True
    answer: tuple[envelope.Envelope, bytes] | None = None

    @property
    def why(self) -> str:
        """Why there is no answer; "" when there is one."""
        return next((one.why for one in self.verdicts if one.why), "")


def run(where: Paths, settings: Settings, account: Account, case: Case) -> Trial:
    """Ask all that the rule asks. ValueError for an address that is none; Temporary, OSError."""
    directory = accounts.Directory(where, lambda: settings)
    head, data = _taken_apart(case, Address(account.name, settings.server.domain))
    header = data[:message.header_end(data)]
    one = entry.Entry("trial", "trial", spool.CUR, head, 0, len(data), None, data, case.now)
    fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mail = Mail(where, settings, directory, one, header, fd, case.now)
        visit = Visit(account, head.recipients[0], direct=_is_direct(directory, account, head.recipients[0].address),
                      flags={"spam"} if case.spam else set())
        return _asked(mail, visit)
    finally:
        os.close(fd)


def data(found: Trial) -> dict[str, Any]:
    """What came out, for programs; the answer with its text as it will be read, too."""
    head, text = found.answer or (None, b"")
    return {
        "sender": _path(found.head), "recipient": str(found.head.recipients[0].address),
        "origin": found.head.origin and found.head.origin.kind,
        "answer_to": found.to and str(found.to), "answered": found.answer is not None, "why": found.why or None,
        "guards": [{"name": one.guard, "minds": one.minds, "why": one.why or None} for one in found.verdicts],
        "forward": found.targets, "keep": found.keep,
        "answer": None if head is None else {"sender": _path(head), "message": text.decode("utf-8", "replace"),
                                             **_read(text)},
    }


def _read(answer: bytes) -> dict[str, str]:
    """As a mail program shows it."""
    read = email.message_from_bytes(answer, policy=email.policy.default)
    return {name.lower(): str(read[name]) for name in ("From", "To", "Subject")} | {"text": read.get_content()}


def _path(head: envelope.Envelope) -> str:
    return f"<{head.sender or ''}>"


def moment(text: str) -> float:
    """When it is tried: now, or as it is written. ValueError."""
    return period.of(period.moment(text), "").begin if text else time.time()


def _asked(mail: Mail, visit: Visit) -> Trial:
    own, to = visit.account.autoresponder, guards.correspondent(mail)
    active, limits = own.active(mail.now), memory.Limits(own.max_per_hour, own.once_per)
    off = "" if active else f"it is not on at that time ({_period(visit.account)})" if own.enabled else "it is off"
    verdicts = [Verdict("active", "all, while it is off", off),
                Verdict("text", "all, without a text", "" if own.text else "it has no text")]
    verdicts += [Verdict(guard.name, guard.minds, why) for guard, why in guards.verdicts(mail, visit)]
    if to is not None:
        known = memory.of(mail.paths, visit.name)
        verdicts.append(Verdict("often", "senders that had enough answers",
                                known.refusal(to, letter.mark(own), mail.now, limits)))
    found = Trial(mail.head, to, verdicts)
    if active and own.forward:
        found.targets, found.keep = list(own.forward), own.keep
    if to is not None and not found.why:
        found.answer = letter.compose(mail, visit, to)
    return found


def _period(account: Account) -> str:
    own = account.autoresponder
    return f"from {own.from_ or 'ever'} until {own.until or 'ever'}"


def _taken_apart(case: Case, to: Address) -> tuple[envelope.Envelope, bytes]:
    """The envelope and the message, in LF form."""
    data = wire.to_lf(case.data)
    known, offset = envelope.decode(data)
    data = data[offset:]
    if data.startswith(b"From "):  # of an mbox
        data = data.partition(b"\n")[2]
    recipients = [envelope.Recipient(address.parse(case.recipient))] if case.recipient else known and known.recipients
    origin = envelope.Origin(case.origin) if case.origin else known and known.origin
    origin = origin or envelope.Origin("mx")
    if case.sender is not None:
        bare = case.sender.strip().removeprefix("<").removesuffix(">")
        sender = address.parse(bare) if bare else None
    else:
        sender = known.sender if known else _sender(data[:message.header_end(data)], origin.kind)
    return envelope.Envelope(sender, recipients or [envelope.Recipient(to)], origin=origin), data


def _sender(header: bytes, kind: str) -> Address | None:
    """Of a message without an envelope: Return-Path, which the delivery wrote, else From (the rule asks it itself)."""
    names = [b"Return-Path"] if kind == "fetch" else [b"Return-Path", b"From"]
    for name in names:
        value = message.field(header, name)
        if value is not None:
            found = address.from_header(value.decode("utf-8", "replace"), 1)
            return found[0] if found else None
    return None


def _is_direct(directory: accounts.Directory, account: Account, to: Address) -> bool:
    """Whether the address is the account's or an alias of it, not a group or somebody who forwards."""
    return directory.is_local(to.domain) and account.name in directory.resolve(to).accounts
