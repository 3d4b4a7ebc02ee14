"""Where the recipients of one mail lead: into which Maildirs, to the outside, or nowhere.

Only looks names up (accounts.Directory); touches no file, so it runs in the loop for every entry. One account gets
one copy, however many of its addresses a mail names. An address never becomes a path: account names come from the
directory alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lanmail import accounts, dsn, envelope, quota
from lanmail.address import Address
from lanmail.errors import Permanent, Temporary


@dataclass(slots=True)
class Route:
    """The destinations of one mail, each with the recipient that led there."""

    accounts: dict[str, envelope.Recipient] = field(default_factory=dict)
    external: dict[Address, envelope.Recipient] = field(default_factory=dict)  # as they came
    expanded: dict[Address, envelope.Recipient] = field(default_factory=dict)  # through an alias of ours
    failed: list[dsn.Report] = field(default_factory=list)
    stuck: list[tuple[envelope.Recipient, str]] = field(default_factory=list)  # for hold, with the reason
    deferred: list[dsn.Report] = field(default_factory=list)
    limits: dict[str, quota.Limits] = field(default_factory=dict)  # of those accounts that have one
    delivered_wanted: bool = False  # somebody asked to be told of success (NOTIFY=SUCCESS)

    def only_account(self) -> str | None:
        """The account, when the whole mail goes to this one and needs nothing else."""
        if len(self.accounts) != 1 or self.delivered_wanted or self.external or self.has_trouble():
            return None
        return next(iter(self.accounts))

    def only_external(self) -> bool:
        """True when the entry can go to the outside as it is."""
        return bool(self.external) and not self.accounts and not self.has_trouble()

    def has_trouble(self) -> bool:
        return bool(self.expanded or self.failed or self.stuck or self.deferred)


def find(directory: accounts.Directory, recipients: Iterable[envelope.Recipient]) -> Route:
    """Look every recipient up. Never raises for an address: what cannot be decided now is deferred."""
    route = Route()
    for one in recipients:
        try:
            found = directory.resolve(one.address)
        except Temporary as error:
            route.deferred.append(dsn.Report(one, error))
            continue
        if found.kind == "external":
            route.external.setdefault(one.address, one)
        elif found.kind == "unknown":
            route.failed.append(dsn.Report(one, Permanent(f"There is no {one.address.local} here", 550, "5.1.1")))
        elif not found.accounts and not found.external:
            route.stuck.append((one, "mail for the postmaster, but no account is postmaster"))
        else:
            _local(route, one, found)
    for name in route.accounts:
        if limits := limits_of(directory, name):
            route.limits[name] = limits
    for address in route.external:  # named directly and through an alias: once
        route.expanded.pop(address, None)
    return route


def limits_of(directory: accounts.Directory, name: str) -> quota.Limits | None:
    """What an account may have; None without a limit. A broken file of an account stops no mail."""
    try:
        account = directory.account(name, fresh=False)
    except Temporary:
        return None
    return (quota.Limits.of(account) or None) if account is not None else None


def _local(route: Route, one: envelope.Recipient, found: accounts.Resolution) -> None:
    for name in found.accounts:
        route.accounts.setdefault(name, one)
    for address in found.external:
        route.expanded.setdefault(address, one)
    if one.params and dsn.wanted(one, "delivered"):
        route.delivered_wanted = True
