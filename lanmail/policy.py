"""Who may send what to whom.

A client is nobody (a server or program on port 25), in a listed LAN network, or logged in as an account. Nobody reaches
local recipients only. Relaying is for the other two; an account only under its own addresses.
No text of an address is ever taken apart here beyond local part and domain: `a%b@local`, `a!b@local` and `"a@b"@local`
are local parts like any other, and nobody of that name lives here.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from lanmail import message, outgoing, posting
from lanmail.address import Address, from_header, parse
from lanmail.envelope import Origin
from lanmail.errors import Permanent, Temporary

if TYPE_CHECKING:
    from lanmail import accounts, settings

    Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

MX, SUBMISSION, SUBMISSIONS, LAN, LMTP = "mx", "submission", "submissions", "lan", "lmtp"


@lru_cache(maxsize=4096)
def within(client: str, networks: "Networks") -> bool:
    """Whether an IP address lies in one of the networks."""
    try:
        ip = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip.version == network.version and ip in network for network in networks)


def fixed_sender(client: str, settings_: "settings.Settings") -> Address | None:
    """The sender that every mail of this LAN device gets."""
    text = settings_.smtpd.lan.senders.get(client)
    return parse(text) if text else None


def sender(directory: "accounts.Directory", account: "settings.Account", address: Address | None) -> None:
    """Raise Permanent unless the account may send as `address`."""
    if not directory.may_send_as(account.name, address):
        raise Permanent(f"<{address or ''}> is not an address of {account.name}", 553, "5.7.1")


def author(directory: "accounts.Directory", account: "settings.Account", header: bytes) -> None:
    """The same for the header From (`check_author`): raise Permanent for an address of somebody else."""
    for value in message.fields(header, b"From"):
        for address in from_header(message.decode_words(value)):
            if not directory.may_send_as(account.name, address):
                raise Permanent(f"From: <{address}> is not an address of {account.name}", 550, "5.7.1")


def recipient(
    directory: "accounts.Directory", address: Address, account: "settings.Account | None", *, lan: bool,
    origin: Origin, sender: Address | None, full: Callable[[str], bool],
) -> bool:
    """True when `address` is outside. Raise Permanent unless mail may go there; Temporary when that is not known.

    `full` tells whether an account has no room for more mail.
    """
    found = directory.resolve(address)
    if found.kind == "local":
        for name in found.groups:
            if group := directory.group(name):
                posting.readers(directory, group, origin, sender)
        if found.accounts and not found.external and all(map(full, found.accounts)):
            raise Temporary(f"<{address}>: the mailbox is full, try again later", 452, "4.2.2")
        return False
    if found.kind == "unknown":
        raise Permanent(f"<{address}> has no mailbox here", 550, "5.1.1")
    if account is None and not lan:
        raise Permanent(f"<{address}>: relay access denied", 554, "5.7.1")
    if account is not None and account.deny_internet:
        raise Permanent(f"User <{address}> not local; no forwarding address", 521, "5.7.1")
    return True


def outside_limit(settings_: "settings.Settings", account: "settings.Account | None") -> int:
    """The most octets that a mail to somebody outside may have."""
    way = outgoing.of(settings_.outgoing, account.outgoing if account is not None else None)
    return min(settings_.smtpd.max_size, way.max_size or settings_.smtpd.max_size)


def too_large(limit: int) -> Permanent:
    """The answer to a mail that nobody gets."""
    return Permanent(f"Message larger than {limit} octets", 552, "5.3.4")


def too_large_outside(limit: int) -> Permanent:
    """The answer to one that people here may get."""
    return Permanent(f"Message larger than the {limit} octets that may go outside", 552, "5.3.4")
