"""Who is told what: bounces, "your mail is late", and what the postmaster must hear.

A bounce goes to the sender when he is one of ours and wants it (dsn.may_notify), the postmaster gets a copy. What
cannot be told to the sender (a bounce that itself cannot be delivered, a stranger's mail that was forwarded) is told to
the postmaster. When not even that arrives, it is only logged, so no mail ever goes round in a circle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lanmail import dsn, entry, envelope, outbound
from lanmail.address import Address
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.relaying.mail import Mail
from lanmail.relaying.office import Office

LAST = frozenset({"double", "note"})  # X-Origin source= of what is told to the postmaster
NOBODY = "the sender must not be told, and no account is postmaster"


@dataclass(slots=True)
class Notice:
    """A mail to be put into the queue; without a text of its own it is the mail itself, under another envelope."""

    action: str
    head: envelope.Envelope
    text: bytes | None
    reports: list[dsn.Report]


def failures(office: Office, mail: Mail) -> tuple[list[Notice], list[tuple[dsn.Report, str]]]:
    """What is to be sent about recipients that failed and nobody heard of; and of whom nobody is told, and why."""
    failed = reports(mail, outbound.FAILED)
    if not failed:
        return [], []
    header = entry.header(office.outbound, mail.entry)
    made: list[Notice] = []
    untold: list[tuple[dsn.Report, str]] = []
    wanted = [one for one in failed if dsn.wanted(one.recipient, "failed")]
    untold += [(one, "NOTIFY=NEVER") for one in failed if one not in wanted]
    if not wanted:
        return made, untold
    if dsn.may_notify(mail.entry.head, header):
        made.append(_compose(office, mail, "failed", wanted, header, copy=True))
    elif _origin(mail).get("source") in LAST:
        untold += [(one, "this was for the postmaster already") for one in wanted]
    elif office.directory.postmaster() is None:
        untold += [(one, NOBODY) for one in wanted]
    else:
        made.append(_to_postmaster(office, mail, wanted, header))
    return made, untold


def late(office: Office, mail: Mail, until: float) -> Notice | None:
    """The notice that a mail is late."""
    waiting = [one for one in reports(mail, outbound.DEFERRED) if dsn.wanted(one.recipient, "delayed")]
    header = entry.header(office.outbound, mail.entry)
    if not waiting or not dsn.may_notify(mail.entry.head, header):
        return None
    return _compose(office, mail, "delayed", waiting, header, until=until)


def handed_on(office: Office, mail: Mail) -> Notice | None:
    """NOTIFY=SUCCESS, and the next server does not report (RFC 3461 §5.2.2): all we know is that it has the mail."""
    asked = [one for one in reports(mail, outbound.SENT) if dsn.wanted(one.recipient, "relayed")]
    if not asked:
        return None
    header = entry.header(office.outbound, mail.entry)
    if not dsn.may_notify(mail.entry.head, header):
        return None
    return _compose(office, mail, "relayed", asked, header)


def reports(mail: Mail, status: str) -> list[dsn.Report]:
    """The recipients of this status that nobody heard of, with the last answer."""
    found = []
    for one in {one.address: one for one in mail.entry.head.recipients}.values():
        known = mail.state.recipients.get(str(one.address))
        if known is not None and known.status == status and not known.told:
            found.append(dsn.Report(one, _answer(known), known.remote))
    return found


def _answer(decision: outbound.Decision) -> MailError:
    """The answer as it was written down: `550 5.1.1 no such user`."""
    code, _, rest = decision.answer.partition(" ")
    status, _, text = rest.partition(" ")
    number = int(code) if code.isdigit() else 451
    if decision.status == outbound.SENT:
        return MailError(number, status, text)
    return (Permanent if decision.status == outbound.FAILED else Temporary)(text, number, status)


def _compose(office: Office, mail: Mail, action: dsn.Action, reports: Sequence[dsn.Report], header: bytes, *,
             copy: bool = False, until: float | None = None) -> Notice:
    settings, one = office.settings(), mail.entry
    server, postmaster = settings.server, office.directory.postmaster()
    to = None
    if copy and postmaster is not None and settings.relay.postmaster_copies and mail.way.account != postmaster:
        to = Address("postmaster", server.domain)
    head, text = dsn.compose(action, reports, one.head, header, entry_id=one.id, domain=server.domain,
                             hostname=server.hostname, arrived=one.arrived(), copy_to=to, retry_until=until)
    return Notice(action, head, text, list(reports))


def _to_postmaster(office: Office, mail: Mail, reports: Sequence[dsn.Report], header: bytes) -> Notice:
    """The bounce that its sender cannot get."""
    server, one = office.settings().server, mail.entry
    postmaster = Address("postmaster", server.domain)
    original = envelope.Envelope(postmaster, one.head.recipients, one.head.params, one.head.origin)
    head, text = dsn.compose("failed", reports, original, header, entry_id=one.id, domain=server.domain,
                             hostname=server.hostname, arrived=one.arrived())
    head.origin = envelope.Origin("local", (("source", "double"),))
    return Notice("failed", head, text, list(reports))


def _origin(mail: Mail) -> envelope.Origin:
    return mail.entry.head.origin or envelope.Origin("local")
