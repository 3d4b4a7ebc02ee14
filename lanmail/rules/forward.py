"""The permanent forward of an account, and when no forward of it may be followed.

All mail goes on to [forward] to; a copy stays with keep = true. The autoresponder (asked before this rule) may have
wished targets of its own: then both count, and a copy stays only if both leave one. An e-invoice mailbox has no
permanent forward.

Nothing is sent on, and the copy stays, when the mail was here before (RFC 5321 §6.3): it went through too many servers,
or it carries the line Delivered-To that we put in front of what we send on. The postmaster hears of that once a day for
each account. A bounce that says that a target cannot be reached is not sent to that very target.
"""

import os
import re
import threading
import time

from lanmail import atomic, dsn, log, message
from lanmail.address import Address
from lanmail.rules.mail import Made, Mail, Target, Visit

HOPS = 30  # Received lines; other servers mostly allow that much
FOLLOWED = frozenset({"forward", "autoresponder", "einvoice"})
DAY = 86400.0
_REPORT = 256 << 10  # octets of a bounce that are looked at
_telling = threading.Lock()


def apply(mail: Mail, visit: Visit) -> None:
    """Wish for the targets of the account, unless that would be a loop."""
    own = visit.account.forward
    if own.to and not visit.account.einvoice.enabled:
        visit.targets += [Target(to) for to in own.to]
        visit.keep = visit.keep and own.keep
    if not any(one.why in FOLLOWED for one in visit.targets):
        return
    reason = _loop(mail, visit.name)
    if reason is not None:
        visit.targets = [one for one in visit.targets if one.why not in FOLLOWED]
        visit.keep = True
        log.forward_loop(id=mail.id, account=visit.name, why=reason)
        mail.say(f"{mail.id}: account {visit.name}: {reason}: not forwarded, the copy stays")
        visit.made += stopped(mail, visit.name, reason)
    elif mail.sender is None:
        _spare_the_dead(mail, visit)


def _loop(mail: Mail, name: str) -> str | None:
    """Why this mail was here before; None when it was not."""
    hops = len(message.fields(mail.header, b"Received"))
    if hops > HOPS:
        return f"mail loop: {hops} Received lines, a forward follows at most {HOPS}"
    own = {f"{name}@{domain}".lower() for domain in mail.settings.server.local_domains}
    came_to = _addresses(mail, b"Delivered-To")
    if mail.origin.kind == "fetch":  # the provider writes that line, too, maybe with our own address
        came_to &= _addresses(mail, b"X-Forwarded-For")
    if own & came_to:
        return f"mail loop: it was forwarded from {name} before"
    return None


def _addresses(mail: Mail, field: bytes) -> set[str]:
    values = b" ".join(message.fields(mail.header, field)).decode("utf-8", "replace")
    return {word.lower() for word in re.split(r"[\s,<>]+", values) if word}


def _spare_the_dead(mail: Mail, visit: Visit) -> None:
    """A server that took a forwarded mail and could not deliver it after all writes to the account (RFC 3464)."""
    if not (message.field(mail.header, b"Content-Type") or b"").lower().startswith(b"multipart/report"):
        return
    text = os.pread(mail.fd, _REPORT, mail.entry.offset)
    failed = {one.decode("utf-8", "replace").lower()
              for one in re.findall(rb"^(?:Final|Original)-Recipient:[^;\n]*;[ \t]*<?([^\s>]+)", text, re.I | re.M)}
    dead = [one for one in visit.targets if one.to.lower() in failed]
    if dead:
        visit.targets = [one for one in visit.targets if one not in dead]
        visit.keep = True
        mail.say(f"{mail.id}: it says that {dead[0].to} cannot be reached, and is not sent there")


def stopped(mail: Mail, name: str, reason: str) -> list[Made]:
    """The note to the postmaster that a forward was not followed, at most one a day for each account. OSError."""
    if mail.directory.postmaster() is None or mail.origin.kind == "local" or not _first(mail, name):
        return []  # a notice of ours needs no notice; and one a day ends the circle if it went round outside
    server = mail.settings.server
    lines = [f"A mail to {name} was not forwarded, it stayed in that mailbox.", "", reason, "",
             f"Where it goes:   lanmail forward show {name}", f"What happened:   lanmail trace {mail.id}", "",
             "This note comes at most once a day for an account."]
    head, text = dsn.note(Address("postmaster", server.domain), f"Forward of {name} stopped", "\n".join(lines),
                          entry_id=mail.id, domain=server.domain, hostname=server.hostname)
    return [Made(f"forward-stopped {name}", "queue", head, text)]


def _first(mail: Mail, name: str) -> bool:
    """Whether this is the mail of the day that the postmaster hears of; the same answer if asked again."""
    seen = mail.paths.state / "forward" / name
    with _telling:
        try:
            told = atomic.read(seen).decode("utf-8", "replace").strip()
            if told == mail.id:
                return True
            if abs(time.time() - seen.stat().st_mtime) < DAY:
                return False
        except FileNotFoundError:
            pass
        seen.parent.mkdir(mode=0o750, exist_ok=True)
        atomic.write(seen, mail.id + "\n")
        return True
