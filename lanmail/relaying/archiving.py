"""The form in which an archived account's mail goes out, where relay had to change it: another sender, S/MIME, DKIM.

It goes to spool/archive before the first try, once for a mail however many parts and tries it takes; archived keeps it
beside the form in which the mail came in. A later try may make other octets of the same meaning (the time of a
signature); those are not kept again, but for a try after a crash, which may have been a second one on the wire, too.
"""

from lanmail import address, envelope
from lanmail.archiving import store
from lanmail.relaying.mail import Mail
from lanmail.relaying.office import Office
from lanmail.rewriting import Rewritten
from lanmail.rules import archive


def is_wanted(one: Mail) -> bool:
    """Whether the form that goes out is to be archived, and was not yet."""
    return not one.state.archived and archive.marked(one.entry.head) is not None


def keep(office: Office, one: Mail, made: Rewritten) -> None:
    """Hand on what goes out. Blocks; OSError: then the mail must not go out yet."""
    mail_id = archive.marked(one.entry.head)
    assert mail_id is not None
    together = [rcpt for rcpt in one.entry.head.recipients if rcpt.address not in made.apart]
    forms = [(together, made.message)] if together else []
    forms += [([rcpt for rcpt in one.entry.head.recipients if rcpt.address == who], text)
              for who, text in sorted(made.apart.items(), key=lambda item: str(item[0]))]
    for number, (recipients, text) in enumerate(forms, 1):
        head = envelope.Envelope(made.sender, recipients, one.entry.head.params, _origin(mail_id, one))
        office.archive.put(head, _whole(made.sender, text), f"{one.id}-sent{number}")
    one.state.archived = True


def _origin(mail_id: str, one: Mail) -> envelope.Origin:
    how = one.entry.head.origin.kind if one.entry.head.origin is not None else ""
    return store.origin(store.Facts(mail_id, store.SENT, one.way.account or "", (), how))


def _whole(sender: address.Address | None, text: bytes) -> bytes:
    """With a Return-Path on top: it ends the envelope lines, whatever the message begins with."""
    return text if text[:12].lower() == b"return-path:" else f"Return-Path: <{sender or ''}>\n".encode() + text
