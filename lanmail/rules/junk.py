"""Spam goes into the folder Junk: what a filter of ours tagged, and what a header line says that the settings believe.

A header line in the mail itself counts only when filter.junk_headers names it, for anybody can write one: it is meant
for mail that comes from a provider which filters. An account with junk = false has it all in its INBOX.
"""

import contextlib
import os

from lanmail import log, maildir, message
from lanmail.folders import subscriptions
from lanmail.rules.mail import Mail, Visit

NAME = "Junk"  # where there is no folder for that yet


def apply(mail: Mail, visit: Visit) -> None:
    """Say "spam" to the rules that follow, and wish for the folder. OSError."""
    if "spam" not in visit.flags and (field := believed(mail)) and not mail.released:
        visit.flags.add("spam")
        log.filtered(id=mail.id, account=visit.name, filter="header", verdict="tag", why=field)
    if "spam" in visit.flags and visit.account.junk and not visit.folder:
        visit.folder = folder_of(str(mail.paths.maildirs / visit.name))


def believed(mail: Mail) -> str:
    """The setting that matches a field of the mail; "" when none does."""
    for wanted in mail.settings.filter.junk_headers:
        name, _, start = wanted.partition(":")
        if any(value.lower().startswith(start.strip().lower().encode())
               for value in message.fields(mail.header, name.encode())):
            return wanted
    return ""


def folder_of(root: str) -> str:
    """The directory of the folder for spam, made if there is none, below that of the account. OSError."""
    maildir.prepare(root)
    name = maildir.specials(root, maildir.folders(root)).get("\\Junk")
    if name is None:
        name = NAME
        with contextlib.suppress(FileExistsError):
            maildir.create(root, name)
        subscriptions.add(root, name)
    return os.path.basename(maildir.path_of(root, name))
