"""Which way a mail would go, and whether it could: for `lanmail route test`, the API and the pages.

    found = look(settings, account, to)         the way, as people name it, and what happens to mail on it
    await probe(house, found, say)              reach the server and log in, telling each step; send nothing
"""

from collections.abc import Callable
from dataclasses import dataclass

from lanmail import outgoing, rewriting, transports
from lanmail.address import Address
from lanmail.outgoing import Outgoing
from lanmail.settings import Account, Settings


@dataclass(frozen=True, slots=True)
class WayOut:
    """The way of one mail."""

    way: Outgoing
    account: str | None
    domain: str
    own: bool  # by settings of the account
    denied: str  # why the account may not send there at all, as smtpd says it

    @property
    def destination(self) -> str:
        """What fails and recovers as one."""
        return outgoing.destination(self.way, self.domain)


def look(loaded: Settings, account: Account | None, to: Address | None) -> WayOut:
    """The way to `to`, as if this account sent the mail; without an address that of all its mail."""
    own = account.outgoing if account is not None else None
    denied = ""
    if account is not None and account.deny_internet:
        denied = f"521 5.7.1 User <{to or 'ADDRESS'}> not local; no forwarding address (deny_internet)"
    return WayOut(outgoing.of(loaded.outgoing, own), account.name if account is not None else None,
                  to.domain if to is not None else "", own is not None and bool(outgoing.given(own)), denied)


def changes(way: Outgoing, loaded: Settings, ours: bool) -> list[tuple[str, str]]:
    """What else happens to the mail."""
    found = []
    if way.overwrite_sender:
        found.append(("sender", f"overwritten: {way.overwrite_sender}"))
    if ours and way.smime.sign:
        found.append(("S/MIME", f"signed with {way.smime.certificate}"))
    if ours and way.smime.encrypt != "never":
        found.append(("encrypted", f"{way.smime.encrypt} (conf/{rewriting.CERTIFICATES})"))
    if loaded.dkim.keys:
        found.append(("DKIM", "signed when From is in " + ", ".join(sorted({one.domain for one in loaded.dkim.keys}))))
    if way.max_size:
        found.append(("largest mail", f"{way.max_size} octets"))
    if way.max_recipients:
        found.append(("recipients", f"at most {way.max_recipients} a mail"))
    if way.rate:
        found.append(("rate", f"{way.rate} mails an hour"))
    if way.hold:
        found.append(("held back", f"{way.hold:g} s"))
    return found


async def probe(house: transports.House, found: WayOut, say: Callable[[str], None]) -> None:
    """Try it. MailError."""
    transport = transports.make(found.way.transport, house)
    try:
        if found.way.transport == "mx":
            await transport.probe(found.way, found.account, say, found.domain)  # type: ignore[call-arg]
        else:
            await transport.probe(found.way, found.account, say)
    finally:
        await transport.close()
