"""What an account says about its mail: [forward], [autoresponder], [einvoice] and [sms] in its file.

The rules themselves are in rules/, one file each.
"""

from lanmail import keys
from lanmail.keys import Model
from lanmail.units import Duration, ForwardTo

_key = keys.key


class Forward(Model):
    """All mail of the account goes on to others."""

    to: list[ForwardTo] = _key([], "An account, a group or an address elsewhere that gets all mail; empty: off.")
    keep: bool = _key(False, "Leave a copy here, too.")


class Autoresponder(Model):
    """Who writes gets an answer."""

    enabled: bool = _key(False, "Answer mail.")
    keep: bool = _key(True, "Leave a copy of what is forwarded here, too.")
    forward: list[ForwardTo] = _key([], "Who gets all mail while the autoresponder is active.")
    once_per: Duration = _key("0s", "Answer one sender once in this time; 0s answers each mail.")


class EInvoice(Model):
    """An e-invoice mailbox: mail with an e-invoice (EN 16931, XRechnung) and mail without can go different ways."""

    enabled: bool = _key(False, "Examine attachments; forward and sms do not count then.")
    forward: list[ForwardTo] = _key([], "Who gets mail with an e-invoice.")
    other_forward: list[ForwardTo] = _key([], "Who gets all other mail.")


class Sms(Model):
    """A short message to a telephone when mail comes."""

    to: str = _key("", "Mobile number, like 00491791234567; empty: off.", pattern=r"^(\+?[0-9]{6,20})?$")

