"""An office whose meier has an autoresponder, for its tests: mails and visits made by hand, and whole deliveries."""

import contextlib
import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

from lanmail import accounts, address, config, entry, envelope, message, schema, spool
from lanmail.rules.mail import Mail, Visit
from tests.mailroot import Root

NOW = 1_800_000_000.0
MAIL = (b"Return-Path: <eva@far.example>\nFrom: =?utf-8?q?Eva_M=C3=BCller?= <eva@far.example>\nTo: meier@office.lan\n"
        b"Subject: Angebot\nDate: Thu, 14 Jan 2027 09:00:00 +0100\nMessage-ID: <1@far.example>\n\nbody\n")


class Office(Root):
    """meier answers; `responder` changes what his file says about it."""

    def __init__(self, base: Path, settings: str = "") -> None:
        super().__init__(base, settings=settings)
        self.responder(enabled=True, text="I am away.\n")

    def responder(self, name: str = "meier", top: str = "", **keys: object) -> None:
        """The account's file, with this [autoresponder] and nothing else but `top`."""
        lines = [top, "[autoresponder]",
                 *(f"{key.rstrip('_')} = {schema.toml(value)}" for key, value in keys.items())]
        (self.paths.accounts / f"{name}.toml").write_text("\n".join(lines) + "\n")
        config.load_account(self.paths.accounts / f"{name}.toml")

    @contextlib.contextmanager
    def visit(self, text: bytes = MAIL, *, sender: str | None = "eva@far.example", to: str = "meier@office.lan",
              kind: str = "mx", name: str = "meier", direct: bool = True, now: float = NOW, entry_id: str = "1.M2P3.h",
              flags: frozenset[str] = frozenset(), **facts: str) -> Iterator[tuple[Mail, Visit]]:
        """The mail at the account."""
        settings = config.load(self.paths)
        directory = accounts.Directory(self.paths, lambda: settings)
        head = envelope.Envelope(address.parse(sender) if sender else None,
                                 [envelope.Recipient(address.parse(to))],
                                 origin=envelope.Origin(kind, tuple(facts.items())))
        header = text[:message.header_end(text)]
        one = entry.Entry(entry_id, entry_id, spool.CUR, head, 0, len(text), None, text, now)
        account = directory.account(name)
        assert account is not None
        yield (Mail(self.paths, settings, directory, one, header, -1, now),
               Visit(account, head.recipients[0], direct=direct, flags=set(flags)))

    def answers(self, place: str = "new") -> list[tuple[envelope.Envelope, EmailMessage]]:
        """What lies in spool/outbound, read by the standard library as strictly as it can."""
        return [parsed(one.read_bytes()) for one in sorted((self.paths.outbound / place).iterdir())]


def parsed(data: bytes) -> tuple[envelope.Envelope, EmailMessage]:
    """An entry as its envelope and its message."""
    head, offset = envelope.decode(data)
    assert head is not None
    found = email.message_from_bytes(data[offset:], policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return head, found


def field(name: str, value: str) -> bytes:
    """MAIL with one more field, or another value of one that it has."""
    line = f"{name}: {value}\n".encode()
    spans = message.field_spans(MAIL, name.encode())
    if spans:
        start, end = spans[0]
        return MAIL[:start] + line + MAIL[end:]
    end = message.header_end(MAIL) - 1
    return MAIL[:end] + line + MAIL[end:]
