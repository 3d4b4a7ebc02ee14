"""Where one mail goes: into which Maildirs, to the outside, back, or nowhere.

`find` only looks names up (accounts.Directory); it touches no file, so it runs in the loop for every entry. When it
meets an account with rules, a group, or a sender whose mail is kept, it says so (`needs_rules`), and expansion.py
finds the way in a thread. One mailbox gets one copy, however many addresses lead to it. An address never becomes a
path: account names come from the directory alone.
"""

from dataclasses import dataclass, field

from lanmail import accounts, dsn, envelope
from lanmail.address import Address
from lanmail.errors import Permanent, Temporary
from lanmail.folders import quota
from lanmail.rules import archive, command
from lanmail.rules.mail import UNCHANGED, Changes, Made
from lanmail.settings import Account

RETURNED = "returned"  # a kind of origin: back to the account that forwarded it in vain, whatever its rules say


@dataclass(frozen=True, slots=True)
class Place:
    """A copy in a mailbox: `folder` is a directory of the Maildir ("" the INBOX); `flags` put it into cur/."""

    account: str
    recipient: envelope.Recipient | None  # who led there; None: the sender's own copy
    folder: str = ""
    flags: str = ""
    changes: Changes = UNCHANGED

    @property
    def key(self) -> str:
        """What tells it from the other places of the mail."""
        return f"{self.account}/{self.folder}" if self.folder else self.account


@dataclass(frozen=True, slots=True)
class Leaving:
    """How copies for outside differ from the mail as it came. Equal ones go out as one entry."""

    changes: Changes = UNCHANGED
    sender: Address | None = None
    origin: envelope.Origin | None = None  # None: sender and origin stay as they are
    mark: str = ""  # the address of ours that leads outside: seen again, it is a loop


@dataclass(slots=True)
class Route:
    """The destinations of one mail, each with the recipient that led there."""

    places: dict[str, Place] = field(default_factory=dict)  # by key
    external: dict[Address, envelope.Recipient] = field(default_factory=dict)  # as they came
    leaving: dict[Address, tuple[envelope.Recipient, Leaving]] = field(default_factory=dict)  # through one of ours
    made: list[Made] = field(default_factory=list)  # new mails and jobs
    failed: list[dsn.Report] = field(default_factory=list)
    stuck: list[tuple[envelope.Recipient, str]] = field(default_factory=list)  # for hold, with the reason
    deferred: list[dsn.Report] = field(default_factory=list)
    limits: dict[str, quota.Limits] = field(default_factory=dict)  # of those accounts that have one
    delivered_wanted: bool = False  # somebody asked to be told of success (NOTIFY=SUCCESS)
    needs_rules: bool = False
    aliased: bool = False  # somebody here was named who leads outside, so the entry names more than it may outside

    def only_account(self) -> str | None:
        """The account, when the whole mail goes to this one's INBOX and needs nothing else."""
        if len(self.places) != 1 or self.needs_rules or self.delivered_wanted or self.external or self.has_trouble():
            return None
        return next(iter(self.places))

    def only_external(self) -> bool:
        """True when the entry can go to the outside as it is."""
        return bool(self.external) and not (self.places or self.needs_rules or self.aliased or self.has_trouble())

    def has_trouble(self) -> bool:
        return bool(self.leaving or self.made or self.failed or self.stuck or self.deferred)


def find(directory: accounts.Directory, head: envelope.Envelope) -> Route:
    """Look every recipient up. Never raises for an address: what cannot be decided now is deferred."""
    route, origin = Route(), head.origin
    ruled = origin is None or origin.kind != RETURNED
    submitter = origin.get("account") if origin is not None and origin.kind == "submission" else None
    for one in head.recipients:
        try:
            found = directory.resolve(one.address)
        except Temporary as error:
            route.deferred.append(dsn.Report(one, error))
            continue
        if found.kind == "external":
            route.external.setdefault(one.address, one)
        elif found.kind == "unknown":
            route.failed.append(unknown(one))
        elif not (found.accounts or found.external or found.groups):
            route.stuck.append((one, NO_POSTMASTER))
        else:
            _local(route, one, found)
            route.needs_rules |= bool(found.groups)
    # the answer to a command goes the way that the account has taken since
    fresh = origin is not None and origin.get("source") == command.SOURCE
    for name in list(route.places):
        account = _account(directory, name, fresh=fresh)
        if account is not None:
            if limits := quota.Limits.of(account):
                route.limits[name] = limits
            if ruled and (account.has_rules or name == submitter or directory.filtered):
                route.needs_rules = True
    if submitter is not None and (sender := _account(directory, submitter)) is not None:
        route.needs_rules |= sender.sent_copy
    route.needs_rules |= _is_archived(directory, head)
    for address in route.external:  # named directly and through an alias: once
        route.leaving.pop(address, None)
    return route


NO_POSTMASTER = "mail for the postmaster, but no account is postmaster"


def unknown(one: envelope.Recipient) -> dsn.Report:
    """What is said of a name that nobody has."""
    return dsn.Report(one, Permanent(f"There is no {one.address.local} here", 550, "5.1.1"))


def through(one: envelope.Recipient) -> Leaving:
    """For an address outside that an alias leads to."""
    return Leaving(Changes(f"Delivered-To: {one.address}\n".encode()), mark=str(one.address))


def limits_of(directory: accounts.Directory, name: str) -> quota.Limits | None:
    """What an account may have; None without a limit. A broken file of an account stops no mail."""
    account = _account(directory, name)
    return (quota.Limits.of(account) or None) if account is not None else None


def _account(directory: accounts.Directory, name: str, *, fresh: bool = False) -> Account | None:
    try:
        return directory.account(name, fresh=fresh)
    except Temporary:
        return None


def _is_archived(directory: accounts.Directory, head: envelope.Envelope) -> bool:
    """Because of who sent it; who cannot be told now is looked at with time."""
    try:
        return archive.is_wanted(directory, head)
    except Temporary:
        return True


def _local(route: Route, one: envelope.Recipient, found: accounts.Resolution) -> None:
    for name in found.accounts:
        route.places.setdefault(name, Place(name, one))
    route.aliased |= bool(found.external)
    for address in found.external:
        route.leaving.setdefault(address, (one, through(one)))
    if one.params and dsn.wanted(one, "delivered"):
        route.delivered_wanted = True
