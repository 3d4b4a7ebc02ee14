"""One visit to a source: what a driver is given for it."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lanmail import incoming, notice, secret, spool, tokens, units
from lanmail.address import Address
from lanmail.clients import smtplogin, tlsclient, tunnel
from lanmail.incoming import Source
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources import place
from lanmail.sources.batch import Again, Batch, Recipients
from lanmail.sources.uidlog import UidLog


@dataclass(slots=True)
class Visit:
    """A source, its settings at the moment, and where its mail goes. See lanmail.sources."""

    paths: Paths
    house: Settings
    account: str
    name: str
    settings: Source  # with all defaults (incoming.of)
    queue: spool.Spool
    say: Callable[[str], None] = lambda _text: None  # --trace
    force: bool = False  # asked for by hand
    recipients: Recipients | None = None  # who gets a mail, from its header; None: the account
    _token: tokens.Token | None = field(default=None, init=False)

    @property
    def label(self) -> str:
        """ACCOUNT/NAME, as on the command line and in X-Origin."""
        return f"{self.account}/{self.name}"

    @property
    def server(self) -> str:
        """host:port"""
        return f"{self.settings.host}:{incoming.port_of(self.settings)}"

    @property
    def limit(self) -> int:
        """How many mails to fetch at most."""
        return self.settings.mails_per_pass

    @property
    def timeout(self) -> float:
        """Seconds that the server may be silent."""
        return self.settings.timeout

    # reaching the server

    async def credentials(self) -> smtplogin.Credentials | None:
        """Who logs in; None for nobody. Temporary when password or token cannot be had."""
        wanted = self.settings
        if not wanted.user or wanted.auth == "none":
            return None
        if wanted.auth == "oauth2":
            self._token = await tokens.access(self.paths, wanted.app, wanted.user)
            return smtplogin.Credentials(wanted.user, self._token.secret, is_token=True)
        password = await asyncio.to_thread(secret.read, wanted.password, self.paths.conf)
        return smtplogin.Credentials(wanted.user, password)

    def refused(self) -> None:
        """The server did not let us in: a token that should have been good is reported."""
        if self._token is not None:
            tokens.rejected(self.paths, self._token)

    @property
    def wish(self) -> tlsclient.Wish:
        """What is asked of TLS."""
        return tlsclient.wish(self.settings, self.paths.conf)

    async def tls_context(self) -> ssl.SSLContext:
        """The context for TLS. Temporary."""
        return await asyncio.to_thread(tlsclient.context, self.wish)

    @property
    def via(self) -> tunnel.Proxy | None:
        """The proxy. Temporary when its password cannot be read."""
        return tunnel.of(self.settings, self.paths.conf)

    # what was fetched, and what is

    async def box(self, key: str) -> UidLog:
        """What was fetched from a mailbox before; `key` names it at this server."""
        file = place.safe(f"{self.settings.host} {key}") + ".uids"
        return await asyncio.to_thread(self._open, place.directory(self.paths, self.account, self.name) / file)

    def _open(self, file: Path) -> UidLog:
        log = UidLog(file)
        log.recover(self.queue.fd(spool.TMP))
        return log

    def batch(self, box: UidLog, again: Again | None = None) -> Batch:
        """Mails on their way from that mailbox into spool/queue.

        `again` tells by its digest that a mail was fetched before: it is remembered under its new UID, and not kept.
        """
        received = (f"from {self.settings.host} by {self.house.server.hostname} with {self.settings.protocol.upper()}"
                    " (lanmail)")
        marks = (("multidrop", "yes"),) if self.settings.multidrop else ()
        return Batch(self.queue, box, self.label, self.recipients or self._owner, received, marks, again)

    def _owner(self, _header: bytes) -> Sequence[Address]:
        return (Address(self.account, self.house.server.domain),)

    async def tell_large(self, box: UidLog, found: Sequence[tuple[str, str, int]]) -> int:
        """Tell the account of mails that stay on the server for their size: (UID, subject, octets), each once.

        How many were new. OSError.
        """
        fresh = [one for one in found if not box.was_told(one[0])]
        if not fresh:
            return 0
        lines = [f"  {octets / (1 << 20):.1f} MB  {' '.join(subject.split())[:200]}" for _, subject, octets in fresh]
        text = (f"These mails are in the mailbox {self.settings.user} at {self.settings.host}, and stay there,\n"
                f"because mail of {units.format_size(self.settings.max_size)} or more is not fetched:\n\n"
                + "\n".join(lines[:200]) + "\n\nRead them there, or ask your administrator for a higher limit"
                f" (max_size of\nthe source {self.name}).")
        what = "A large mail was" if len(fresh) == 1 else f"{len(fresh)} large mails were"

        def work() -> None:
            if self.house.incoming.notices:
                notice.put(self.paths, self.house, self.account, f"{what} not fetched from {self.settings.user}", text,
                           "fetch-large")
            box.tell([uid for uid, _, _ in fresh])

        await asyncio.to_thread(work)
        return len(fresh)
