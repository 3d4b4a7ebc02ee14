"""Asks the filters about a mail: those of all ([filter] use), then those of the account (filter in its file).

    accept      it goes on; header lines of the filter are put on the copy in the mailbox
    tag         the same, and the mail is spam for the rules that follow (the folder Junk, no short message)
    reject      a person of ours who sent it gets it back (550 5.7.1); a stranger's mail goes to hold, or is dropped
    defer       it is asked again later

Filters of all judge a mail once, with all recipients; those of an account once for this account. A filter that does not
work delays mail for filter.wait at most, then the mail is delivered without: a header line says so, the log, and
once a day a note to the postmaster. Notices and answers of our own programs are not filtered, nor is mail that somebody
released out of hold.
"""

import os
import re
import threading
import time

from lanmail import atomic, dsn, envelope, log
from lanmail.address import Address
from lanmail.errors import Permanent, Temporary
from lanmail.filters import Broken, Question, Verdict, asking
from lanmail.rules.mail import Held, Made, Mail, Visit

DAY = 86400.0
_telling = threading.Lock()


def apply(mail: Mail, visit: Visit) -> None:
    """Ask them, and do what they say. Temporary, Permanent, Held."""
    options = mail.settings.filter
    names = [*((name, "") for name in options.use), *((name, visit.name) for name in visit.account.filter)]
    if not names or mail.released or mail.origin.kind == "local":
        return
    size = os.fstat(mail.fd).st_size - mail.entry.offset
    if options.max_size and size > options.max_size:
        mail.say(f"{mail.id}: too large for filters")
        return
    for name, account in names:
        try:
            verdict = asking.ask(name, question_of(mail, size, account), options)
        except Broken as error:
            _without(mail, visit, name, str(error))
        else:
            _follow(mail, visit, name, verdict)
            if visit.consumed:
                return


def question_of(mail: Mail, size: int, account: str) -> Question:
    """The mail as a filter sees it; `account` whose filter it is, "" for that of all."""
    return Question(
        mail.id, mail.fd, mail.entry.offset, size, str(mail.sender or ""),
        tuple(str(one.address) for one in mail.head.recipients), mail.origin.kind, mail.origin.get("client") or "",
        account, mail.submitter or "")


def _follow(mail: Mail, visit: Visit, name: str, verdict: Verdict) -> None:
    mail.say(f"{mail.id}: account {visit.name}: filter {name}: {verdict.kind} {verdict.reason}")
    if verdict.kind in ("accept", "tag"):
        visit.mark(verdict.lines)
        if verdict.kind == "tag":
            visit.flags.add("spam")
            log.filtered(id=mail.id, account=visit.name, filter=name, verdict="tag", why=verdict.reason)
        return
    if verdict.kind == "defer":
        raise Temporary(f"the filter {name}: {verdict.reason}", 451, "4.7.1")
    log.filtered(id=mail.id, account=visit.name, filter=name, verdict="reject", why=verdict.reason)
    if dsn.may_notify(mail.head, mail.header):
        raise Permanent(verdict.reason, 550, "5.7.1")
    if mail.settings.filter.rejected == "hold":
        raise Held(f"rejected by the filter {name}: {verdict.reason}", 550, "5.7.1")
    visit.consumed = f"rejected by the filter {name}: {verdict.reason}"


def _without(mail: Mail, visit: Visit, name: str, why: str) -> None:
    """The filter does not work. Temporary, as long as the mail may wait for it."""
    if max(0.0, mail.now - mail.entry.arrived()) < mail.settings.filter.wait:
        raise Temporary(f"the filter {name} does not work: {why}", 451, "4.3.0")
    log.unfiltered(id=mail.id, account=visit.name, filter=name, why=why)
    visit.mark(f"X-Lanmail-Unfiltered: {name}\n".encode("ascii", "replace"))
    visit.made += _note(mail, name, why)


def _note(mail: Mail, name: str, why: str) -> list[Made]:
    """To the postmaster, at most once a day for each filter; the same if asked again for the same mail. OSError."""
    if mail.directory.postmaster() is None or not _first(mail, name):
        return []
    server = mail.settings.server
    lines = [f"The filter {name} does not work:", "", f"    {why}", "",
             "Mail waits for it a while (filter.wait) and is then delivered without having been looked at.", "",
             "Try it:         lanmail filter test MESSAGE", f"This mail:      lanmail trace {mail.id}", "",
             "This note comes at most once a day for a filter."]
    head, text = dsn.note(Address("postmaster", server.domain), "A filter does not work", "\n".join(lines),
                          entry_id=mail.id, domain=server.domain, hostname=server.hostname)
    head.origin = envelope.Origin("local", (("source", "filter"),))
    return [Made(f"filter {name}", "queue", head, text)]


def _first(mail: Mail, name: str) -> bool:
    seen = mail.paths.state / "filter" / (re.sub(r"[^A-Za-z0-9]", "-", name)[-100:] + ".told")
    with _telling:
        try:
            if atomic.read(seen).decode("utf-8", "replace").strip() == mail.id:
                return True
            if abs(time.time() - seen.stat().st_mtime) < DAY:
                return False
        except FileNotFoundError:
            pass
        seen.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        atomic.write(seen, mail.id + "\n")
        return True
