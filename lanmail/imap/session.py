"""One client's session: who is logged in, what is selected, and how answers are said.

The command families (`fetch`, `folders`, …) are functions on a `Session`; `dispatch` reads commands and calls them.
A family answers by returning the text behind `OK`, or by raising `No` or `Bad`; untagged data it says itself.
Sequence numbers change only in `report`, and only when the command permits it (RFC 3501 §7.4.1).
"""

import asyncio
import enum
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from lanmail.imap import wire

if TYPE_CHECKING:
    from lanmail import settings
    from lanmail.imap import box, mailbox, names, notices, worker

SLICE = 0.005  # seconds of work after which other sessions get their turn
READ_PATIENCE = 300.0  # seconds that a client may take to read what it asked for


# RFC 5530: others expunged what was asked for. OK, because a client that gets NO gives up on the rest, too.
EXPUNGED = "[EXPUNGEISSUED] Some of the messages are no longer there."


class State(enum.IntFlag):
    """RFC 3501 §3; a command table entry may name several."""

    FRESH = 1
    AUTHENTICATED = 2
    SELECTED = 4
    OVER = 8


INSIDE = State.AUTHENTICATED | State.SELECTED
ANY = State.FRESH | INSIDE


class No(Exception):
    """The command is refused: `NO [code] text`."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Bad(Exception):
    """The command is not understood, or makes no sense here: `BAD text`."""


class Session:
    """The state of one connection."""

    def __init__(self, connection: wire.Connection, of: "worker.Worker") -> None:
        self.connection = connection
        self.worker = of
        self.state = State.FRESH
        self.account: settings.Account | None = None
        self.folders: names.Home | None = None
        self.selected: mailbox.View | None = None
        self.notices: notices.Notices | None = None  # None: no NOTIFY, all is said as RFC 3501 has it
        self.enabled: set[str] = set()
        self.tag = b"*"  # of the command that runs
        self.failed_logins = 0
        self.warned = 0  # per cent of the quota that the client was told of
        self.bad_commands = 0
        self.began = time.monotonic()
        self._slice_ends = 0.0

    @property
    def timeout(self) -> float:
        """How long the client may be silent now."""
        limits = self.worker.limits
        if self.state is State.FRESH:
            return max(0.01, self.began + limits.login_timeout - time.monotonic())
        return float(limits.idle_timeout)

    @property
    def home(self) -> "names.Home":
        """The folders of whoever is logged in."""
        assert self.folders is not None
        return self.folders

    @property
    def view(self) -> "mailbox.View":
        """The selected mailbox."""
        assert self.selected is not None
        return self.selected

    # extensions that are switched on

    @property
    def condstore(self) -> bool:
        """Whether the client wants mod-sequences (RFC 7162 §3.1)."""
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        """Whether the client wants VANISHED in the place of EXPUNGE (RFC 7162 §3.2)."""
        return "QRESYNC" in self.enabled

    def enable(self, name: str) -> None:
        """Switch an extension on for the rest of the session; QRESYNC brings CONDSTORE with it (RFC 7162 §3.2.3)."""
        if name == "QRESYNC":
            self.enable("CONDSTORE")
        if name not in self.enabled:
            self.enabled.add(name)
            if name == "UTF8=ACCEPT":
                self.home.utf8 = True
            if name == "CONDSTORE" and self.selected is not None:
                self.untagged(b"OK [HIGHESTMODSEQ %d] Highest." % self.selected.known)

    # saying

    def untagged(self, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode("utf-8")
        self.connection.write(b"* " + data + b"\r\n")

    def tagged(self, tag: bytes, kind: str, text: str) -> None:
        self.connection.write(tag + f" {kind} {text}\r\n".encode())

    def bye(self, text: str) -> None:
        """Announce the end; the dispatcher hangs up."""
        self.untagged(f"BYE {text}")
        self.state = State.OVER

    def leave(self) -> None:
        """The server is stopping."""
        self.connection.interrupt("The server is stopping, come back in a moment.")

    def login_ended(self, now: bool) -> None:
        """The account was disabled, or the token taken back."""
        if now:
            self.connection.abort()
        else:
            self.connection.interrupt("Your log-in has ended, log in again.")

    async def room(self) -> None:
        """Call between pieces of much output: waits while the client does not read, lets others work."""
        if self.connection.full:
            await self.connection.drain(READ_PATIENCE)
            self._slice_ends = time.monotonic() + SLICE
        else:
            await self.breathe()

    async def breathe(self) -> None:
        """Call between pieces of much work: after a slice of time the other sessions get their turn."""
        now = time.monotonic()
        if now > self._slice_ends:
            if self._slice_ends:
                await asyncio.sleep(0)
            self._slice_ends = time.monotonic() + SLICE
            if self.connection.lost:
                raise wire.Closed

    # the selected mailbox

    async def look(self) -> None:
        """Learn what happened to the selected mailbox, without saying it yet."""
        if self.selected is not None:
            await self.selected.box.refresh()

    async def report(self, *, expunges: bool) -> None:
        """Say what happened to the selected mailbox since the last report."""
        if self.selected is not None:
            await self.selected.report(self, expunges=expunges)

    # what NOTIFY asked for (RFC 5465)

    def heed(self, wishes: "notices.Notices | None") -> None:
        """Say from now on what is wished for; None: as if there had been no NOTIFY."""
        if self.notices is not None:
            self.notices.close()
        self.notices = wishes

    def wants(self, event: str) -> bool:
        """Whether the client wants to hear of such an event in the selected mailbox."""
        return self.notices is None or event in self.notices.selected

    def stored(self, into: "box.Box", uids: Collection[int]) -> None:
        """This client put messages into a mailbox, which need not be told him."""
        if self.notices is not None:
            self.notices.stored(into, uids)

    def unselect(self) -> None:
        """Leave the selected mailbox, if any."""
        if self.selected is not None:
            if self.notices is not None:
                self.notices.left(self.selected)
            self.selected.close()
            self.selected = None
        if self.state is State.SELECTED:
            self.state = State.AUTHENTICATED
