"""The answer of an autoresponder: a new mail from the account to whoever wrote (RFC 3834 §3).

    compose(mail, visit, to) -> (Envelope, bytes)      ready for spool/queue, LF line ends

Placeholders in subject and text are filled in once: what they stand for is not looked at again, and one that is not
known stays as it is. Whatever comes from the mail and enters the header is one line of printable characters, in encoded
words where it is not ASCII (RFC 2047), and not longer than a header should be.
"""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterator
from email.utils import formatdate

from lanmail import address, envelope, message, printable
from lanmail.accountrules import Autoresponder
from lanmail.address import Address
from lanmail.rules.mail import Mail, Visit

PLACEHOLDERS = ("SUBJECT", "FROM", "FROMNAME", "TO", "DATE", "TIME", "MESSAGEID", "ACCOUNT", "UNTIL")
SOURCE = "autoresponder"  # in X-Origin
_PLACEHOLDER = re.compile(r"\[([A-Z]+)\]")
_ANSWERED = re.compile(r"((?:re|aw|antw|sv|vs|odp|r|rif|ref)(?:\[\d+\]|\(\d+\))?:)\s*", re.IGNORECASE)
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>")
_BEFORE = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^"<])*)<')  # what stands before an address: a "<" in quotes is none
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 500  # characters of a subject
_NAME = 100  # characters of a display name
_THREAD = 10  # ids in References
_LINE = 78  # RFC 5322 §2.1.1
_WORD = 39  # octets in an encoded word: with its frame 64 characters, so that any field name fits before it


def compose(mail: Mail, visit: Visit, to: Address) -> tuple[envelope.Envelope, bytes]:
    """The answer to a mail that may be answered."""
    section, server = visit.account.autoresponder, mail.settings.server
    author = Address(visit.name, section.domain or server.domain)
    values = _values(mail, visit, to)
    sender = author if section.envelope == "account" else None
    body, encoding = _encoded(_filled(section.text, values))
    lines = [
        f"Return-Path: <{sender or ''}>",
        f"Received: by {server.hostname} (lanmail {SOURCE} of {visit.name});\n\t{formatdate(mail.now, localtime=True)}",
        f"Date: {formatdate(mail.now, localtime=True)}",
        f"From: {_mailbox(visit.account.full_name, author)}",
        f"To: {to.in_ascii or to}",
        f"Subject: {words(subject(section, mail.subject, values), 9)}",
        f"Message-ID: <{_atom(mail.id)}.{SOURCE}.{author.in_ascii or author}>",
        *_thread(mail.header),
        "Auto-Submitted: auto-replied",
        # for programs that know nothing of Auto-Submitted (RFC 3834 §3.1.8); Dovecot's vacation writes it, too
        "Precedence: bulk",
        "X-Auto-Response-Suppress: All",
        "MIME-Version: 1.0",
        f"Content-Type: text/plain; charset={'us-ascii' if encoding == '7bit' else 'utf-8'}",
        f"Content-Transfer-Encoding: {encoding}",
    ]
    # RFC 3834 §3.3 wants no reports about it; with the null sender there is nobody to get them
    recipient = envelope.Recipient(to, (("NOTIFY", "NEVER"),) if sender is not None else ())
    origin = envelope.Origin("local", (("source", SOURCE), ("account", visit.name)))
    return envelope.Envelope(sender, [recipient], origin=origin), ("\n".join(lines) + "\n\n").encode() + body


def subject(section: Autoresponder, incoming: str, values: dict[str, str]) -> str:
    """What the account wants, or Re: and the subject of the mail; an answer to an answer gets no second Re:."""
    if section.subject:
        return _one_line(_filled(section.subject, values), _LONGEST)
    rest, first = _one_line(incoming, _LONGEST), ""
    while match := _ANSWERED.match(rest):
        first, rest = first or match[1], rest[match.end():]
    return f"{first or 'Re:'} {rest}".strip()


def mark(section: Autoresponder) -> str:
    """Tells one answer from another of the same account, in eight characters."""
    text = "\0".join((section.subject, section.text, section.from_, section.until))
    return hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


# placeholders

def unknown(text: str) -> list[str]:
    """What looks like a placeholder in a text, and is none."""
    return [f"[{word}]" for word in dict.fromkeys(_PLACEHOLDER.findall(text)) if word not in PLACEHOLDERS]


def _values(mail: Mail, visit: Visit, to: Address) -> dict[str, str]:
    raw = (message.field(mail.header, b"From") or b"")[:2000]
    authors = address.from_header(raw.decode("utf-8", "replace"), 1)
    local = time.localtime(mail.now)
    found = _MESSAGE_ID.search(message.field(mail.header, b"Message-ID") or b"")
    return {
        "SUBJECT": _one_line(mail.subject, _LONGEST),
        "FROM": str(authors[0] if authors else to),
        "FROMNAME": _name(raw) or str(authors[0] if authors else to),
        "TO": str(visit.recipient.address),
        "DATE": time.strftime("%Y-%m-%d", local),
        "TIME": time.strftime("%H:%M", local),
        "MESSAGEID": found[0].decode("ascii") if found else "",
        "ACCOUNT": visit.name,
        "UNTIL": visit.account.autoresponder.until,
    }


def _filled(text: str, values: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def _name(raw: bytes) -> str:
    """The display name in front of the first address of a From field, or the comment behind it."""
    text = raw.decode("utf-8", "surrogateescape")
    if "<" in text:
        match = _BEFORE.match(text)
        before = match[1] if match else text.partition("<")[0]
        name = re.sub(r'"((?:[^"\\]|\\.)*)"', lambda found: re.sub(r"\\(.)", r"\1", found[1]), before)
    else:
        comment = re.search(r"\(([^()]*)\)", text)
        name = comment[1] if comment else ""
    return _one_line(message.decode_words(name.strip().encode("utf-8", "surrogateescape")), _NAME)


# the header

def words(text: str, used: int) -> str:
    """A text as the value of a field (RFC 2047), folded; `used` characters are taken on the first line."""
    if text.isascii() and "=?" not in text:
        if len(text) + used <= _LINE:
            return text
        return "\n ".join(_folded(text, used))
    return "\n ".join(_encoded_words(text))


def _encoded_words(text: str) -> Iterator[str]:
    """No character is split between two words (RFC 2047 §5). email.header takes six times as long for the same."""
    word = b""
    for character in text:
        octets = character.encode()
        if len(word) + len(octets) > _WORD:
            yield f"=?utf-8?b?{base64.b64encode(word).decode()}?="
            word = b""
        word += octets
    yield f"=?utf-8?b?{base64.b64encode(word).decode()}?="


def _folded(text: str, used: int) -> list[str]:
    """Lines that end where a single blank stands; what has none stays long."""
    lines, room = [""], _LINE - used
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = _LINE - 1
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _mailbox(name: str, author: Address) -> str:
    shown = _one_line(name, _NAME)
    bare = author.in_ascii or str(author)
    if not shown:
        return bare
    if shown.isascii() and "=?" not in shown:
        quoted = shown.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}" <{bare}>'
    return f"{words(shown, 6)}\n <{bare}>"


def _thread(header: bytes) -> list[str]:
    """In-Reply-To and References (RFC 5322 §3.6.4), of ids that are some."""
    own = _MESSAGE_ID.fullmatch(message.field(header, b"Message-ID") or b"")
    earlier = _MESSAGE_ID.findall(message.field(header, b"References") or message.field(header, b"In-Reply-To") or b"")
    if own is None:
        return []
    mine = own[0].decode("ascii")
    known = [one.decode("ascii") for one in dict.fromkeys(earlier[-_THREAD:]) if one != own[0]]
    return [f"In-Reply-To: {mine}", "References: " + "\n ".join([*known, mine])]


def _one_line(text: str, longest: int) -> str:
    return " ".join(printable.line(text[: 4 * longest]).split())[:longest].rstrip()


def _atom(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:100].strip(".")


# the text

def _encoded(text: str) -> tuple[bytes, str]:
    """The body, and how it is encoded: as it is, or what is shorter of quoted-printable and base64 (RFC 2045 §6)."""
    clean = _CONTROL.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")).rstrip("\n") + "\n"
    raw = clean.encode()
    if clean.isascii() and max(map(len, raw.split(b"\n"))) <= 998:
        return raw, "7bit"
    quoted = binascii.b2a_qp(raw, istext=True)
    packed = base64.encodebytes(raw.replace(b"\n", b"\r\n"))
    return (quoted, "quoted-printable") if len(quoted) <= len(packed) else (packed, "base64")
