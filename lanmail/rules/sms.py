"""A short message to the account's telephone when mail comes: [sms] in the account's file, the gateway in lanmail.toml.

There is none for mail that nobody wrote to be read now: automatic answers, lists and bulk, spam, bounces, notices of
ours, what the account wrote itself, and mail that is fetched days after it was written. Nor for an e-invoice mailbox,
nor in quiet times, nor beyond the caps (sms.max_per_minute, sms.max_per_day).

The caps count in state/sms/NAME.json, which names the ids: asked again for the same mail, the rule says the same. Here
nothing is sent, relay does that; and whatever is wrong with short messages is logged and never delays the mail.
"""

import contextlib
import json
import threading
import traceback
from email.utils import parsedate_to_datetime
from pathlib import Path

from lanmail import atomic, jobs, log, message, timetable
from lanmail.mime import addresses
from lanmail.rules.mail import Made, Mail, Visit
from lanmail.sms import gateways, gsm7
from lanmail.sms.options import PLACE, SmsGateway

MINUTE, DAY = 60.0, 86400.0
OLD = DAY  # fetched mail that was written before this is no news
_counting = threading.Lock()


def apply(mail: Mail, visit: Visit) -> None:
    """Make a short message, if the account wants one and this mail is worth it."""
    if not visit.account.sms.to or not mail.settings.sms.gateway:
        return
    try:
        why = unfit(mail, visit)
        if why is None and not _counted(mail, visit):
            why = "there were enough of them already"
        if why is not None:
            mail.say(f"{mail.id}: account {visit.name}: no short message: {why}")
            return
        visit.made.append(_made(mail, visit))
    except Exception as error:  # for whatever reason: the mail itself does not wait for it
        log.crashed(error=f"no short message: {error!r}", where=traceback.format_exc(), id=mail.id)


def unfit(mail: Mail, visit: Visit) -> str | None:
    """Why this mail gets no short message, but for the caps; None when it does."""
    account = visit.account
    if account.einvoice.enabled:
        return "it is an e-invoice mailbox"
    if mail.sender is None:
        return "it is a bounce or a notice"
    if mail.automatic or mail.origin.kind == "local":
        return "it is automatic, of a list or bulk"
    if "spam" in visit.flags:
        return "it is spam"
    if visit.name in (mail.submitter, _account_of_sender(mail)):
        return "it is the account's own"
    if mail.origin.kind == "fetch" and mail.now - _written(mail) > OLD:
        return "it is old"
    quiet = account.sms.quiet or mail.settings.sms.quiet
    if quiet and timetable.opens_in(quiet, mail.now) == 0.0:
        return "it is a quiet time"
    return None


def _account_of_sender(mail: Mail) -> str | None:
    assert mail.sender is not None
    found = mail.directory.resolve(mail.sender)
    return found.accounts[0] if len(found.accounts) == 1 and not found.external else None


def _written(mail: Mail) -> float:
    """When the author says that he wrote it; without a date that can be read, now."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = message.field(mail.header, b"Date") or b""
        return parsedate_to_datetime(date.decode("ascii", "replace")).timestamp()
    return mail.now


def _counted(mail: Mail, visit: Visit) -> bool:
    """Whether the caps allow one more, which then counts. OSError."""
    options, path = mail.settings.sms, mail.paths.state / "sms" / f"{visit.name}.json"
    with _counting:
        known = [(at, entry_id) for at, entry_id in _load(path) if abs(mail.now - at) < DAY]
        if any(entry_id == mail.id for _, entry_id in known):
            return True
        lately = sum(abs(mail.now - at) < MINUTE for at, _ in known)
        if options.max_per_day and len(known) >= options.max_per_day:
            return False
        if options.max_per_minute and lately >= options.max_per_minute:
            return False
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        atomic.write(path, json.dumps([*known, (mail.now, mail.id)][-1000:]))
        return True


def _load(path: Path) -> list[tuple[float, str]]:
    try:
        return [(float(at), str(entry_id)) for at, entry_id in json.loads(atomic.read(path))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _made(mail: Mail, visit: Visit) -> Made:
    """The job for relay, or the mail for a gateway that takes mail. ValueError, Permanent."""
    options, server = mail.settings.sms, mail.settings.server
    one = message_of(mail, visit.account.sms.to, visit.name, options)
    if options.gateway == "mail":
        return Made(f"sms {visit.name}", "queue", *gateways.mail(one, options, server.domain, server.hostname))
    job = jobs.Job(jobs.SMS, visit.name, (("To", one.to), ("From", one.author), ("Subject", one.subject)),
                   one.text.encode(), mail.id)
    return Made(f"sms {visit.name}", "jobs", *jobs.compose(job, server.domain))


def message_of(mail: Mail, number: str, account: str, options: SmsGateway) -> gateways.Message:
    """What the telephone is told of a mail. ValueError for a number that is none."""
    values = {"from": _author(mail)[:60], "subject": mail.subject[:200], "account": account}
    text = PLACE.sub(lambda found: values.get(found[1], ""), options.text)
    to = gateways.international(number, options.country_code)
    return gateways.Message(mail.id, to, gsm7.fit(text), values["from"], values["subject"], account, mail.now)


def _author(mail: Mail) -> str:
    """The name in From, else the address in it."""
    found = addresses.parse(message.field(mail.header, b"From") or b"", 1)
    if not found or not (found[0].name or found[0].local):
        return str(mail.sender or "")
    name = " ".join(message.decode_words(found[0].name or b"").split())
    address = b"@".join(part for part in (found[0].local, found[0].domain) if part)
    return name or address.decode("utf-8", "replace")
