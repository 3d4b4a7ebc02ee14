"""What an account sends by SMTP is kept in its Sent folder, when `sent_copy` says so.

    folder(mail) -> str | None     the directory (".Sent") in the submitter's Maildir; None: no copy

The one folder that is used for sent mail, as clients have said (RFC 6154) or by its name in any case and language
that we know; so never a second one beside it. Where there is none it is made and subscribed to, in a new Maildir with
the other special folders, as the first log-in by IMAP would. The copy is the mail as it was handed in, Bcc lines
included: deliver puts it there after the mail was accepted, so that nobody waits for it.
"""

import contextlib
import os

from lanmail import maildir
from lanmail.errors import Temporary
from lanmail.folders import subscriptions
from lanmail.rules.mail import Mail

FLAGS = "S"  # the name in cur/ says that it was read
_NAMES = ("Sent", "Sent Items", "Sent Messages")  # for the rare case that the first one is used for something else


def folder(mail: Mail) -> str | None:
    """Where the sender's own copy goes; makes the folder when there is none. Temporary, OSError."""
    if mail.submitter is None:
        return None
    account = mail.directory.account(mail.submitter, fresh=False)
    if account is None or not account.sent_copy:
        return None
    root = str(mail.paths.maildirs / account.name)
    name = _sent(root) if os.path.isdir(root) else None
    if name is None:
        maildir.prepare(root)
        name = _sent(root) or _made(root)
    return os.path.basename(maildir.path_of(root, name))


def _sent(root: str) -> str | None:
    return maildir.specials(root, maildir.folders(root)).get("\\Sent")


def _made(root: str) -> str:
    """A new folder for it, subscribed."""
    for name in _NAMES:
        with contextlib.suppress(FileExistsError):
            maildir.create(root, name)
            subscriptions.add(root, name)
            return name
    raise Temporary("the folder for sent mail cannot be made: all its names are used otherwise", 451, "4.2.0")
