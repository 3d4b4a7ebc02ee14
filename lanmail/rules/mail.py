"""What a rule sees: the mail, and the account it has reached; and what it may wish."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from lanmail import accounts, dsn, entry, envelope, message
from lanmail.address import Address
from lanmail.errors import Permanent
from lanmail.paths import Paths
from lanmail.settings import Account, Settings

WHOLE = 100 << 20  # octets of a mail that a rule reads at most
_BLIND = (b"Bcc", b"Resent-Bcc")


def hides(kind: str) -> bool:
    """Whether mail of such an origin has its Bcc lines taken out; pickup does so itself, others are not our mails."""
    return kind in ("submission", "lan")


@dataclass
class Mail:
    """One mail in the queue. `header` has LF line ends and no envelope lines; `fd` is the open entry."""

    paths: Paths
    settings: Settings
    directory: accounts.Directory
    entry: entry.Entry
    header: bytes
    fd: int
    now: float  # time.time(), the same for all rules
    say: Callable[[str], None] = lambda _text: None  # what --trace shows
    released: bool = False  # out of hold by hand: what was reason enough to hold it does not count again

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def head(self) -> envelope.Envelope:
        return self.entry.head

    @property
    def sender(self) -> Address | None:
        """Of the envelope; None is the null sender."""
        return self.entry.head.sender

    @property
    def origin(self) -> envelope.Origin:
        """How it came in; a mail that does not say counts as dropped by somebody."""
        return self.entry.head.origin or envelope.Origin("pickup")

    @property
    def submitter(self) -> str | None:
        """The account that handed it in with a log-in, and nobody else: commands by mail depend on it."""
        return self.origin.get("account") if self.origin.kind == "submission" else None

    @cached_property
    def automatic(self) -> bool:
        """Sent by a program: an answer, a list, bulk (RFC 3834 §2)."""
        return dsn.is_automatic(self.header)

    @cached_property
    def hidden(self) -> tuple[bytes, ...]:
        """The Bcc fields that one of ours left in it: nobody but the sender is to see them (RFC 5322 §3.6.3)."""
        return tuple(name for name in _BLIND if hides(self.origin.kind) and message.field_spans(self.header, name))

    @cached_property
    def subject(self) -> str:
        """Decoded, on one line."""
        return " ".join(message.decode_words(message.field(self.header, b"Subject") or b"").split())

    def data(self) -> bytes:
        """The whole message, header and all, at most WHOLE octets of it. OSError."""
        left, offset, blocks = WHOLE, self.entry.offset, []
        while left and (block := os.pread(self.fd, min(left, 1 << 20), offset)):
            blocks.append(block)
            offset += len(block)
            left -= len(block)
        return b"".join(blocks)


class Held(Permanent):
    """For a person to look at: this recipient's copy goes to hold, with the text as the reason."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How a copy differs from the mail as it came: lines put in front (behind Return-Path), a new Subject or Reply-To.

    The body is never touched. `lines` are whole header lines with LF. `without` names fields that are left out: those
    that we put in front ourselves, and somebody else forged.
    """

    lines: bytes = b""
    subject: bytes | None = None  # the raw new value of the field
    reply_to: bytes | None = None
    without: tuple[bytes, ...] = ()

    def apply(self, header: bytes) -> bytes:
        """The header of the copy, made of the header as it came (LF line ends, with its empty line)."""
        for name in self.without:
            for start, end in reversed(message.field_spans(header, name)):
                header = header[:start] + header[end:]
        if self.subject is not None:
            header = _replaced(header, b"Subject", self.subject)
        if self.reply_to is not None:
            header = _replaced(header, b"Reply-To", self.reply_to)
        first = header.find(b"\n") + 1 if header[:12].lower() == b"return-path:" else 0
        return header[:first] + self.lines + header[first:]


def _replaced(header: bytes, name: bytes, value: bytes) -> bytes:
    """The header with one field of this name, where the first of them stood, else at its end."""
    line = name + b": " + value + b"\n"
    spans = message.field_spans(header, name)
    if not spans:
        end = len(header) - 1 if header.endswith(b"\n\n") or header == b"\n" else len(header)
        return header[:end] + line + header[end:]
    for start, end in reversed(spans[1:]):
        header = header[:start] + header[end:]
    start, end = spans[0]
    return header[:start] + line + header[end:]


UNCHANGED = Changes()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a copy is to go on to, as it is written in the account: an address, or the name of an account or group."""

    to: str
    why: str = "forward"  # for the log and X-Forwarded-For: forward, autoresponder, einvoice


@dataclass(frozen=True, slots=True)
class Made:
    """A new mail or job that deliver puts into a spool, once: `key` tells it from others for the same mail."""

    key: str  # like "autoresponder meier"
    spool: str  # queue, archive, jobs
    head: envelope.Envelope
    text: bytes | None  # the whole message, LF line ends; None: a copy of the mail as it came


@dataclass(slots=True)
class Visit:
    """The mail at one account."""

    account: Account
    recipient: envelope.Recipient  # which led here
    via: tuple[str, ...] = ()  # aliases, groups and forwards on the way from it: () is named directly
    direct: bool = True  # the account itself or an alias of it was named; no group or forward came between

    # what rules wish
    keep: bool = True  # a copy stays in the mailbox
    folder: str = ""  # which one; "" is the INBOX
    changes: Changes = UNCHANGED  # of the copy that stays
    targets: list[Target] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    consumed: str = ""  # why no further rule counts and no copy is kept (a command that was carried out)
    flags: set[str] = field(default_factory=set)  # what one rule tells later ones: "spam"

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name

    def mark(self, lines: bytes, *, instead_of: bytes | None = None) -> None:
        """Put header lines in front of the copy that stays; fields of the name `instead_of` that came along go."""
        without = self.changes.without + (() if instead_of is None else (instead_of,))
        self.changes = replace(self.changes, lines=self.changes.lines + lines, without=without)
