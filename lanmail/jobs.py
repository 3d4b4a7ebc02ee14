"""Jobs: what relay carries out beside mail, one entry of spool/jobs for each.

    X-Sender: <>
    X-Receiver: <meier@firma.lan>
    X-Origin: job kind=sms account=meier of=1763759701.M…      of: the id of the mail because of which it was made
    Return-Path: <>
    To: +491791234567
    From: Eva Beispiel
    Subject: Angebot

    Neue Mail von Eva Beispiel: Angebot

So `lanmail queue` lists, shows, retries and removes jobs like any entry. The fields depend on the kind:

    sms     To (the number), From, Subject, Account; the body is the text, UTF-8
    post    Url, Variable (the file's field in a multipart form; empty: the body is posted as it is), File-Name,
            Content-Type, Authorization (a reference, see secret.py); the body is posted octet by octet

A value is one printable line: what a stranger wrote in a mail cannot start a field of its own.
"""

import re
from dataclasses import dataclass

from lanmail import envelope, printable
from lanmail.address import Address

SMS, POST = "sms", "post"
KINDS = (SMS, POST)
LIMIT = 64 << 20  # octets of a job
_NAME = re.compile(r"[A-Za-z][A-Za-z-]{0,30}")
_MAX_VALUE = 4096


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do for an account."""

    kind: str
    account: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    of: str = ""  # the id of the mail

    def get(self, name: str) -> str:
        """The value of a field, "" without one."""
        return next((value for key, value in self.fields if key == name), "")


def compose(job: Job, domain: str) -> tuple[envelope.Envelope, bytes]:
    """A job as an entry for spool/jobs: its envelope and text. ValueError for a field that cannot be written."""
    facts = [("kind", job.kind), ("account", job.account), *([("of", job.of)] if job.of else [])]
    head = envelope.Envelope(None, [envelope.Recipient(Address(job.account, domain))],
                             origin=envelope.Origin("job", tuple(facts)))
    lines = ["Return-Path: <>\n"]
    for name, value in job.fields:
        if not _NAME.fullmatch(name) or len(value) > _MAX_VALUE:
            raise ValueError(f"{name[:40]!r} cannot be a field of a job")
        lines.append(f"{name}: {printable.line(value).strip()}\n")
    return head, "".join(lines).encode("utf-8", "replace") + b"\n" + job.body


def read(head: envelope.Envelope, text: bytes) -> Job:
    """The job in an entry. ValueError when it is none."""
    origin = head.origin
    kind, account = (origin.get("kind"), origin.get("account")) if origin and origin.kind == "job" else (None, None)
    if origin is None or kind not in KINDS or not account:
        raise ValueError("this is no job: its X-Origin line names neither sms nor post")
    start, empty, body = text.partition(b"\n\n")
    if not empty:
        raise ValueError("this is no whole job: no empty line follows its fields")
    fields = []
    for line in start.split(b"\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        fields.append((name, value.strip()))
    return Job(kind, account, tuple(fields), body, origin.get("of") or "")
