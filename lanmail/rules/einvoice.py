"""An e-invoice mailbox: mail with an e-invoice goes one way, all other mail another, and the copy here says which.

The examination is in lanmail/invoices/, and done by a child process that the threads of deliver share. What cannot be
decided (too large, too much time, a crash) is delivered and logged, and goes nowhere else. A bounce that brings back
an invoice of ours has not brought one.

Each copy in the mailbox has the field X-Lanmail-EInvoice (lanmail/invoices/label.py) in front; one that came with the
mail is left out there, for anybody can write it. What is forwarded goes as it came.

The XML goes into a directory, ID.xml, and to a program on a web server, by a job for relay. Both may happen again for
the same mail after a crash, under the same name.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, jobs, log, message
from lanmail.accountrules import EInvoice
from lanmail.errors import Temporary
from lanmail.invoices import label, ledger
from lanmail.invoices.examiner import Limits, Stretch
from lanmail.invoices.pool import Pool
from lanmail.invoices.verdict import Result, Wish, no
from lanmail.paths import Paths
from lanmail.rules.mail import Made, Mail, Target, Visit
from lanmail.settings import Settings

MODE = 0o660  # the software that takes the files is of our group
_pool = Pool()


def apply(mail: Mail, visit: Visit) -> None:
    """Examine the mail, mark it, and wish for the targets. OSError, Temporary."""
    own = visit.account.einvoice
    if not own.enabled:
        return
    result = _examined(mail, own)
    lines = [ledger.line(mail.id, one) for one, _ in result.invoices]
    before = ledger.note(file_of(mail.paths, visit.name), lines) if lines else []
    plan = decide(own, result, before)
    visit.mark(plan.label, instead_of=label.NAME)
    visit.targets += [Target(to, "einvoice") for to in plan.targets]
    visit.keep = visit.keep and plan.keep
    for number, content in enumerate(plan.given, 1):
        name = file_name(mail.id, number)
        if own.save:
            _save(mail, visit, Path(own.save) / name, content)
        if own.post:
            visit.made.append(_posting(mail, visit, name, content))
    found = result.verdict
    log.einvoice(id=mail.id, account=visit.name, kind=found.kind, reason=found.reason, format=found.format,
                 profile=found.profile, count=len(lines) if len(lines) > 1 else None, duplicate_of=plan.duplicate_of)
    mail.say(f"{mail.id}: account {visit.name}: {found.kind}" + (f" ({found.reason})" if found.reason else ""))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with a mail: its targets, whether a copy stays, the field for it, and the XML to give on."""

    targets: list[str]
    keep: bool
    label: bytes
    given: list[bytes]
    duplicate_of: str | None


def decide(own: EInvoice, result: Result, before: list[str | None]) -> Plan:
    """By the account's settings; `before` names for each invoice the earlier mail with the same one."""
    found = result.verdict
    known = next((one for one in before if one is not None), None)
    marked = label.lines(found, count=len(result.invoices), duplicate_of=known)
    if found.kind == "undecided":
        return Plan([], True, marked, [], None)
    if not found.is_einvoice:
        return Plan(own.other_forward, own.other_keep or not own.other_forward, marked, [], None)
    given = [content for _, content in result.invoices]
    if own.duplicates == "not-forwarded":
        given = [content for content, one in zip(given, before, strict=True) if one is None]
        if not given:
            return Plan([], True, marked, [], known)
    return Plan(own.forward, own.keep or not own.forward, marked, given, known)


def wish(own: EInvoice, settings: Settings) -> Wish:
    """How the mail of an account is examined."""
    return Wish(zip=own.zip, tnef=own.tnef, every=True, max_part=settings.einvoice.max_part)


def limits(settings: Settings) -> Limits:
    """What the examination of one mail may take."""
    return Limits(settings.einvoice.max_memory, settings.einvoice.max_time)


def file_of(paths: Paths, name: str) -> Path:
    """Where the e-invoices that an account got are remembered."""
    return paths.state / "einvoice" / name


def file_name(entry_id: str, number: int) -> str:
    """Of the XML of the n-th e-invoice in a mail; made of the id, which is a file name, and nothing of the mail."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", entry_id).lstrip(".")[:200]
    return f"{plain}.xml" if number == 1 else f"{plain}-{number}.xml"


def is_bounce(header: bytes) -> bool:
    """Whether it reports on a mail that was sent, which it may bring back (RFC 6522 §3)."""
    return (message.field(header, b"Content-Type") or b"").lower().startswith(b"multipart/report")


def _examined(mail: Mail, own: EInvoice) -> Result:
    if mail.sender is None and is_bounce(mail.header):
        return Result(no("returned"))
    size = mail.entry.size - mail.entry.offset
    result = _pool.examine(Stretch(mail.fd, mail.entry.offset, size), wish(own, mail.settings), limits(mail.settings),
                           xml=bool(own.save or own.post))
    return single(result)


def single(result: Result) -> Result:
    """Each invoice once, though it may be attached as XML and in a PDF as well."""
    seen, kept = set(), []
    for one, content in result.invoices:
        if (key := ledger.line("", one).key) not in seen:
            seen.add(key)
            kept.append((one, content))
    return Result(result.verdict, kept)


def _save(mail: Mail, visit: Visit, path: Path, content: bytes) -> None:
    try:
        atomic.write(path, content, mode=MODE)
    except OSError as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"takes no file: {error.strerror or error}"
        raise Temporary(f"einvoice.save of {visit.name}: the directory {path.parent} {why}") from error
    log.einvoice_saved(id=mail.id, account=visit.name, file=str(path))


def _posting(mail: Mail, visit: Visit, name: str, content: bytes) -> Made:
    own = visit.account.einvoice
    fields = [("Url", own.post), ("File-Name", name), ("Content-Type", "application/xml")]
    fields += [(key, value) for key, value in (("Variable", own.post_variable),
                                               ("Authorization", own.post_authorization)) if value]
    job = jobs.Job(jobs.POST, visit.name, tuple(fields), content, mail.id)
    head, text = jobs.compose(job, mail.settings.server.domain)
    return Made(f"einvoice {visit.name} {name}", "jobs", head, text)
