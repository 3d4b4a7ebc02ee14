"""A mail at a group: who gets it, and how their copies differ.

Everybody gets one copy, however often he is named in groups within groups. What the group that was written to says
about header lines and rights holds for all copies; the groups in it are only lists of people. A copy for outside comes
from the group's owner, so that what comes back does not go to who wrote, and carries a mark by which we know the mail
if it returns. The body and all other fields stay as they are, so a DKIM signature survives unless there is a
`subject_tag` (or the reply_to of a mail that had signed its Reply-To).
"""

import base64
from dataclasses import dataclass, field

from lanmail import address, charset, envelope, groups, log, membership, message, names, posting
from lanmail.address import Address
from lanmail.errors import Permanent
from lanmail.groups import Group
from lanmail.rules.mail import UNCHANGED, Changes, Mail
from lanmail.settings import Account

MARK = b"X-Loop"
_LONGEST_LINE = 990  # RFC 5322 §2.1.1: 998 without the line end


@dataclass(frozen=True, slots=True)
class Fanout:
    """Who gets a mail to a group: `instead` alone, else accounts and addresses outside."""

    instead: Address | None = None
    accounts: tuple[str, ...] = ()
    changes: Changes = UNCHANGED  # of the copies that stay here
    external: tuple[Address, ...] = ()
    outside: Changes = UNCHANGED  # of the copies for outside
    sender: Address | None = None  # and their envelope
    origin: envelope.Origin = field(default_factory=lambda: envelope.Origin("local"))


def expand(mail: Mail, group: Group, to: Address, by: Account | None = None) -> Fanout:
    """The mail to the address `to`, which led to the group; `by` is the account that forwarded it there.

    Raises Permanent when it may not be posted, or is here again; Temporary.
    """
    directory = mail.directory
    mine = group.address_in(to.domain if directory.is_local(to.domain) else directory.domain)
    mine = address.parse(mine.in_ascii or str(mine))  # it stands in header fields that may be ASCII only
    owner = Address(f"{group.name}{groups.OWNER}", mine.domain)
    match posting.readers(directory, group, mail.origin, mail.sender, by):
        case "postmaster":
            return Fanout(Address(names.POSTMASTER[0], mine.domain))
        case "owner":
            return Fanout(owner)
    if str(mine).encode() in (value.strip(b"<>").lower() for value in message.fields(mail.header, MARK)):
        raise Permanent(f"Mail loop: this mail has been at the group {mine}", 554, "5.4.6")
    members = directory.members(group.name)
    _tell(mail, group, members)
    accounts, external = _readers(mail, group, members, by)
    if not accounts and not external:
        log.group_empty(id=mail.id, group=group.name)
        return Fanout(owner)
    changes = _changes(mail, group, mine)
    outside = Changes(changes.lines + MARK + b": <" + str(mine).encode() + b">\n", changes.subject, changes.reply_to)
    origin = envelope.Origin(mail.origin.kind, (*mail.origin.fields, ("group", group.name)))
    return Fanout(None, accounts, changes, external, outside, owner if mail.sender is not None else None, origin)


def _tell(mail: Mail, group: Group, members: membership.Membership) -> None:
    """What an administrator should mend."""
    for ring in members.rings:
        log.group_ring(id=mail.id, group=group.name, ring=ring)
    for target in members.unknown:
        log.target_unknown(id=mail.id, to=target, via=group.name)


def _readers(mail: Mail, group: Group, members: membership.Membership,
             by: Account | None) -> tuple[tuple[str, ...], tuple[Address, ...]]:
    """Accounts and addresses outside that get a copy. Permanent when nobody is left whom the sender may reach."""
    accounts = dict(members.accounts)
    if members.everyone:
        accounts.update(dict.fromkeys(mail.directory.people()))
    external = dict(members.external)
    poster = by or posting.submitter(mail.directory, mail.origin)
    if poster is not None and poster.deny_internet and external:
        for one in external:
            log.denied_internet(id=mail.id, account=poster.name, to=str(one))
        external.clear()
        if not accounts:
            raise Permanent(f"User <{group.name}> not local; no forwarding address", 521, "5.7.1")
    if not group.copy_to_sender and by is None:
        others = [one for one in accounts if one not in _senders(mail)]
        beyond = [one for one in external if str(one).lower() != str(mail.sender).lower()]
        if others or beyond:  # who writes to himself alone gets it
            return tuple(others), tuple(beyond)
    return tuple(accounts), tuple(external)


def _senders(mail: Mail) -> tuple[str, ...]:
    """The account that wrote the mail, as far as that can be believed."""
    if mail.submitter is not None:
        return (mail.submitter,)
    believed = mail.origin.kind in posting.BELIEVED
    if mail.sender is None or not believed or not mail.directory.is_local(mail.sender.domain):
        return ()
    return mail.directory.resolve(mail.sender).accounts


# the header

def _changes(mail: Mail, group: Group, mine: Address) -> Changes:
    lines = b""
    if group.list_id and message.field(mail.header, b"List-Id") is None:
        # RFC 2919 §3, RFC 2369 §3.4; a mail of another list stays that list's
        lines = f"List-Id: <{group.name}.{mine.domain}>\nList-Post: <mailto:{mine}>\n".encode()
        if message.field(mail.header, b"Precedence") is None:
            lines += b"Precedence: list\n"
    return Changes(lines, _subject(mail, group.subject_tag), _reply_to(mail, group, mine))


def _subject(mail: Mail, tag: str) -> bytes | None:
    """The subject with the tag in front; None when it stays as it is."""
    if not tag or " ".join(tag.split()).casefold() in mail.subject.casefold():
        return None
    # RFC 2047 §6.2: the blank between two encoded words is not shown, so it stands within the first one
    word = tag.encode() if tag.isascii() else b"=?utf-8?b?" + base64.b64encode(f"{tag} ".encode()) + b"?="
    spans = message.field_spans(mail.header, b"Subject")
    if not spans:
        return word
    raw = mail.header[slice(*spans[0])].partition(b":")[2].strip(b" \t\n")
    fits = len(word) + len(raw.partition(b"\n")[0]) < _LONGEST_LINE
    return word + (b" " if fits else b"\n ") + raw


def _reply_to(mail: Mail, group: Group, mine: Address) -> bytes | None:
    if group.reply_to == "group":
        return str(mine).encode()
    if group.reply_to == "none" or message.field(mail.header, b"Reply-To") is not None:
        return None
    author = message.field(mail.header, b"From")
    found = address.from_header(charset.decode(author, None)) if author is not None else []
    return ", ".join(map(str, found)).encode() or None
