"""Forwarding and autoresponder switched by a mail to oneself.

    LMS Forwarding on <address>        an address, a local name or a group; the body does not matter
    LMS Forwarding off
    LMS Autoresponder on [subject]     the text of the mail is the answer
    LMS Autoresponder off

"LMS" in capitals, the other words in any case. Only a mail that its own account handed in with a log-in, named to the
account's own address, is a command: that is known from the envelope alone, whatever the header says. A header can only
take the right away: what was resent, came through another server, or says that a program sent it, is an ordinary mail,
for its subject may be a stranger's. A command is carried out and answered, never delivered.
"""

import errno
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lanmail import conffile, config, envelope, log, message, names, notice, printable, units
from lanmail.address import Address
from lanmail.errors import ConfigError
from lanmail.rules import commandtext, latest
from lanmail.rules.mail import Made, Mail, Visit

SOURCE = "command"  # in the origin of an answer
_LINE = re.compile(r"LMS (\S+) (\S+)(?: (.*))?")
_WORDS = {word: word for word in ("forwarding", "autoresponder", "on", "off")}
_MAX_SUBJECT = 500
_UNWRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Command:
    """What a subject asks for; `rest` is what stands behind the words."""

    what: str  # forwarding, autoresponder
    on: bool
    rest: str

    def __str__(self) -> str:
        return f"{self.what} {'on' if self.on else 'off'}"


@dataclass(frozen=True, slots=True)
class Done:
    """What is written into the account's file, and what the user is told."""

    changes: dict[str | conffile.Key, Any]
    subject: str
    text: str


class Refused(Exception):
    """Nothing is changed; str() tells the user why."""


def read(subject: str, more: Mapping[str, str]) -> Command | None:
    """The command in a decoded subject, None when there is none; `more` are the words of deliver.command_words."""
    found = _LINE.fullmatch(subject)
    if found is None:
        return None
    what, switch = (_WORDS.get(word.casefold()) or more.get(word.casefold()) for word in found.group(1, 2))
    if what not in ("forwarding", "autoresponder") or switch not in ("on", "off"):
        return None
    return Command(what, switch == "on", found[3] or "")


def apply(mail: Mail, visit: Visit) -> None:
    """Carry out a command to this account and answer it. Temporary, OSError: it comes again."""
    if mail.submitter != visit.name or not mail.settings.deliver.mail_commands:
        return
    command = read(mail.subject, mail.settings.deliver.command_words)
    if command is None or not _is_to_itself(mail, visit.name):
        return
    if _is_anothers(mail):
        mail.say(f"{mail.id}: a command that was resent or sent by a program is an ordinary mail")
        return
    try:
        done = _carry_out(mail, visit, command)
    except Refused as refusal:
        subject = f"{'Forwarding' if command.what == 'forwarding' else 'The autoresponder'} was not changed"
        text = f"Your mail \"{printable.line(mail.subject[:200])}\" changed nothing:\n\n{refusal}"
        log.commanded(id=mail.id, account=visit.name, command=str(command), refused=str(refusal))
    else:
        subject, text = done.subject, done.text
        log.commanded(id=mail.id, account=visit.name, command=str(command))
    visit.consumed = f"command: {command}"
    visit.made.append(_answer(mail, visit.name, subject, text))


def _is_to_itself(mail: Mail, name: str) -> bool:
    """Whether one of the recipients is the account's own address: no alias, no group, nothing behind a +."""
    return any(names.fold(one.address.local) == name and mail.directory.is_local(one.address.domain)
               for one in mail.head.recipients)


def _is_anothers(mail: Mail) -> bool:
    """Whether somebody else may have written the subject: a mail resent, fetched and handed in again, or automatic.

    Our smtpd writes one Received line; mail programs write none.
    """
    return (mail.automatic or len(message.fields(mail.header, b"Received")) > 1
            or re.search(rb"^Resent-[a-z-]+[ \t]*:", mail.header, re.IGNORECASE | re.MULTILINE) is not None)


def _carry_out(mail: Mail, visit: Visit, command: Command) -> Done:
    own = Address(visit.name, mail.settings.server.domain)
    if command.what == "forwarding":
        done = _forwarding_on(mail, visit, command.rest, own) if command.on else _forwarding_off(own)
    else:
        done = _autoresponder_on(mail, visit, command.rest, own) if command.on else _autoresponder_off(own)
    path = mail.paths.accounts / f"{visit.name}.toml"
    with _one_at_a_time, latest.of(mail.paths, visit.name, command.what) as last:
        if last.is_later_than(mail.id, mail.entry.arrived(), mail.now):
            raise Refused("A command that you sent later was carried out before this one, and counts.")
        try:
            config.edit(path, done.changes)
        except ConfigError as error:
            log.config_broken(error=str(error))
            raise Refused(_ask_postmaster(mail, "The settings of your account have a mistake.")) from error
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            log.command_unwritable(account=visit.name, file=str(path), error=str(error))
            raise Refused(_ask_postmaster(mail, "The settings of your account cannot be written.")) from error
        last.note(mail.id, mail.entry.arrived())
    mail.directory.account(visit.name)  # looks at the file at once: the answer shall go the new way
    return done


def _ask_postmaster(mail: Mail, why: str) -> str:
    return f"{why} Please ask the postmaster, postmaster@{mail.settings.server.domain}, who finds the reason in the " \
           f"log under {mail.id}."


# forwarding

def _forwarding_on(mail: Mail, visit: Visit, rest: str, own: Address) -> Done:
    if visit.account.einvoice.enabled:
        raise Refused("This is an e-invoice mailbox, whose mail cannot be forwarded like that.")
    target = _target(rest)
    shown = target if "@" in target else f"{target}@{own.domain}"
    _check_target(mail, visit, target)
    copy = "A copy of each mail stays in your mailbox." if visit.account.forward.keep else \
        "No copy stays in your mailbox."
    text = f"All mail to {own} is forwarded to {shown} now. {copy}\n\n" \
           f"To end this, send a mail to {own} with the subject:\n\n    LMS Forwarding off\n\n" \
           f"If it was not you who asked for it, tell the postmaster: postmaster@{own.domain}"
    return Done({"forward.to": [target]}, f"Forwarding is on: {shown}", text)


def _target(rest: str) -> str:
    """The address or name as it is written in the account's file. Refused."""
    text = rest[1:-1].strip() if rest.startswith("<") and rest.endswith(">") else rest
    if not text:
        raise Refused("No address was given. Write it behind the words: LMS Forwarding on eva@example.org")
    try:
        return units.forward_to(text)
    except ValueError:
        shown = printable.line(text[:200])
        raise Refused(f"\"{shown}\" is no address. Write one, like: LMS Forwarding on eva@example.org") from None


def _check_target(mail: Mail, visit: Visit, target: str) -> None:
    """Refused when mail must not, or cannot, go there. Temporary."""
    local, _, domain = target.rpartition("@") if "@" in target else (target, "", "")
    found = mail.directory.resolve(Address(local, domain or mail.settings.server.domain))
    if found.kind == "unknown":
        raise Refused(f"There is no account, alias or group \"{target}\" here.")
    if found.kind == "local" and found.accounts == (visit.name,) and not found.external and not found.groups:
        raise Refused("This is your own address.")
    outside = found.kind == "external" or (bool(found.external) and not found.accounts and not found.groups)
    if visit.account.deny_internet and outside:
        raise Refused("Your account must not send mail to the internet, so it cannot forward it there either.")


def _forwarding_off(own: Address) -> Done:
    text = f"Mail to {own} is no longer forwarded. It stays in your mailbox."
    return Done({"forward.to": conffile.Default("[]")}, "Forwarding is off", text)


# autoresponder

def _autoresponder_on(mail: Mail, visit: Visit, subject: str, own: Address) -> Done:
    if len(subject) > _MAX_SUBJECT:
        raise Refused(f"The subject for the answer is longer than {_MAX_SUBJECT} characters.")
    try:
        answer = commandtext.of(mail)
    except ValueError as error:
        raise Refused(str(error)) from None
    changes: dict[str | conffile.Key, Any] = {
        "autoresponder.enabled": True,
        "autoresponder.from": conffile.Default('""'),  # by mail it is switched on for good, not for a period
        "autoresponder.until": conffile.Default('""'),
        "autoresponder.subject": printable.line(subject) or conffile.Default('""'),
        "autoresponder.text": answer,
    }
    shown = printable.line(subject) or "Re: and the subject of the mail that is answered"
    only = " Mail from the internet is not answered, for your account must not send mail there." \
        if visit.account.deny_internet else ""
    text = f"Mail to {own} is answered now, until you switch it off.{only} To do that, send a mail to {own} with the " \
           f"subject:\n\n    LMS Autoresponder off\n\nThis is the answer:\n\nSubject: {shown}\n\n{answer}"
    return Done(changes, "The autoresponder is on", text)


def _autoresponder_off(own: Address) -> Done:
    return Done({"autoresponder.enabled": conffile.Default("false")}, "The autoresponder is off",
                f"Mail to {own} is no longer answered.")


def _answer(mail: Mail, name: str, subject: str, text: str) -> Made:
    """From the null sender, so that nothing ever answers it; a forward that was just set takes it along."""
    to = Address(name, mail.settings.server.domain)
    origin = envelope.Origin("local", (("source", SOURCE), ("account", name)))
    head = envelope.Envelope(None, [envelope.Recipient(to)], origin=origin)
    made = notice.compose(to, mail.settings, subject, text, f"{mail.id}.command", answered=mail.header)
    return Made(f"command {name}", "queue", head, made)
