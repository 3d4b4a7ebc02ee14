"""Which mail an autoresponder leaves unanswered, and why (RFC 3834 §2, RFC 5230 §4.5 and §4.6).

    correspondent(mail) -> Address | None         whom an answer goes to
    refusal(mail, visit) -> str                   why there is none; "" when no guard minds
    verdicts(mail, visit)                         what each guard says, for `lanmail autoresponder test`

An answer goes to the envelope sender and nowhere else, so that nobody can have us write to others by a Reply-To. Only
fetched mail may have none: its Return-Path counts then, or From where the other server wrote no Return-Path.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lanmail import address, message, names, newsender, outgoing
from lanmail.address import Address
from lanmail.mime import sentdates
from lanmail.rules.mail import Mail, Visit
from lanmail.units import format_duration

MOST = 1000  # addresses of To and Cc that are looked at
_ADDRESSED = (b"To", b"Cc", b"Bcc", b"Resent-To", b"Resent-Cc", b"Resent-Bcc")

_NO = re.compile(rb"no\s*(?:[;(]|$)", re.IGNORECASE)
_LIST = re.compile(rb"^(List-[A-Za-z-]+|Mailing-List|X-Autoreply|X-Autorespond)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_BULK = re.compile(rb"bulk|list|junk|auto[_-]?reply", re.IGNORECASE)
_SUPPRESS = re.compile(rb"(?:^|[,;\s])(?:all|oof|autoreply)(?:$|[,;\s])", re.IGNORECASE)
_REPORT = re.compile(rb"multipart/report\b", re.IGNORECASE)
_MACHINE = re.compile(
    r"mailer-daemon|postmaster|listserv|majordomo|owner-.*|.*-(?:request|owner|relay)|(?:.*[-_.+=])?bounces?(?:[-_.+=].*)?"
    r"|(?:.*[-_.+])?(?:no[-_.]?reply|do[-_.]?not[-_.]?reply)(?:[-_.+].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Guard:
    """One reason: its name, what is not answered because of it, and what it says of a mail ("": it does not mind)."""

    name: str
    minds: str
    says: Callable[[Mail, Visit, Address], str]


def correspondent(mail: Mail) -> Address | None:
    """Whom an answer goes to; None when nobody may get one."""
    if mail.sender is not None or mail.origin.kind != "fetch":
        return mail.sender
    path = message.field(mail.header, b"Return-Path")
    if path is None:
        return _author(mail)
    found = address.from_header(path.decode("utf-8", "replace"), 1)
    return found[0] if found else None


def refusal(mail: Mail, visit: Visit) -> str:
    """Why this mail gets no answer from this account; "" when it may get one."""
    to = correspondent(mail)
    if to is None:
        return NOBODY
    for guard in GUARDS:
        if why := guard.says(mail, visit, to):
            return why
    return ""


def verdicts(mail: Mail, visit: Visit) -> Iterator[tuple[Guard, str]]:
    """All guards, each with what it says."""
    to = correspondent(mail)
    yield SENDER, "" if to is not None else NOBODY
    if to is not None:
        for guard in GUARDS:
            yield guard, guard.says(mail, visit, to)


def _author(mail: Mail) -> Address | None:
    authors = address.from_header((message.field(mail.header, b"From") or b"").decode("utf-8", "replace"), 1)
    return authors[0] if authors else None


def _automatic(mail: Mail, _visit: Visit, _to: Address) -> str:
    submitted = message.field(mail.header, b"Auto-Submitted")
    if submitted is not None and not _NO.match(submitted):
        return f"Auto-Submitted: {_shown(submitted)}"
    suppressed = b" ".join(message.fields(mail.header, b"X-Auto-Response-Suppress"))
    if _SUPPRESS.search(suppressed):
        return f"X-Auto-Response-Suppress: {_shown(suppressed)}"
    kind = message.field(mail.header, b"Content-Type")
    return "it is a report of a mail system" if kind is not None and _REPORT.match(kind) else ""


def _list(mail: Mail, visit: Visit, _to: Address) -> str:
    header = visit.changes.lines + mail.header  # what a group on the way has added counts, too
    precedence = message.field(header, b"Precedence")
    if precedence is not None and _BULK.fullmatch(precedence):
        return f"Precedence: {_shown(precedence)}"
    found = _LIST.search(header)
    return f"it has a field {found[1].decode('ascii')}" if found else ""


def _machine(_mail: Mail, _visit: Visit, to: Address) -> str:
    return f"{to.local} is no person" if _MACHINE.fullmatch(to.local) else ""


def _own(mail: Mail, visit: Visit, to: Address) -> str:
    """The account's own addresses, here and elsewhere."""
    if mail.directory.is_local(to.domain):
        found = mail.directory.resolve(to)
        if visit.name in found.accounts:
            return f"{to} is an address of {visit.name} itself"
        return f"there is no {to} here" if found.kind == "unknown" else ""
    text = str(to).lower()
    own = {f"{visit.name}@{visit.account.autoresponder.domain}", *map(str.lower, visit.account.send_as),
           *(one.user.lower() for one in visit.account.sources.values())}
    template = outgoing.of(mail.settings.outgoing, visit.account.outgoing).overwrite_sender
    if template:
        own.add(str(newsender.of(template, visit.name, b"", None)).lower())
    return f"{to} is an address of {visit.name} elsewhere" if text in own else ""


def _addressed(mail: Mail, visit: Visit, _to: Address) -> str:
    """What came through a group or a forward is answered by whom it names; a mailbox elsewhere has names of its own."""
    asked = visit.account.autoresponder.only_if_addressed and mail.origin.kind != "fetch"
    if (visit.direct and not asked) or _is_named(mail, visit):
        return ""
    through = "" if visit.direct else ", and it came through a group or forward"
    return f"neither To nor Cc names {visit.name}{through}"


def _is_named(mail: Mail, visit: Visit) -> bool:
    left = MOST
    for name in _ADDRESSED:
        for value in message.fields(mail.header, name):
            found = address.from_header(value.decode("utf-8", "replace"), left)
            left -= len(found)
            if any(_leads_to(mail, visit, one) for one in found):
                return True
            if left <= 0:
                return False
    return False


def _leads_to(mail: Mail, visit: Visit, one: Address) -> bool:
    """An address of the account: its name or an alias, not a group that it is in."""
    if not mail.directory.is_local(one.domain):
        return False
    return names.fold(one.local) == visit.name or visit.name in mail.directory.resolve(one).accounts


def _spam(_mail: Mail, visit: Visit, _to: Address) -> str:
    return "it counts as spam" if "spam" in visit.flags else ""


def _age(mail: Mail, visit: Visit, _to: Address) -> str:
    """The first visit to a full mailbox must not answer thousands of old mails."""
    if mail.origin.kind != "fetch":
        return ""
    most, came = visit.account.autoresponder.max_age, _came(mail.header)
    if came is None:
        return "it was fetched, and nothing says when it was written"
    return f"it was fetched, and is older than {format_duration(most)} (max_age)" if mail.now - came > most else ""


def _came(header: bytes) -> float | None:
    """When it came to the mailbox elsewhere: the topmost Received below ours, else its Date."""
    for value in message.fields(header, b"Received")[1:2]:
        if (found := sentdates.moment(value.rpartition(b";")[2])) is not None:
            return found
    return sentdates.of_header(header)


def _outside(mail: Mail, visit: Visit, to: Address) -> str:
    if visit.account.deny_internet and not mail.directory.is_local(to.domain):
        return f"{visit.name} may not write to the internet (deny_internet)"
    return ""


def _shown(value: bytes) -> str:
    return message.decode_words(value[:60])


NOBODY = "it has no sender (a bounce or an answer)"
SENDER = Guard("sender", "mail without a sender", lambda _mail, _visit, _to: "")
GUARDS = (
    Guard("automatic", "mail that a program sent", _automatic),
    Guard("list", "mail of lists, and bulk", _list),
    Guard("machine", "senders that are no person", _machine),
    Guard("own", "the account's own addresses, and unknown ones here", _own),
    Guard("addressed", "mail that does not name the account, where it should", _addressed),
    Guard("spam", "spam", _spam),
    Guard("age", "old mail that was fetched", _age),
    Guard("internet", "senders outside, if the account must not write there", _outside),
)
