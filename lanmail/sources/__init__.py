"""Ways to fetch mail from elsewhere, each a module with a class `Driver`; what fetchmail and they expect of each other.

fetchmail does everything that has to do with time and with people: when a source is visited, one at a time for each
mailbox, back-off, the status, notices. A driver only fetches: it gets a `Visit` and says what came of it.

    class Driver:
        def __init__(self) -> None: ...
        async def fetch(self, visit: Visit) -> Outcome: ...          # look once, fetch at most visit.limit mails
        async def wait(self, visit: Visit) -> None: ...              # push: return when there may be new mail
        async def probe(self, visit: Visit, say) -> Probe: ...       # log in and look, change nothing
        async def close(self) -> None: ...

There is one object for each source, kept from visit to visit; it may keep its connection between `fetch` and `wait`
and must then find out in `fetch` whether that still lives. `wait` is only called with settings.push, after a visit
that went well, and never at the same time as `fetch`. When the settings of a source change it is closed, and a new one
is made.

How a mail is fetched
    box = await visit.box(key)            what was fetched from there before; `key` names the mailbox: user, folder and
                                          UIDVALIDITY for IMAP, user for POP3 (the server's name is added)
    batch = visit.batch(box)
    mail = batch.begin()                  a mail on its way in
    mail.write(piece)                     raw octets in wire form (CRLF), however they are cut; nothing is changed
    await mail.drain()                    between pieces: large mails go to the disk, memory does not grow with them
    batch.add(mail, uid)                  it is complete; or mail.abort()
    await batch.commit()                  when batch.full, and in the end: all of them are in spool/queue, durably, and
                                          then their UIDs are written down, durably. Only now may they be deleted there
    await batch.abort()                   always in the end (finally): whatever was not committed is forgotten

A kill at any step neither loses a mail nor brings it twice (uidlog.py).

What `fetch` may raise
    Refused (smtplogin)   the log-in was refused: counted, and after incoming.max_refused nothing is tried any more
    Later                 the server wants to be asked later, nothing is wrong (LOGIN-DELAY, in use)
    errors.Temporary      anything else that is wrong, in a sentence for people; so are Broken, OSError, TimeoutError
    anything else is a bug, is logged, and counts as Temporary. It may be cancelled at any await.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from lanmail.clients.smtplogin import Refused
from lanmail.errors import Temporary
from lanmail.sources.visit import Visit

__all__ = ["Driver", "Later", "Outcome", "Probe", "Refused", "Visit", "make"]

NAMES = ("pop3", "imap")  # modules of this package; imported when first used


class Later(Temporary):
    """The server asks for patience: not before `seconds` from now. No failure."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text, 451, "4.3.2")
        self.seconds = seconds


@dataclass(slots=True)
class Outcome:
    """What a visit did."""

    fetched: int = 0  # mails that are in the queue now
    octets: int = 0  # of those, as they lie in the queue
    deleted: int = 0  # on the server
    kept: int = 0  # mails that are on the server after the visit
    waiting: int = 0  # new mails that are still to be fetched: limit was reached
    large: int = 0  # mails that stay on the server for their size (visit.tell_large says so, once for each)
    pause: float = 0.0  # seconds for which the server does not want to see us again (LOGIN-DELAY)


@dataclass(slots=True)
class Probe:
    """What `lanmail source test` shows."""

    banner: str = ""
    tls: str = ""  # version and cipher; empty in clear
    login: str = ""  # the mechanism
    capabilities: tuple[str, ...] = ()
    messages: int = 0
    octets: int = 0
    oldest: str = ""  # the Date of the oldest mail, as it says
    folders: tuple[str, ...] = ()  # IMAP: those that would be fetched
    certificate: str = ""  # what it says (tlsclient.certificate)


class Driver(Protocol):
    """A way to fetch; see the module's text."""

    async def fetch(self, visit: Visit) -> Outcome:
        """Look once. Refused, Later, Temporary."""

    async def wait(self, visit: Visit) -> None:
        """Return when there may be new mail. Temporary."""

    async def probe(self, visit: Visit, say: Callable[[str], None]) -> Probe:
        """Log in and look, telling each step; change nothing. Refused, Later, Temporary."""

    async def close(self) -> None:
        """Give the connection back."""


def make(protocol: str) -> Driver:
    """A driver for one source; its module, and what it needs, is imported now."""
    assert protocol in NAMES, protocol
    module = importlib.import_module(f"lanmail.sources.{protocol}")
    return cast(Driver, module.Driver())
