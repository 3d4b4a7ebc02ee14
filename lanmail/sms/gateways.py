"""How a short message leaves the house: a file for smstools or Gammu, a request by HTTP, a mail to a gateway.

    said = await send(message, options, paths, via)

Nothing of a provider is built in: [sms] says what is asked and which answer is a yes. A text that a stranger wrote is
escaped for the place it goes to: a URL, a form, a JSON text. It never gets into a header or a file name.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import quote, urlencode, urlsplit

from lanmail import address, envelope, printable, secret
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import Permanent, Temporary
from lanmail.paths import Paths
from lanmail.sms import files
from lanmail.sms.options import PLACE, SmsGateway

_NUMBER = re.compile(r"\+[1-9][0-9]{4,19}")


@dataclass(frozen=True, slots=True)
class Message:
    """One short message. `to` is international, like +491791234567."""

    id: str  # the same at each try
    to: str
    text: str
    author: str = ""
    subject: str = ""
    account: str = ""
    made: float = 0.0  # time.time()


def international(number: str, country_code: str) -> str:
    """+49…, 0049…, 0179… → +49…. ValueError for what is none of these."""
    digits = re.sub(r"[\s/().-]", "", number)
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    elif digits.startswith("0"):
        digits = f"+{country_code}{digits[1:]}"
    if not _NUMBER.fullmatch(digits):
        raise ValueError(f"{number!r} is no telephone number; write it like 00491791234567 or 01791234567")
    return digits


async def send(one: Message, options: SmsGateway, paths: Paths, via: tunnel.Proxy | None = None) -> str:
    """Hand it over; what the other side said. Temporary, Permanent when no gateway can take it; OSError."""
    if options.gateway == "smstools":
        return await asyncio.to_thread(files.smstools, options.directory, one.id, one.to, one.text)
    if options.gateway == "gammu":
        return await asyncio.to_thread(
            files.gammu, options.directory, one.id, one.to, one.text, one.made or time.time())
    if options.gateway == "http":
        return await _ask(one, options, paths, via)
    raise Permanent("no gateway takes short messages: sms.gateway is not set to one" if not options.gateway else
                    "short messages go by mail now, and this one was made for another gateway", 554, "5.3.5")


def place(options: SmsGateway) -> str:
    """Where messages go, for the log: without anything secret."""
    if options.gateway == "http":
        parts = urlsplit(options.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
    return options.directory if options.gateway in ("smstools", "gammu") else options.mail_to


def request(one: Message, options: SmsGateway, known: secret.Secret) -> httpclient.Request:
    """What is asked of a gateway by HTTP. Temporary when the secret would go out in clear."""
    values = {"to": one.to, "digits": one.to.lstrip("+"), "text": one.text, "from": one.author, "subject": one.subject,
              "account": one.account, "sender": options.sender, "id": one.id, "secret": known.reveal()}
    plain = {name: printable.line(value).encode("ascii", "replace").decode() for name, value in values.items()}
    parts = urlsplit(options.url)
    if known and parts.scheme != "https" and parts.hostname not in httpclient.LOCAL:
        raise Temporary(f"{parts.scheme}://{parts.netloc}: a secret goes by https only", 451, "4.3.5")
    url = PLACE.sub(lambda found: quote(values[found[1]], safe=""), options.url)
    headers = [(name, PLACE.sub(lambda found: plain[found[1]], value)) for name, value in options.headers.items()]
    body = b""
    if options.json_body:
        body = PLACE.sub(lambda found: json.dumps(values[found[1]])[1:-1], options.json_body).encode()
        headers.append(("Content-Type", "application/json"))
    elif options.form:
        filled = {name: PLACE.sub(lambda found: values[found[1]], value) for name, value in options.form.items()}
        body = urlencode(filled).encode()
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return httpclient.Request(options.method, url, tuple(headers), [body], len(body))


async def _ask(one: Message, options: SmsGateway, paths: Paths, via: tunnel.Proxy | None) -> str:
    known = secret.read(options.password, paths.conf) if options.password else secret.NONE
    answer = await httpclient.send(request(one, options, known), tlsclient.DEFAULT, via, options.timeout)
    said = f"HTTP {answer.status} {answer.reason} {answer.excerpt()}".strip()
    if answer.status not in options.ok:
        raise Temporary(said)
    if not re.search(options.ok_pattern, answer.body.decode("utf-8", "replace")):
        raise Temporary(f"{said}; sms.ok_pattern is not in it")
    return said


def mail(one: Message, options: SmsGateway, domain: str, hostname: str) -> tuple[envelope.Envelope, bytes]:
    """The mail that a gateway makes a short message of: its envelope and text. Permanent."""
    wanted = options.mail_to.replace("{digits}", one.to.lstrip("+")).replace("{to}", one.to)
    try:
        to, sender = address.parse(wanted), address.parse(options.mail_from or f"postmaster@{domain}")
    except ValueError as error:
        raise Permanent(f"sms.mail_to or sms.mail_from makes no address: {error}", 554, "5.3.5") from error
    lines = [
        f"Return-Path: <{sender}>", f"From: {sender}", f"To: {to}", "Subject: SMS",
        f"Date: {formatdate(one.made or time.time(), localtime=True)}", f"Message-ID: <{one.id}.sms@{hostname}>",
        "Auto-Submitted: auto-generated", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    head = envelope.Envelope(sender, [envelope.Recipient(to)], params=(("BODY", "8BITMIME"),),
                             origin=envelope.Origin("local", (("source", "sms"),)))
    return head, ("\n".join(lines) + f"\n\n{one.text}\n").encode()
