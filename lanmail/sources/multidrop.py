"""To whom the mails of a collective mailbox go: one mailbox elsewhere that gets the mail of many people here.

    Sorter(wishes, directory, domain).sort(header) -> Sorted(recipients, by)
    recipients(source, directory, domain) -> function for sources.batch

The first of `headers` that names somebody here decides. They are in the order in which they can be trusted: what the
server that put the mail there wrote about its envelope, then what the hops before say (Received … for), then what the
sender wrote, which knows no Bcc and nothing of mailing lists; that is believed only where no envelope names an address
of ours. Whoever cannot be found that way is not guessed: the fallback account gets the mail, or the postmaster.

Invariants: every recipient is an account or group of ours under an address that leads nowhere else, so a collective
mailbox never sends to the internet, not through an alias either; only what a group has as members, and an account
forwards, counts as always. Within one run nobody gets two copies of one mail, which a
provider may have put there once for each recipient; somebody else named in the second copy does get it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from lanmail import accounts, address, charset, incoming, message
from lanmail.address import Address
from lanmail.incoming import Source

WRITTEN = "To"  # stands for all that the sender wrote: Resent-To, Resent-Cc, Resent-Bcc, or else To, Cc, Bcc
_LAST = frozenset({"delivered-to", "x-original-to", "received"})  # each hop puts one on top: the first of ours counts
_RESENT = (b"Resent-To", b"Resent-Cc", b"Resent-Bcc")
_TO = (b"To", b"Cc", b"Bcc", b"Apparently-To")
_FOR = re.compile(rb"\bfor\s+<?([^\s<>;()]{1,512})>?", re.IGNORECASE)
_COMMENT = re.compile(rb"\([^()]*\)")
_MOST = 1000  # addresses of one header that are looked at


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a source's settings say about it; `headers` in the order in which they count."""

    headers: Sequence[str] = tuple(incoming.HEADERS)
    prefix: str = ""  # what qmail writes in front of a local part, like "firma-"
    fallback: str = ""  # an account; empty: the postmaster
    own: str = ""  # the user name of the mailbox itself, which says nothing about whom a mail is for
    same: str = "Message-ID"  # the header by which a second copy is known; empty: none is


@dataclass(frozen=True, slots=True)
class Sorted:
    """The recipients of one mail. None of them left means that all have it already."""

    recipients: tuple[Address, ...]
    by: str  # the header that told; "fallback" when none did


@dataclass(slots=True)
class Sorter:
    """One run through one collective mailbox; `domain` is our own, for addresses of accounts."""

    wishes: Wishes
    directory: accounts.Directory
    domain: str
    _given: dict[bytes, set[str]] = field(default_factory=dict)

    def sort(self, header: bytes) -> Sorted:
        """Who gets the mail. Temporary when accounts cannot be read."""
        by, named = "fallback", [self._fallback()]
        told = False
        for name in self.wishes.headers:
            if name.lower() == WRITTEN.lower() and told:
                break
            found = self._ours(name, header)
            told = told or bool(found)
            if any(self._known(one) for one in found):
                by, named = name, self._resolved(found)
                break
        return Sorted(self._fresh(header, named), by)

    def _ours(self, name: str, header: bytes) -> list[Address]:
        """The addresses of ours that a header names."""
        for values in self._values(name.lower(), header):
            found = [one for one in self._addresses(values) if self._is_ours(one)]
            if found:
                return found
        return []

    def _values(self, name: str, header: bytes) -> Iterator[list[bytes]]:
        """What is looked at together, the first that tells something counting."""
        if name == WRITTEN.lower():
            yield [value for one in _RESENT for value in message.fields(header, one)]
            yield [value for one in _TO for value in message.fields(header, one)]
            return
        values = message.fields(header, name.encode("ascii", "replace"))
        if name == "received":
            values = [told[1] for one in values if (told := _FOR.search(_COMMENT.sub(b" ", one)))]
        if name in _LAST:
            yield from ([value] for value in values)
        else:
            yield values

    def _addresses(self, values: Iterable[bytes]) -> Iterator[Address]:
        for value in values:
            for one in address.from_header(charset.decode(value, None), _MOST):
                yield self._without_prefix(one)

    def _without_prefix(self, one: Address) -> Address:
        """qmail writes `PREFIX-local@domain` into Delivered-To, where the prefix often is the domain itself."""
        for prefix in (self.wishes.prefix, f"{one.domain}-"):
            if prefix and one.local.lower().startswith(prefix.lower()) and len(one.local) > len(prefix):
                return Address(one.local[len(prefix):], one.domain)
        return one

    def _is_ours(self, one: Address) -> bool:
        return bool(one.domain) and str(one).lower() != self.wishes.own.lower() and self.directory.is_local(one.domain)

    def _resolved(self, named: Iterable[Address]) -> list[Address]:
        """Addresses of accounts, each account once; whom nobody knows is the fallback's."""
        found: dict[str, Address] = {}
        for one in named:
            known = self._known(one)
            for name in known or [self.wishes.fallback]:
                found.setdefault(name, known[name](one) if known else self._fallback())
        return list(dict.fromkeys(found.values()))

    def _known(self, one: Address) -> dict[str, Callable[[Address], Address]]:
        """The accounts and groups of ours that an address leads to, each with what finds the address that does."""
        led = self.directory.resolve(one)
        found: dict[str, Callable[[Address], Address]] = {name: partial(self._of, name) for name in led.accounts}
        for name in led.groups:
            found[name] = partial(self._of_group, name)
        return found

    def _of_group(self, name: str, one: Address) -> Address:
        group = self.directory.group(name)
        return group.address_in(one.domain) if group is not None else one

    def _of(self, account: str, one: Address) -> Address:
        """An address that leads to this account alone: the one that was used, where it does."""
        for candidate in (one, Address(account, self.domain)):
            found = self.directory.resolve(candidate)
            if found.accounts == (account,) and not found.external:
                return candidate
        return Address("postmaster", self.domain)

    def _fallback(self) -> Address:
        name = self.wishes.fallback
        return self._of(name, Address(name, self.domain)) if name else Address("postmaster", self.domain)

    def _fresh(self, header: bytes, named: Sequence[Address]) -> tuple[Address, ...]:
        """Those who did not get this mail in this run."""
        mark = message.field(header, self.wishes.same.encode("ascii", "replace")) if self.wishes.same else None
        if not mark:
            return tuple(named)
        given = self._given.setdefault(mark, set())
        fresh = tuple(one for one in named if str(one) not in given)
        given.update(map(str, fresh))
        return fresh


def recipients(source: Source, directory: accounts.Directory, domain: str) -> Callable[[bytes], Sequence[Address]]:
    """For one visit to a source with multidrop: from the header of a mail to those who get it."""
    wishes = Wishes(headers=source.headers, prefix=source.prefix, fallback=source.fallback, own=source.user,
                    same=source.dedupe)
    sorter = Sorter(wishes, directory, domain)
    return lambda header: sorter.sort(header).recipients
