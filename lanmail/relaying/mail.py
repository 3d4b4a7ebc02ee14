"""One mail that relay has in hand: its entry, its state, and what its parts brought so far."""

import asyncio
import fcntl
import os
from dataclasses import dataclass, field

from lanmail import address, atomic, entry, envelope, outbound, spool, transports
from lanmail.errors import MailError, Permanent
from lanmail.relaying.office import Office
from lanmail.relaying.route import Way


class Taken(Exception):
    """Somebody else has the entry at this moment (`lanmail queue`)."""


@dataclass(slots=True)
class Mail:
    """An entry between the first look at it and the end of a try."""

    entry: entry.Entry
    way: Way
    state: outbound.State
    saved: bool  # a state file exists
    sender: address.Address | None = None
    message: transports.Message | None = None
    apart: dict[address.Address, transports.Message] = field(default_factory=dict)  # messages of single recipients
    left: int = 0  # parts of this try that are not finished
    several: bool = False  # more than one part: the state is written after each
    counted: bool = False  # something was tried and put off: this try counts
    tried: bool = False  # something was sent, or a connection was tried
    blocked: list[str] = field(default_factory=list)  # names of destinations that cannot be reached
    again: list[str] = field(default_factory=list)  # recipients that the server wants in mails of their own
    held: str | None = None
    refused: bool = False  # preparing it failed: nothing is sent in this try
    started: "asyncio.Task[None] | None" = None
    saving: asyncio.Lock = field(default_factory=asyncio.Lock)
    version: int = 0  # of the state in memory, and of the one in its file
    written: int = 0
    fd: int = -1

    @property
    def id(self) -> str:
        return self.entry.id

    def take(self, office: Office) -> None:
        """Open, lock and claim the entry: it is ours until `close`. FileNotFoundError, Taken, OSError."""
        one, owner = self.entry, office.outbound
        self.fd = atomic.open_regular(one.name, dir_fd=owner.fd(one.place))
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken from None
        if one.place == spool.NEW:
            owner.claim(one.name)
            one.place = spool.CUR
        else:
            os.stat(one.name, dir_fd=owner.fd(spool.CUR))
        self.sender = one.head.sender
        self.message = transports.Message.of_file(self.fd, one.offset)

    def surrender(self) -> int:
        """The descriptor of the entry, -1 when it is not open; whoever asks has to close it."""
        descriptor, self.fd = self.fd, -1
        return descriptor

    def close(self) -> None:
        """Let go of it."""
        if (descriptor := self.surrender()) >= 0:
            os.close(descriptor)
        self.message = None
        self.apart = {}

    def undecided(self) -> list[envelope.Recipient]:
        """Recipients that still have to get it, each once."""
        found = {one.address: one for one in self.entry.head.recipients}
        return [one for one in found.values() if not self.state.decided(str(one.address))]

    def decide(self, recipient: envelope.Recipient, answer: MailError, remote: str | None, now: float, *,
               told: bool = False) -> None:
        """Note the last word about a recipient; `told` when the next server tells the sender of it."""
        if 200 <= answer.code < 300:
            status = outbound.SENT
        else:
            status = outbound.FAILED if isinstance(answer, Permanent) else outbound.DEFERRED
        self.state.recipients[str(recipient.address)] = outbound.Decision(status, str(answer), remote, now, told)
