"""One mail transaction: what MAIL, RCPT and DATA or BDAT have said so far (RFC 5321 §3.3)."""

from dataclasses import dataclass, field

from lanmail.address import Address
from lanmail.envelope import Envelope, Origin, Params, Recipient
from lanmail.smtp import data, intake

_LOGGED = 50


@dataclass(slots=True)
class Transaction:
    """From MAIL to the reply after the message."""

    sender: Address | None
    params: Params
    utf8: bool
    started: float
    declared: int = 0  # SIZE= of MAIL
    outside: bool = False  # some recipient is
    recipients: list[Recipient] = field(default_factory=list)
    answers: list[Address] = field(default_factory=list)  # LMTP answers once for each RCPT it took
    refused: bool = False  # some recipient was
    mail: intake.Intake | None = None
    reader: data.DotReader | data.BdatReader | None = None
    window: float = 0.0  # start of the present minute, and the octets that had come by then
    window_size: int = 0
    _seen: set[Address] = field(default_factory=set)

    def add(self, address: Address, params: Params) -> None:
        """A recipient was accepted; the same one twice gets one mail."""
        self.answers.append(address)
        if address not in self._seen:
            self._seen.add(address)
            self.recipients.append(Recipient(address, params))

    def named(self) -> str:
        """The recipients, for the log."""
        names = [str(one.address) for one in self.recipients[:_LOGGED]]
        if len(self.recipients) > _LOGGED:
            names.append(f"and {len(self.recipients) - _LOGGED} more")
        return ",".join(names)

    def envelope(self, origin: Origin) -> Envelope:
        """What goes to the top of the spool entry."""
        return Envelope(self.sender, self.recipients, self.params, origin)

    def too_slow(self, now: float, window: float, rate: int) -> bool:
        """True when less than `rate` octets a second came in the last `window` seconds; looks once per window."""
        if self.mail is None or now - self.window < window:
            return False
        came = self.mail.size - self.window_size
        self.window, self.window_size = now, self.mail.size
        return came < rate * window
