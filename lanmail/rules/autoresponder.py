"""Who writes gets an answer, and while that is so, mail may go on to others.

The rule counts while [autoresponder] is enabled and the moment lies in its period. Each mail is answered (RFC 3834),
but what autoanswer/guards.py names, and a sender at most so often as [autoresponder] says. The answer is a new mail in
the queue, from the account, by the account's way out. Its forward list holds for all mail, answered or not.
"""

from lanmail import log
from lanmail.autoanswer import guards, letter, memory
from lanmail.rules.mail import Made, Mail, Target, Visit


def apply(mail: Mail, visit: Visit) -> None:
    """Answer the mail, and wish for the targets. OSError when nobody can say who was answered."""
    section = visit.account.autoresponder
    if not section.active(mail.now):
        return
    if section.forward:
        visit.targets += [Target(one, "autoresponder") for one in section.forward]
        visit.keep = visit.keep and section.keep
    if not section.text:
        return
    why, to = guards.refusal(mail, visit), guards.correspondent(mail)
    if not why and to is not None:
        why = memory.of(mail.paths, visit.name).note(to, mail.id, letter.mark(section), mail.now, limits(visit))
        if not why:
            visit.made.append(Made(f"autoresponder {visit.name}", "queue", *letter.compose(mail, visit, to)))
            mail.say(f"{mail.id}: account {visit.name} answers {to}")
            return
    log.unanswered(id=mail.id, account=visit.name, to=str(to or ""), why=why)
    mail.say(f"{mail.id}: account {visit.name} answers nobody: {why}")


def limits(visit: Visit) -> memory.Limits:
    """How often this account answers one sender."""
    return memory.Limits(visit.account.autoresponder.max_per_hour, visit.account.autoresponder.once_per)
