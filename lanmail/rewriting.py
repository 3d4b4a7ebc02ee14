"""What is changed on a mail on its way out: the sender is overwritten, then S/MIME, then DKIM; splitting comes after.

The stored message is never touched; the result lives for one try. relay asks `wanted` for every mail, in the loop,
so that is quick and opens no file; when it says True, `rewrite` runs in a thread, once for each try of an entry,
before the entry is split. `job.recipients` are all recipients of the entry, also those that have it already.

What a later try makes may differ in bytes from an earlier one (a signature's time), never in meaning.
"""

import time
from dataclasses import dataclass

from lanmail import address, dkim, message, newsender, smtptext
from lanmail.outgoing import DkimKey
from lanmail.settings import Settings
from lanmail.transports import House, Job, conf_file


class Hold(Exception):
    """The mail is not to be sent before a person looked at it; the text says why."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The envelope sender and the message (LF form, no envelope lines) as they go out."""

    sender: address.Address | None
    message: bytes


def wanted(job: Job, settings: Settings) -> bool:
    """True when something about this mail is to be changed."""
    return bool(job.way.overwrite_sender or (job.ours and settings.dkim.keys))


def rewrite(job: Job, house: House) -> Rewritten:
    """The mail as it goes out. Blocks. Permanent, Temporary, Hold; anything else counts as Temporary."""
    sender = job.sender
    # as the wire has it, but for the line ends: what is signed must not change any more
    data = b"".join(smtptext.plain(job.message)).replace(b"\r\n", b"\n")
    if job.way.overwrite_sender:
        end = message.header_end(data)
        new = newsender.of(job.way.overwrite_sender, job.account, data[:end], sender)
        data = newsender.overwrite(data[:end], new) + data[end:]
        sender = new if sender is not None else None  # a bounce must stay one (RFC 5321 §4.5.5)
    if job.ours:
        keys = _keys(data, house.settings())
        now = int(time.time())
        data = b"".join(dkim.sign(data, dkim.load(conf_file(house, one.key), one.domain, one.selector), now)
                        for one in keys) + data
    return Rewritten(sender, data)


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
