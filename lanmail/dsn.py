"""Delivery status notifications: the bounce, and its cousins "delayed" and "delivered" (RFC 3461, 3464, 6522).

`may_notify` says whether a mail may be answered by one at all. It is strict, because a bounce to a forged sender
is spam sent by us: only mail from our own people, never to the null sender, never to lists or other machines.
`compose` writes the notification: null sender, a text for people, a part for programs, and the header of the
original. The body of the original is never returned.
"""

import contextlib
import ipaddress
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from lanmail import address, envelope, message, printable
from lanmail.errors import MailError

Action = Literal["failed", "delayed", "delivered", "relayed"]

MAX_HEADER = 64 << 10  # of the original; more is cut off at a line end

OWN_ORIGINS = frozenset({"submission", "pickup", "local"})  # handed in by our own people and programs

_MACHINES = re.compile(
    r"mailer-daemon|listserv|majordomo|(?:owner|bounces?)-.*|.*-(?:request|owner|bounces?)", re.IGNORECASE
)
_SUBJECTS: dict[Action, str] = {
    "failed": "Undelivered mail returned to sender",
    "delayed": "Delayed mail (still being tried)",
    "delivered": "Mail delivered",
    "relayed": "Mail handed on",
}
_TEXTS: dict[Action, str] = {
    "failed": "Your message could not be delivered to the recipients below. It will not be tried again.",
    "delayed": "Your message could not be delivered yet to the recipients below. It will be tried again;\n"
    "you need not send it again.",
    "delivered": "Your message was delivered to the recipients below, as you asked to be told.",
    "relayed": "Your message was handed to a server that does not report delivery, for the recipients below.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one recipient: the answer of a server or of ours, and which server said it."""

    recipient: envelope.Recipient
    answer: MailError
    remote: str | None = None


def wanted(recipient: envelope.Recipient, action: Action) -> bool:
    """True when the sender of a mail wants to hear of this (NOTIFY, RFC 3461 §4.1); failures by default."""
    words = {word.upper() for key, value in recipient.params if key.upper() == "NOTIFY" for word in value.split(",")}
    if not words:
        return action in ("failed", "delayed")
    return {"failed": "FAILURE", "delayed": "DELAY"}.get(action, "SUCCESS") in words


def may_notify(head: envelope.Envelope, header: bytes) -> bool:
    """True when the sender may be sent a notification about this mail, whatever became of it."""
    if head.sender is None or head.origin is None:
        return False
    if head.origin.get("group") is not None:  # a copy for a member outside: its sender is the group's owner
        return True
    if _MACHINES.fullmatch(head.sender.local):
        return False
    if head.origin.kind not in OWN_ORIGINS and head.origin.get("account") is None:
        return False
    return not is_automatic(header)


def is_automatic(header: bytes) -> bool:
    """True for mail that programs send: answers, lists, bulk (RFC 3834 §2)."""
    submitted = message.field(header, b"Auto-Submitted")
    if submitted is not None and not re.match(rb"no\s*(?:[;(]|$)", submitted, re.IGNORECASE):
        return True
    precedence = message.field(header, b"Precedence")
    if precedence is not None and precedence.lower() in (b"bulk", b"list", b"junk"):
        return True
    return re.search(rb"^List-(?:Id|Post|Unsubscribe|Help)[ \t]*:", header, re.IGNORECASE | re.MULTILINE) is not None


def compose(
    action: Action,
    reports: Sequence[Report],
    original: envelope.Envelope,
    header: bytes,
    *,
    entry_id: str,
    domain: str,
    hostname: str,
    arrived: float,
    copy_to: address.Address | None = None,
    retry_until: float | None = None,
    words: tuple[str, str] | None = None,
) -> tuple[envelope.Envelope, bytes]:
    """The notification to the sender of `original` as envelope and message (LF form).

    `entry_id` is the id of the original, `arrived` when it came in; `copy_to` gets the notification as well. `words`
    are subject and explanation in place of the usual ones.
    """
    assert original.sender is not None, "the null sender is never told anything"
    recipients = [envelope.Recipient(original.sender)]
    if copy_to is not None and copy_to != original.sender:
        recipients.append(envelope.Recipient(copy_to))
    head = envelope.Envelope(None, recipients, origin=envelope.Origin("local", (("source", "dsn"),)))
    boundary = f"lanmail={os.urandom(16).hex()}"
    subject, explanation = words or (_SUBJECTS[action], _TEXTS[action])
    parts = [
        _part("text/plain; charset=utf-8", _explain(explanation, reports, hostname, entry_id), "8bit"),
        _part("message/delivery-status", _status(action, reports, original, hostname, arrived, retry_until), "7bit"),
        _part("text/rfc822-headers", _cut(header), "8bit"),
    ]
    lines = [
        "Return-Path: <>",
        f"Received: by {hostname} (lanmail); {formatdate(localtime=True)}",
        f"Date: {formatdate(localtime=True)}",
        f'From: "Mail delivery system" <MAILER-DAEMON@{domain}>',
        f"To: <{original.sender}>",
        f"Subject: {subject}",
        f"Message-ID: <{_atom(entry_id)}.{action}.{time.time_ns()}@{domain}>",
        *reference(header),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\n boundary="{boundary}"',
        "Content-Transfer-Encoding: 8bit",
        "",
        "This is a message in MIME format.",
        "",
    ]
    body = b"".join(b"--" + boundary.encode() + b"\n" + part + b"\n" for part in parts)
    return head, "\n".join(lines).encode() + b"\n" + body + b"--" + boundary.encode() + b"--\n"


def _part(kind: str, content: bytes, encoding: str) -> bytes:
    return f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + content


def _explain(text: str, reports: Sequence[Report], hostname: str, entry_id: str) -> bytes:
    lines = [f"This is the mail system at {hostname}.", "", text, ""]
    for report in reports:
        said = f" (said {_one_line(report.remote)})" if report.remote else ""
        lines.append(f"<{report.recipient.address}>: {_one_line(str(report.answer))}{said}")
    lines += ["", f"The postmaster can look the message up by its id: {entry_id}", ""]
    return "\n".join(lines).encode()


def _status(
    action: Action, reports: Sequence[Report], original: envelope.Envelope, hostname: str, arrived: float,
    retry_until: float | None,
) -> bytes:
    """RFC 3464 §2: one block about the message, one for each recipient."""
    envid = next((value for key, value in original.params if key.upper() == "ENVID"), None)
    blocks = [[
        *([f"Original-Envelope-Id: {_xtext_decode(envid)}"] if envid else []),
        f"Reporting-MTA: dns; {hostname}",
        f"Arrival-Date: {formatdate(arrived, localtime=True)}",
    ]]
    for report in reports:
        orcpt = next((value for key, value in report.recipient.params if key.upper() == "ORCPT"), None)
        kind, _, value = (orcpt or "").partition(";")
        block = [f"Original-Recipient: {_one_line(kind)}; {_xtext_decode(value)}"] if value else []
        block += [
            f"Final-Recipient: {_typed(report.recipient.address)}",
            f"Action: {action}",
            f"Status: {report.answer.dsn}",
        ]
        if report.remote:
            block.append(f"Remote-MTA: dns; {_host(report.remote)}")
        if action in ("failed", "delayed") or report.remote:
            block.append(f"Diagnostic-Code: {'smtp' if report.remote else 'X-lanmail'}; {_ascii(str(report.answer))}")
        if retry_until is not None and action == "delayed":
            block.append(f"Will-Retry-Until: {formatdate(retry_until, localtime=True)}")
        blocks.append(block)
    return "\n".join("\n".join(block) + "\n" for block in blocks).encode("ascii", "replace")


def reference(header: bytes) -> list[str]:
    """In-Reply-To and References to the original, when it has a Message-ID that is one."""
    found = message.field(header, b"Message-ID") or b""
    if len(found) > 900 or not re.fullmatch(rb"<[!-;=?-~]+>", found):
        return []
    return [f"In-Reply-To: {found.decode()}", f"References: {found.decode()}"]


def _cut(header: bytes) -> bytes:
    """The header of the original, at most MAX_HEADER bytes of it, with LF line ends and without NUL."""
    text = header.replace(b"\r\n", b"\n").replace(b"\0", b"").rstrip(b"\n")
    if len(text) > MAX_HEADER:
        text = text[: max(text.rfind(b"\n", 0, MAX_HEADER), 0) or MAX_HEADER]
    return text + b"\n"


def _typed(one: address.Address) -> str:
    """RFC 3464 §2.3.2; an internationalized address in the 7-bit form of RFC 6533 §3."""
    if one.is_ascii:
        return f"rfc822; {one}"
    return "utf-8; " + "".join(c if "!" <= c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in str(one))


def _xtext_decode(text: str) -> str:
    """RFC 3461 §4: `+2B` is `+`. What decodes to a control character stays as it came."""
    decoded = re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
    return _ascii(decoded if decoded.isprintable() else text)


def _ascii(text: str) -> str:
    return _one_line(text).encode("ascii", "replace").decode()


def _host(name: str) -> str:
    """RFC 3464 §2.1.2: an address stands in brackets (RFC 5321 §4.1.3)."""
    with contextlib.suppress(ValueError):
        return f"[IPv6:{name}]" if ipaddress.ip_address(name).version == 6 else f"[{name}]"
    return _ascii(name)


def _one_line(text: str) -> str:
    """Answers of other servers come from the network: no line of theirs starts one of ours."""
    return printable.line(text)[:500].strip()


def _atom(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100]


def note(
    to: address.Address, subject: str, text: str, *, entry_id: str, domain: str, hostname: str
) -> tuple[envelope.Envelope, bytes]:
    """A plain message from the mail system to the postmaster: envelope and message (LF form)."""
    head = envelope.Envelope(None, [envelope.Recipient(to)], origin=envelope.Origin("local", (("source", "note"),)))
    lines = [
        "Return-Path: <>",
        f"Received: by {hostname} (lanmail); {formatdate(localtime=True)}",
        f"Date: {formatdate(localtime=True)}",
        f'From: "Mail delivery system" <MAILER-DAEMON@{domain}>',
        f"To: <{to}>",
        f"Subject: {_ascii(subject)}",
        f"Message-ID: <{_atom(entry_id)}.note.{time.time_ns()}@{domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        text,
    ]
    return head, "\n".join(lines).encode("utf-8", "replace") + b"\n"
