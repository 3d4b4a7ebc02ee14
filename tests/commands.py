"""Mails to oneself, as rules/command.py sees them, without deliver around it."""

import email
import email.message
import email.policy
import os
import tomllib

from lanmail import accounts, atomic, config, entry, envelope, spool
from lanmail.address import Address
from lanmail.rules import command
from lanmail.rules.mail import Mail, Visit
from tests.mailroot import DOMAIN, Root

__all__ = ["DOMAIN", "TEXT", "Root", "answer", "forwards", "kept", "set_account", "visited"]
TEXT = b"Content-Type: text/plain; charset=utf-8\n"


def visited(root: Root, subject: str | bytes, *, header: bytes = TEXT, body: bytes = b"body\n", to: str = "meier",
            at: str = "meier", kind: str = "submission", entry_id: str = "", now: float = 0.0, **facts: str) -> Visit:
    """The rule's wishes for one mail with this subject at the account `at`, a second after it came in."""
    raw = subject if isinstance(subject, bytes) else subject.encode()
    text = b"Return-Path: <meier@office.lan>\nReceived: from x by y\nSubject: " + raw + b"\n" + header + b"\n" + body
    origin = envelope.Origin(kind, tuple((({"account": "meier"} if kind == "submission" else {}) | facts).items()))
    recipients = [envelope.Recipient(Address(local, domain or DOMAIN))
                  for local, _, domain in (one.partition("@") for one in to.split())]
    name = root.queue.put(envelope.Envelope(Address("meier", DOMAIN), recipients, origin=origin), text,
                          entry_id or spool.new_id())
    settings = config.load(root.paths)
    directory = accounts.Directory(root.paths, lambda: settings)
    one = entry.read(root.queue, spool.NEW, name)
    fd = atomic.open_regular(name, dir_fd=root.queue.fd(spool.NEW))
    try:
        mail = Mail(root.paths, settings, directory, one, entry.header(root.queue, one), fd, now or one.arrived() + 1)
        account = directory.account(at)
        assert account is not None
        visit = Visit(account, one.head.recipients[0])
        command.apply(mail, visit)
    finally:
        os.close(fd)
        os.unlink(root.paths.queue / "new" / name)
    return visit


def kept(root: Root, name: str = "meier") -> dict:
    return tomllib.loads((root.paths.accounts / f"{name}.toml").read_text())


def forwards(root: Root) -> list[str]:
    return kept(root).get("forward", {}).get("to", [])


def set_account(root: Root, name: str = "meier", **keys: object) -> None:
    config.edit(root.paths.accounts / f"{name}.toml", {key.replace("__", "."): value for key, value in keys.items()})


def answer(visit: Visit) -> email.message.EmailMessage:
    """The one mail that the rule made; its envelope is looked at here."""
    assert visit.consumed
    (made,) = visit.made
    assert (made.spool, made.head.sender) == ("queue", None)
    assert made.head.recipients == [envelope.Recipient(Address(visit.name, DOMAIN))]
    assert made.head.origin is not None
    assert made.head.origin.kind == "local"
    found = email.message_from_bytes(made.text, policy=email.policy.default)
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["From"].addresses[0].addr_spec == f"postmaster@{DOMAIN}"
    assert found["To"] == f"{visit.name}@{DOMAIN}"
    assert command.read(found["Subject"], {}) is None
    return found
