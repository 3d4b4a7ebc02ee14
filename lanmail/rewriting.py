"""What is changed on a mail on its way out: the sender is overwritten, then S/MIME, then DKIM; splitting comes after.

The stored message is never touched; the result lives for one try. relay asks `wanted` for every mail, in the loop,
so that is quick and opens no file; when it says True, `rewrite` runs in a thread, once for each try of an entry,
before the entry is split. `job.recipients` are all recipients of the entry, also those that have it already.

What a later try makes may differ in bytes from an earlier one (a signature's time), never in meaning.
"""

from dataclasses import dataclass

from lanmail import address
from lanmail.settings import Settings
from lanmail.transports import House, Job


class Hold(Exception):
    """The mail is not to be sent before a person looked at it; the text says why."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The envelope sender and the message (LF form, no envelope lines) as they go out."""

    sender: address.Address | None
    message: bytes


def wanted(_job: Job, _settings: Settings) -> bool:
    """True when something about this mail is to be changed."""
    return False


def rewrite(job: Job, _house: House) -> Rewritten:
    """The mail as it goes out. Blocks. Permanent, Temporary, Hold; anything else counts as Temporary."""
    return Rewritten(job.sender, job.message.read())
