"""What is changed on a mail on its way out: no Bcc, another sender, then S/MIME, then DKIM; splitting comes after.

The stored message is never touched; the result lives for one try. relay asks `wanted` for every mail, in the loop,
so that is quick and opens no file; when it says True, `rewrite` runs in a thread, once for each try of an entry,
before the entry is split. `job.recipients` are all recipients of the entry, also those that have it already.

What a later try makes may differ in bytes from an earlier one (a signature's time), never in meaning.
"""

import re
import time
from dataclasses import dataclass, field

from lanmail import address, dkim, message, newsender, smime
from lanmail.clients import smtptext
from lanmail.errors import Permanent
from lanmail.outgoing import DkimKey
from lanmail.settings import Settings
from lanmail.transports import House, Job, conf_file

CERTIFICATES = "smime/certs"  # of recipients, below conf/
_BCC = re.compile(rb"^(?:resent-)?bcc[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)


class Hold(Exception):
    """The mail is not to be sent before a person looked at it; the text says why."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The envelope sender and the message (LF form, no envelope lines) as they go out.

    `apart` has recipients who get a message of their own: one encrypted to all would tell of them (Bcc).
    """

    sender: address.Address | None
    message: bytes
    apart: dict[address.Address, bytes] = field(default_factory=dict)


def wanted(job: Job, settings: Settings) -> bool:
    """True when something about this mail is to be changed."""
    return bool(job.way.overwrite_sender
                or (job.ours and (settings.dkim.keys or _is_smime(job) or _BCC.search(job.message.header))))


def _is_smime(job: Job) -> bool:
    """S/MIME is for what people write: not for bounces, nor for what answers by itself."""
    return job.account is not None and job.sender is not None and (
        job.way.smime.sign or job.way.smime.encrypt != "never")


def rewrite(job: Job, house: House) -> Rewritten:
    """The mail as it goes out. Blocks. Permanent, Temporary, Hold; anything else counts as Temporary."""
    sender = job.sender
    # as the wire has it, but for the line ends: what is signed must not change any more
    data = b"".join(smtptext.plain(job.message)).replace(b"\r\n", b"\n")
    if job.ours:  # RFC 5322 §3.6.3: nobody learns who got a blind copy, whatever the mail program left in
        end = message.header_end(data)
        data = _BCC.sub(b"", data[:end]) + data[end:]
    if job.way.overwrite_sender:
        end = message.header_end(data)
        new = newsender.of(job.way.overwrite_sender, job.account, data[:end], sender)
        data = newsender.overwrite(data[:end], new) + data[end:]
        sender = new if sender is not None else None  # a bounce must stay one (RFC 5321 §4.5.5)
    apart: dict[address.Address, bytes] = {}
    if job.ours and _is_smime(job):
        data, apart = _by_smime(job, house, data)
    if job.ours or job.way.overwrite_sender:  # then the author is one of our domain, whoever wrote it
        data = _with_dkim(data, house)
        apart = {one: _with_dkim(text, house) for one, text in apart.items()}
    return Rewritten(sender, data, apart)


def _by_smime(job: Job, house: House, data: bytes) -> tuple[bytes, dict[address.Address, bytes]]:
    """Signed, and encrypted if that is wanted and can be; then those who stand in no header get it apart."""
    section, conf = job.way.smime, house.paths.conf
    signer = smime.own(section, conf) if section.sign and not smime.is_protected(data) else None
    if signer is not None and signer.expired(smime.now()):
        if section.expired == "hold":
            until = f"{signer.certificate.not_valid_after_utc:%Y-%m-%d}"
            raise Hold(f"the S/MIME certificate {section.certificate} is not good (until {until}); with "
                       'smime.expired = "unsigned" the mail would go without a signature')
        signer = None
    text = smime.sign(data, signer) if signer is not None else data
    if section.encrypt == "never" or (smime.is_protected(data) and not _is_signed_only(data)):
        return text, {}
    known = smime.directory(house.paths.conf / CERTIFICATES)
    everybody = {one.address for one in job.recipients}
    certificates = {one: _good(known, one) for one in everybody}
    lacking = sorted(str(one) for one, certificate in certificates.items() if certificate is None)
    if lacking:
        if section.encrypt == "require":
            raise Permanent(f"no valid S/MIME certificate to encrypt to {', '.join(lacking)}", 550, "5.7.5")
        return text, {}
    mine = [signer.certificate] if signer is not None else _own_certificate(job, known)
    named = _named(data) & everybody
    to = {one: certificate for one, certificate in certificates.items() if certificate is not None}
    apart = {one: smime.encrypt(text, [to[one], *mine]) for one in everybody - named}
    together = [to[one] for one in sorted(named, key=str)]
    return (smime.encrypt(text, [*together, *mine]) if together else text), apart


def _is_signed_only(data: bytes) -> bool:
    kind = message.field(data[: message.header_end(data)], b"Content-Type") or b""
    return kind.lower().startswith(b"multipart/signed")


def _good(known: dict[str, smime.Certificate], one: address.Address) -> smime.Certificate | None:
    found = known.get(str(one).lower())
    return found if found is not None and smime.is_good(found, smime.now()) else None


def _own_certificate(job: Job, known: dict[str, smime.Certificate]) -> list[smime.Certificate]:
    """So that the author can read the copy of what was sent."""
    found = _good(known, job.sender) if job.sender is not None else None
    return [found] if found is not None else []


def _named(data: bytes) -> set[address.Address]:
    """Who stands in To and Cc."""
    header = data[: message.header_end(data)]
    lists = [value for name in (b"To", b"Cc") for value in message.fields(header, name)]
    return {one for value in lists for one in address.from_header(value.decode("utf-8", "replace"))}


def _with_dkim(data: bytes, house: House) -> bytes:
    now = int(time.time())
    return b"".join(dkim.sign(data, dkim.load(conf_file(house, one.key), one.domain, one.selector), now)
                    for one in _keys(data, house.settings())) + data


def _keys(data: bytes, settings: Settings) -> list[DkimKey]:
    """The keys of the author's domain; those of the closest domain above it when it has none (RFC 7489 §3.1.1)."""
    author = message.field(data[: message.header_end(data)], b"From") or b""
    found = address.from_header(author.decode("utf-8", "replace"), 1)
    labels = found[0].domain.split(".") if found else []
    for start in range(len(labels) - 1):
        domain = ".".join(labels[start:])
        keys = [one for one in settings.dkim.keys if one.domain == domain]
        if keys:
            return keys
    return []
