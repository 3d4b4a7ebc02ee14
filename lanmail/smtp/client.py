"""Who is at the other end: where from, by what name, over which TLS, logged in as whom."""

import ssl
from dataclasses import dataclass, field

from lanmail import policy, received, settings
from lanmail.envelope import Origin


@dataclass(slots=True)
class Client:
    """The client of one connection. `lan`: it may relay without log-in, because of its address."""

    address: str
    kind: str  # that of the listener
    hostname: str  # ours
    lan: bool = False
    lmtp: bool = False
    helo: str = ""  # clean: it can stand in a header
    esmtp: bool = False
    tls: ssl.SSLObject | None = None
    account: settings.Account | None = None
    _origin: Origin | None = None
    _trace: dict[bool, str] = field(default_factory=dict)

    @property
    def account_name(self) -> str | None:
        """For the log."""
        return self.account.name if self.account is not None else None

    def hello(self, name: str, *, esmtp: bool) -> None:
        """HELO, EHLO or LHLO."""
        self.helo, self.esmtp = received.clean_helo(name), esmtp
        self._forget()

    def login(self, account: settings.Account) -> None:
        """AUTH has succeeded."""
        self.account = account
        self._forget()

    def secured(self, tls: ssl.SSLObject | None) -> None:
        """TLS begins: what was said before does not count (RFC 3207 §4.2)."""
        self.tls = tls
        self.helo, self.esmtp, self.account = "", False, None
        self._forget()

    def _forget(self) -> None:
        self._origin = None
        self._trace.clear()

    @property
    def origin(self) -> Origin:
        """What the spool entry says of how it came in."""
        if self._origin is None:
            fields = [("client", self.address), ("helo", self.helo)]
            if self.account is not None:
                fields.insert(0, ("account", self.account.name))
            if self.tls is not None:
                fields.append(("tls", str(self.tls.version())))
            kind = policy.SUBMISSION if self.account is not None else policy.LAN if self.lan else self.kind
            self._origin = Origin(kind, tuple(fields))
        return self._origin

    def trace(self, *, utf8: bool) -> str:
        """The part of Received that is the same for all mails of the session."""
        part = self._trace.get(utf8)
        if part is None:
            tls = self.tls
            word = received.protocol(
                lmtp=self.lmtp, esmtp=self.esmtp, utf8=utf8, tls=tls is not None, account=self.account is not None
            )
            secured = received.cipher(tls) if tls is not None else None
            part = received.session_part(self.helo, self.address, self.hostname, word, secured)
            self._trace[utf8] = part
        return part
