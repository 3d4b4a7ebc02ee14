"""Archiving: what is accepted from or for an account with `archive = true` goes to spool/archive, once.

deliver asks `collect` for each mail, with all accounts that it reached, whatever their rules did with it then: the
archive has what was accepted. The copy is put in place together with the mail (delivery/copies.py), so it is there
exactly once.

Who sent it is said by accounts.sender_of: a log-in, or an address of ours in our own network. `mark` tells relay, by a
fact in the origin, that it is to hand on the form that goes out, should it change the mail (relaying/archiving.py).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import quote, unquote

from lanmail import accounts, envelope
from lanmail.archiving import store
from lanmail.rules.mail import Made, Mail
from lanmail.settings import Account

SPOOL = "archive"
FACT = "archived"  # of an origin: the id of the mail, whose form that is sent is wanted, too
SENDING = frozenset({"submission", "lan", "pickup", "local"})  # kinds of origin by which our own hand mail in


def is_wanted(directory: accounts.Directory, head: envelope.Envelope) -> bool:
    """Whether the mail is archived because of who sent it. Opens no file that is known."""
    return _submitter(directory, head) is not None


def collect(mail: Mail, reached: Iterable[Account]) -> list[Made]:
    """The copy for the archive, if one is wanted. Temporary when nobody can say now.

    Its key names the accounts: should a later try reach more of them, a second copy says so.
    """
    return copies(mail.directory, mail.id, mail.head, reached)


def copies(directory: accounts.Directory, mail_id: str, head: envelope.Envelope, reached: Iterable[Account],
           text: bytes | None = None) -> list[Made]:
    """The same for any mail; `text` is the message where it is a new one of ours."""
    submitter = _submitter(directory, head)
    receivers = tuple(sorted({one.name for one in reached if one.archive}))
    if submitter is None and not receivers:
        return []
    how = head.origin.kind if head.origin is not None else "pickup"
    facts = store.Facts(mail_id, store.ACCEPTED, submitter or "", receivers, how)
    who = hashlib.sha256("\n".join((facts.submitter, *receivers)).encode()).hexdigest()
    return [Made(f"archive {who[:12]}", SPOOL, replace(head, origin=store.origin(facts)), text)]


def _submitter(directory: accounts.Directory, head: envelope.Envelope) -> str | None:
    if head.origin is None or head.origin.kind not in SENDING or head.origin.get("source") == "command":
        return None  # the answer to a command is for the account, not from it
    name = accounts.sender_of(directory, head)
    account = directory.account(name, fresh=False) if name is not None else None
    return account.name if account is not None and account.archive else None


def mark(mail_id: str, head: envelope.Envelope, made: Iterable[Made]) -> envelope.Envelope:
    """The envelope of a copy that leaves; it says so when the mail is archived because of its sender."""
    sent = any(one.spool == SPOOL and one.head.origin is not None and one.head.origin.get("submitter") for one in made)
    if not sent or head.origin is None:
        return head
    return replace(head, origin=replace(head.origin, fields=(*head.origin.fields, (FACT, quote(mail_id, safe="+=@")))))


def marked(head: envelope.Envelope) -> str | None:
    """The id that `mark` wrote; None for a mail whose sent form nobody wants."""
    found = head.origin.get(FACT) if head.origin is not None else None
    return unquote(found) if found else None
