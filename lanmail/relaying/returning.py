"""What an account forwarded and could not be delivered: who is told, and how the mail comes back.

The account hears of it, not the author of the mail, who does not know of the forward; the postmaster gets a copy. When
the forward left no copy, the mail itself goes back into the account's mailbox; and into those of the accounts that
X-Origin names in `also`, which forwarded it to the same address and have no copy either. All this has the origin
"returned", with which deliver asks no rules: else it would be forwarded again to where it cannot go.

Of a mail from the null sender, which is a bounce mostly, only the postmaster is told; of what was for him already,
nobody, for that would go round in a circle. The mail comes back all the same.
"""

from lanmail import dsn, entry, envelope, outbound
from lanmail.address import Address
from lanmail.relaying import notices
from lanmail.relaying.mail import Mail
from lanmail.relaying.notices import Notice
from lanmail.relaying.office import Office

FORWARD, RETURNED = "forward", "returned"  # kinds of origin
ACTION = "returned"  # of a Notice that is the mail itself
KEPT = "a copy is in the mailbox, and no account is postmaster"
_FAILED = ("Mail could not be forwarded",
           "A mail that {name} got could not be forwarded to the addresses below. It will not be tried again.\n{where}")
_LATE = ("Forwarding of a mail takes longer (still being tried)",
         "A mail that {name} got could not be forwarded yet to the addresses below. It will be tried again.")


def is_forward(mail: Mail) -> bool:
    """Whether an account of ours sent the mail on."""
    origin = mail.entry.head.origin
    return origin is not None and origin.kind == FORWARD and origin.get("account") is not None


def failures(office: Office, mail: Mail) -> tuple[list[Notice], list[tuple[dsn.Report, str]]]:
    """As notices.failures; and the mail itself, once, if nothing of it stayed in the mailbox."""
    failed = notices.reports(mail, outbound.FAILED)
    if not failed:
        return [], []
    made = [] if mail.state.returned or not _without(mail) else [_itself(office, mail)]
    postmaster = office.directory.postmaster()
    if mail.entry.head.sender is not None:
        made += _told(office, mail, failed, postmaster)
    elif _origin(mail).get("source") in notices.LAST:
        return made, [(one, "this was for the postmaster already") for one in failed]
    elif postmaster is None:
        return made, [(one, KEPT) for one in failed]
    else:
        made.append(_compose(office, mail, "failed", failed, "postmaster", source="double",
                             returned=postmaster == _name(mail)))
    return made, []


def late(office: Office, mail: Mail, until: float) -> Notice | None:
    """The notice to the account that a forward is late."""
    waiting = notices.reports(mail, outbound.DEFERRED)
    if not waiting or mail.entry.head.sender is None:
        return None
    return _compose(office, mail, "delayed", waiting, _name(mail), source="dsn", returned=True, until=until)


def _told(office: Office, mail: Mail, failed: list[dsn.Report], postmaster: str | None) -> list[Notice]:
    """For the account, and a copy for the postmaster, which his own rules may treat like any mail."""
    made = [_compose(office, mail, "failed", failed, _name(mail), source="dsn", returned=True)]
    if office.settings().relay.postmaster_copies and postmaster not in (None, _name(mail)):
        copy = _compose(office, mail, "failed", failed, "postmaster", source="dsn", returned=False)
        copy.reports = []  # the log has them from the first
        made.append(copy)
    return made


def _itself(office: Office, mail: Mail) -> Notice:
    """From the null sender, so that nothing answers it: who wrote it stands in its Return-Path."""
    origin = envelope.Origin(RETURNED, (("account", _name(mail)),))
    return Notice(ACTION, envelope.Envelope(None, _all(office, _without(mail)), origin=origin), None, [])


def _all(office: Office, names: list[str]) -> list[envelope.Recipient]:
    return [envelope.Recipient(Address(name, office.settings().server.domain)) for name in names]


def _compose(office: Office, mail: Mail, action: dsn.Action, reports: list[dsn.Report], local: str, *, source: str,
             returned: bool, until: float | None = None) -> Notice:
    server, one = office.settings().server, mail.entry
    original = envelope.Envelope(Address(local, server.domain), one.head.recipients, origin=one.head.origin)
    where = "The mail itself is in the mailbox." if _without(mail) else "A copy stayed in the mailbox."
    subject, words = _FAILED if action == "failed" else _LATE
    head, text = dsn.compose(
        action, reports, original, entry.header(office.outbound, one), entry_id=one.id, domain=server.domain,
        hostname=server.hostname, arrived=one.arrived(), retry_until=until,
        words=(subject, words.format(name=" and ".join(_concerned(mail)), where=where)))
    facts = (("account", _name(mail)), ("source", source)) if returned else (("source", source),)
    if local == _name(mail):
        head.recipients = _all(office, _concerned(mail))
    head.origin = envelope.Origin(RETURNED if returned else "local", facts)
    return Notice(action, head, text, reports)


def _without(mail: Mail) -> list[str]:
    """The accounts that sent it on and have no copy."""
    return _concerned(mail)[_origin(mail).get("keep") == "yes":]


def _concerned(mail: Mail) -> list[str]:
    """The account whose forward it is, and all that have no copy either."""
    return [_name(mail), *filter(None, (_origin(mail).get("also") or "").split(","))]


def _name(mail: Mail) -> str:
    return _origin(mail).get("account") or ""


def _origin(mail: Mail) -> envelope.Origin:
    return mail.entry.head.origin or envelope.Origin("local")
