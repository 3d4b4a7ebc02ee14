"""Which way a mail goes, and in how many mails: looks at accounts and settings, touches no file.

Mail of an account goes the account's way. Mail that a program or device on the LAN sent under an address of exactly one
account is that account's, too. Everything else goes the default way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lanmail import accounts, entry, envelope, outgoing
from lanmail.errors import Permanent
from lanmail.outgoing import Outgoing
from lanmail.relaying.office import Office

_UNNAMED = frozenset({"pickup", "lan", "local"})  # handed in by our own without a log-in


@dataclass(frozen=True, slots=True)
class Way:
    """Whose mail it is, which way it goes, and whether it may go at all."""

    account: str | None
    settings: Outgoing
    own_rate: bool = False  # the account has a rate of its own
    denied: bool = False


@dataclass(slots=True)
class Part:
    """Recipients of a mail that go to one destination in one mail."""

    name: str  # the same at every try, whoever of the recipients is left
    destination: str
    recipients: list[envelope.Recipient]
    domain: str | None = None


def way_of(office: Office, one: entry.Entry) -> Way:
    """The way out of an entry. Temporary when the account's file is broken."""
    default, name = office.settings().outgoing, accounts.sender_of(office.directory, one.head)
    if name is None:
        return Way(None, default)
    account = office.directory.account(name, fresh=False)
    if account is None:
        return Way(None, default)
    known = office.ways.get(name)
    if known is not None and known[0] is default and known[1] is account:  # the same until a file changes
        return known[2]
    own = account.outgoing
    way = Way(name, outgoing.of(default, own), "rate" in outgoing.given(own), account.deny_internet)
    office.ways[name] = default, account, way
    return way


def is_ours(one: entry.Entry) -> bool:
    """Whether the mail was written here: by an account, a device or program of the LAN, or one of our programs."""
    origin = one.head.origin
    return origin is not None and (origin.kind == "submission" or origin.kind in _UNNAMED)


def refusal(way: Way, one: entry.Entry, recipient: envelope.Recipient) -> Permanent | None:
    """Why this mail must not go out to this recipient at all."""
    if way.denied:
        return Permanent(f"User <{recipient.address}> not local; no forwarding address", 521, "5.7.1")
    limit = way.settings.max_size
    if limit and way.account is not None and one.size - one.offset > limit:
        return Permanent(f"Message larger than the {limit} octets that may go outside", 552, "5.3.4")
    return None


def parts(way: Way, entry_id: str, recipients: Iterable[envelope.Recipient], *, by_domain: bool) -> list[Part]:
    """One mail for each destination, split as the settings or the server want it.

    `recipients` are all of the entry, so that a part keeps its name when others are done.
    """
    settings = way.settings
    suffix = f" ({way.account})" if way.own_rate else ""
    grouped: dict[str, list[envelope.Recipient]] = {}
    for one in {one.address: one for one in recipients}.values():
        domain = one.address.domain if by_domain or settings.transport == "mx" else ""
        grouped.setdefault(domain, []).append(one)
    found: list[Part] = []
    for domain, group in grouped.items():
        # Graph sends to all who stand in the header, so there a part would reach everybody
        step = len(group) if settings.transport == "graph" else settings.max_recipients or len(group)
        found += [Part("", outgoing.destination(settings, domain) + suffix, group[start : start + step], domain or None)
                  for start in range(0, len(group), step)]
    for number, part in enumerate(found):
        part.name = entry_id if len(found) == 1 else f"{entry_id}-{'d' if by_domain else ''}{number + 1}"
    return found
