"""Who may write to a group: `may_post` in groups.toml, judged by how a mail came in and never by its header.

    logged in               is that account, whatever the mail says
    LAN device, pickup      is local, and who its sender names: they may send as anybody
    one of our programs     may write to every group (bounces, notices)
    anybody else            is who the sender names, unless that is an address of ours: without a log-in it is forged

smtpd asks at RCPT, deliver again for what comes another way. What must not be posted is refused, but fetched mail is
the postmaster's then, and a mail without a sender (a bounce) the owner's.
"""

from typing import TYPE_CHECKING, Literal

from lanmail import envelope, groups, membership
from lanmail.address import Address
from lanmail.errors import Permanent
from lanmail.groups import Group

if TYPE_CHECKING:
    from lanmail.accounts import Directory
    from lanmail.settings import Account

Readers = Literal["members", "owner", "postmaster"]
_OURS, BELIEVED, _FETCHED = "local", ("lan", "pickup"), "fetch"  # kinds of origin


def readers(directory: "Directory", group: Group, origin: envelope.Origin, sender: Address | None,
            by: "Account | None" = None) -> Readers:
    """Who gets the mail: its members, if it may be posted. `by` forwarded it here, and counts as who posts it.

    Raises Permanent when it may not, Temporary when names cannot be looked up now.
    """
    if _may(directory, group, origin, sender, by):
        return "members"
    if origin.kind == _FETCHED:
        return "postmaster"
    if sender is None:
        return "owner"
    raise Permanent(f"You may not write to the group {group.name}", 550, "5.7.1")


def _may(directory: "Directory", group: Group, origin: envelope.Origin, sender: Address | None,
         by: "Account | None") -> bool:
    if group.is_open or (origin.kind == _OURS and by is None):
        return True
    account = by or submitter(directory, origin)
    if account is not None:
        own = sender if by is None else None  # a log-in may use addresses elsewhere that are granted to it
        return groups.LOCAL in group.may_post or _named(directory, group, account, own)
    if sender is None:
        return origin.kind in BELIEVED and groups.LOCAL in group.may_post
    if origin.kind in BELIEVED:
        return groups.LOCAL in group.may_post or any(
            _named(directory, group, one, sender) for one in _accounts_of(directory, sender) or [None])
    return not directory.is_local(sender.domain) and _named(directory, group, None, sender)


def submitter(directory: "Directory", origin: envelope.Origin) -> "Account | None":
    """The account that handed the mail in with a log-in."""
    name = origin.get("account") if origin.kind == "submission" else None
    return directory.account(name, fresh=False) if name is not None else None


def _accounts_of(directory: "Directory", sender: Address) -> "list[Account | None]":
    if not directory.is_local(sender.domain):
        return []
    return [directory.account(name, fresh=False) for name in directory.resolve(sender).accounts]


def _named(directory: "Directory", group: Group, account: "Account | None", sender: Address | None) -> bool:
    """Whether `may_post` names an account, or the address of somebody elsewhere, in whatever way."""
    for one in group.may_post:
        if one == groups.MEMBERS and _in(directory, group.name, account, sender):
            return True
        if one not in groups.WORDS:
            found = directory.resolve(membership.address_of(one, directory.domain))
            if account is not None and account.name in found.accounts:
                return True
            if sender is not None and str(sender).lower() in (str(other).lower() for other in found.external):
                return True
            if any(_in(directory, name, account, sender) for name in found.groups):
                return True
    return False


def _in(directory: "Directory", name: str, account: "Account | None", sender: Address | None) -> bool:
    if account is not None and directory.holds(name, account):
        return True
    return sender is not None and directory.members(name).has_outside(sender)


def sentence(group: Group) -> str:
    """Who may write to it, for people."""
    if group.is_open:
        return "anybody"
    words = {groups.LOCAL: "who is logged in or in the LAN", groups.MEMBERS: "its members"}
    return ", ".join(words.get(one, one) for one in group.may_post) or "nobody"
