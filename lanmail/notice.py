"""Mail from us to an account of ours: a mailbox cannot be fetched, a log-in has to be renewed.

Notices go through spool/queue like any mail, from the null sender, so that nothing ever answers them.
"""

import time
from email.header import Header
from email.utils import formatdate

from lanmail import dsn, envelope, log, spool
from lanmail.address import Address
from lanmail.paths import Paths
from lanmail.settings import Settings


def put(paths: Paths, settings: Settings, account: str, subject: str, text: str, kind: str) -> str:
    """Queue a notice, durably; its id. `kind` is one word for the log, like "fetch-failed". Blocks; OSError."""
    server = settings.server
    to = Address(account, server.domain)
    entry_id = spool.new_id()
    origin = envelope.Origin("local", (("source", "notice"), ("kind", kind)))
    queue = spool.queue(paths)
    try:
        queue.ensure()
        head = envelope.Envelope(None, [envelope.Recipient(to)], origin=origin)
        queue.put(head, compose(to, settings, subject, text, entry_id), entry_id)
    finally:
        queue.close()
    log.event("notice", id=entry_id, account=account, kind=kind, subject=subject)
    return entry_id


def compose(to: Address, settings: Settings, subject: str, text: str, entry_id: str, *,
            answered: bytes | None = None) -> bytes:
    """A mail of the mail system as it lies in a spool; `answered` is the header of the mail that it answers."""
    server = settings.server
    plain = " ".join(subject.split())  # a line end in it would begin a line of its own
    lines = [
        "Return-Path: <>",
        f"From: Mail system <postmaster@{server.domain}>",
        f"To: {to}",
        f"Subject: {plain if plain.isascii() else Header(plain, 'utf-8', maxlinelen=75).encode(linesep=chr(10))}",
        f"Date: {formatdate(time.time(), localtime=True)}",
        f"Message-ID: <{entry_id}@{server.hostname}>",
        *(dsn.reference(answered) if answered is not None else []),
        f"Auto-Submitted: {'auto-generated' if answered is None else 'auto-replied'}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    return ("\n".join(lines) + "\n\n" + text.replace("\r\n", "\n").rstrip("\n") + "\n").encode("utf-8", "replace")
