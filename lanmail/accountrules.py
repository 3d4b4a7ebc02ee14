"""What an account says about its mail: [forward], [autoresponder], [einvoice] and [sms] in its file.

The rules themselves are in rules/, one file each.
"""

import functools
from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from lanmail import keys, period, secret
from lanmail.keys import Model
from lanmail.period import Moment
from lanmail.timetable import Times
from lanmail.units import Directory, Duration, ForwardList, ForwardTo, Hostname, Url

_key = keys.key

Secret = secret.Reference


class Forward(Model):
    """All mail of the account goes on to others."""

    to: list[ForwardTo] = _key([], "An account, a group or an address elsewhere that gets all mail; empty: off.")
    keep: bool = _key(False, "Leave a copy here, too.")


class Autoresponder(Model):
    """Who writes gets an answer, and all mail may go on to others meanwhile."""

    enabled: bool = _key(False, "Answer mail, and forward it as said here.")
    from_: Moment = _key("", 'From this day or moment on, "2026-12-24" or "2026-12-24 12:00"; empty: at once.',
                         alias="from")
    until: Moment = _key("", "Up to and with this day or moment, in local time; empty: permanently.")
    subject: str = _key("", "Subject of the answer, which may have placeholders; empty: Re: and that of the mail.",
                        max_length=500)
    text: str = _key("", "Text of the answer, with placeholders like [SUBJECT], [FROMNAME], [UNTIL]; empty: no answer.",
                     max_length=64 << 10)
    domain: Hostname = _key("", "The answer comes from this domain, as NAME@domain, in place of server.domain.")
    envelope: Literal["null", "account"] = _key(
        "null", "Envelope sender of the answer; account only if your provider refuses mail without one.")
    only_if_addressed: bool = _key(False, "Answer only mail whose To or Cc has an address of the account.")
    once_per: Duration = _key("0s", "Answer one sender once in this time; 0s answers each mail.")
    max_per_hour: int = _key(5, "Most answers to one sender in an hour, so that two programs do not go on for ever.",
                             ge=1)
    max_age: Duration = _key("2d", "Fetched mail that is older is not answered.")
    forward: ForwardList = _key([], "Who gets all mail while the autoresponder is active.")
    keep: bool = _key(True, "Leave a copy of what is forwarded here, too.")

    @model_validator(mode="after")
    def _ordered(self) -> "Autoresponder":
        if self.period.begin >= self.period.end:
            raise PydanticCustomError("until-before-from", "until ({until}) lies before from ({from})",
                                      {"until": self.until, "from": self.from_})
        return self

    @functools.cached_property
    def period(self) -> period.Period:
        """When it counts, if it is enabled."""
        return period.of(self.from_, self.until)

    def active(self, now: float) -> bool:
        """Whether it counts at this moment (as time.time has it)."""
        return self.enabled and self.period.contains(now)


class EInvoice(Model):
    """An e-invoice mailbox: mail with an e-invoice (EN 16931, XRechnung) and mail without can go different ways."""

    enabled: bool = _key(False, "Examine attachments; forward and sms do not count then.")
    forward: ForwardList = _key([], "Who gets mail with an e-invoice.")
    keep: bool = _key(True, "Leave a copy of such mail here, too.")
    other_forward: ForwardList = _key([], "Who gets all other mail.")
    other_keep: bool = _key(True, "Leave a copy of that here, too.")
    duplicates: Literal["mark", "not-forwarded"] = _key(
        "mark", "An e-invoice that came before (seller and number) is marked; not-forwarded: and only kept here.")
    save: Directory = _key("", "Directory that gets the XML of each e-invoice, as ID.xml.")
    post: Url = _key("", "Where the XML of each e-invoice is posted to; taken is what is answered with status 200.")
    post_variable: str = _key(
        "", "Name of the file field, if it is to be posted as a form; empty: the XML is the body.", max_length=100)
    post_authorization: Secret = _key(
        "", "The value of an Authorization header: file:secrets/NAME or credential:NAME.")
    zip: bool = _key(False, "Look into ZIP archives, too, one level deep.")
    tnef: bool = _key(False, "Look into winmail.dat, too.")


class Sms(Model):
    """A short message to a telephone when mail comes."""

    to: str = _key("", "Mobile number, like 00491791234567; empty: off.", pattern=r"^((\+|0)[0-9]{5,20})?$")
    quiet: list[Times] = _key([], "Times without short messages; empty: those of [sms] in lanmail.toml.")

