"""A message handed in without SMTP: its envelope found, its header made ready.

This is what happens to a file dropped into spool/pickup, and to what `sendmail` is given. Envelope, in this order:

    sender      X-Sender at the top, else Return-Path, Sender, From; else the postmaster
    recipients  X-Receiver at the top, else To, Cc and Bcc
    Resent-*    when there are such fields, the newest group of them counts instead (RFC 5322 §3.6.6)

A name without a domain (`root`) gets ours. Of the message only this changes: an mbox "From " line, Bcc, Return-Path
and X-Origin go; Return-Path, Received and, where they are missing, From, Date and Message-ID are put in front. What
stays is byte for byte what came, but for the line ends, which become LF.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate

from lanmail import address, envelope, wire

MAX_HEADER = 1 << 20  # a header that does not end within this is no mail

_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")  # RFC 5322 §3.6.8, with the obsolete blank before the colon
_ENVELOPE = re.compile(rb"(x-sender|x-receiver|x-origin)[ \t]*:", re.IGNORECASE)
_MBOX = re.compile(rb">?From [^\n]*\n")
_DROPPED = frozenset({b"bcc", b"resent-bcc", b"return-path", b"x-origin"})


class Unusable(ValueError):
    """The file is no mail that could be sent; the text says why, for people."""


@dataclass(slots=True)
class Header:
    """A header taken apart: (name in lower case, raw bytes with the folded lines), in order."""

    sender: address.Address | None = None  # of X-Sender; `has_sender` tells <> from no such line
    has_sender: bool = False
    params: envelope.Params = ()
    receivers: list[envelope.Recipient] = field(default_factory=list)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    length: int = 0  # bytes of the source up to the body


@dataclass(frozen=True, slots=True)
class Handed:
    """Ready for the queue: the envelope, the header with its empty line, and where the body starts in the source."""

    envelope: envelope.Envelope
    header: bytes
    body_at: int
    message_id: str


def read(head: bytes, domain: str) -> Header:
    """Take the start of a message apart; `head` must hold the whole header. Raises Unusable."""
    header = Header()
    header.length, lines = _lines(head)
    first = 1 if lines and _MBOX.fullmatch(lines[0]) else 0
    while first < len(lines) and (match := _ENVELOPE.match(lines[first])):
        _envelope_line(header, match.group(1).lower(), lines[first][match.end() :], domain)
        first += 1
    header.fields = [(line.partition(b":")[0].rstrip().lower(), line) for line in lines[first:]]
    return header


def accept(header: Header, *, domain: str, hostname: str, entry_id: str, origin: envelope.Origin) -> Handed:
    """Find the envelope and write the new header. Raises Unusable when nobody is addressed."""
    receivers = header.receivers or [envelope.Recipient(one) for one in recipients(header, domain)]
    if not receivers:
        raise Unusable("no recipients: no X-Receiver line, and no address in To, Cc or Bcc")
    sender = header.sender if header.has_sender else _sender(header, domain)
    present = {name for name, _ in header.fields}
    now = formatdate(localtime=True)
    message_id = next((_text(raw) for name, raw in header.fields if name == b"message-id"), "")
    front = [
        f"Return-Path: <{sender or ''}>",
        f"Received: by {hostname} (lanmail {origin.kind}) id {entry_id}; {now}",
    ]
    if b"message-id" not in present:
        message_id = f"<{re.sub(r'[^A-Za-z0-9._-]', '_', entry_id)}@{domain}>"
        front.append(f"Message-ID: {message_id}")
    if b"date" not in present:
        front.append(f"Date: {now}")
    if b"from" not in present:
        front.append(f"From: <{sender or address.Address('MAILER-DAEMON', domain)}>")
    kept = b"".join(raw for name, raw in header.fields if name not in _DROPPED)
    text = "\n".join(front).encode() + b"\n" + kept + b"\n"
    return Handed(envelope.Envelope(sender, receivers, header.params, origin), text, header.length, message_id)


def recipients(header: Header, domain: str) -> list[address.Address]:
    """Whom the fields of the header address, each once."""
    group = _resent(header)
    values = (
        [value for name, value in group if name in (b"resent-to", b"resent-cc", b"resent-bcc")]
        if group
        else [_text(raw) for name, raw in header.fields if name in (b"to", b"cc", b"bcc")]
    )
    found = (one for value in values for one in address.from_header(value, default_domain=domain))
    return list(dict.fromkeys(found))


def qualify(text: str, domain: str) -> address.Address:
    """An address as people type it: `meier`, `meier@firma.lan`, `<meier@firma.lan>`. Raises ValueError."""
    bare = text.strip().removeprefix("<").removesuffix(">")
    return address.parse(bare if "@" in bare else f"{bare}@{domain}")


def body_chunks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The body in LF form, whatever line ends it came with; a CRLF may be cut in two by the chunks."""
    carried = b""
    for chunk in chunks:
        data = carried + chunk
        carried = b"\r" if data.endswith(b"\r") else b""
        yield wire.to_lf(data[: len(data) - len(carried)])
    if carried:
        yield carried


def _lines(head: bytes) -> tuple[int, list[bytes]]:
    """The length of the header in the source, and its fields unfolded into one raw LF item each."""
    offset = 0
    lines: list[list[bytes]] = []
    while offset < len(head):
        end = head.find(b"\n", offset) + 1 or len(head)
        line = head[offset:end]
        if line in (b"\n", b"\r\n"):
            offset = end
            break
        clean = line.removesuffix(b"\n").removesuffix(b"\r") + b"\n"
        if line[:1] in (b" ", b"\t") and lines:
            lines[-1].append(clean)
        elif _FIELD.match(line) or (offset == 0 and _MBOX.match(clean)):
            lines.append([clean])
        elif len(head) >= MAX_HEADER and not line.endswith(b"\n"):
            pass  # cut in the middle of a line
        else:
            break  # the body starts without an empty line
        offset = end
    if offset == len(head) >= MAX_HEADER:
        raise Unusable(f"the header does not end within {MAX_HEADER} bytes")
    return offset, [b"".join(parts) for parts in lines]


def _envelope_line(header: Header, name: bytes, raw: bytes, domain: str) -> None:
    """One X-Sender or X-Receiver line of another program: brackets and domain may be left out. X-Origin is ours."""
    if name == b"x-origin":
        return
    label = "X-Sender" if name == b"x-sender" else "X-Receiver"
    try:
        text = raw.decode("utf-8", "replace").strip()
        path, _, rest = text.partition(">") if text.startswith("<") else text.partition(" ")
        path = path.removeprefix("<")
        params = envelope.read_params(rest)
        if label == "X-Receiver":
            header.receivers.append(envelope.Recipient(qualify(path, domain), params))
        elif header.has_sender:
            raise ValueError("two X-Sender lines")
        else:
            header.sender = qualify(path, domain) if path else None
            header.has_sender, header.params = True, params
    except ValueError as error:
        raise Unusable(f"malformed {label} line: {error}") from error


def _sender(header: Header, domain: str) -> address.Address | None:
    group = _resent(header)
    if group:
        values = [value for want in (b"resent-sender", b"resent-from") for name, value in group if name == want]
    else:
        values = [_text(raw) for want in (b"return-path", b"sender", b"from") for name, raw in header.fields
                  if name == want]
        if any(name == b"return-path" and _text(raw) == "<>" for name, raw in header.fields):
            return None
    for value in values:
        found = address.from_header(value, limit=1, default_domain=domain)
        if found:
            return found[0]
    return address.Address("postmaster", domain)


def _resent(header: Header) -> list[tuple[bytes, str]]:
    """The newest group of Resent-* fields: the first run of them, up to where a name comes again."""
    group: dict[bytes, str] = {}
    for name, raw in header.fields:
        if name.startswith(b"resent-"):
            if name in group:
                break
            group[name] = _text(raw)
        elif group:
            break
    return list(group.items())


def _text(raw: bytes) -> str:
    """The value of a field, unfolded."""
    value = raw.partition(b":")[2].replace(b"\r", b"").replace(b"\n", b"")
    return value.decode("utf-8", "replace").strip()
