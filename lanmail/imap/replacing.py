"""REPLACE: a message takes the place of another, as clients save drafts (RFC 8508).

The new one is on disk, with its UID, before the old one goes: whatever happens, one of them is there.
"""

from dataclasses import dataclass

from lanmail import sequenceset
from lanmail.folders import changes
from lanmail.imap import append, destination, expunge, parser, rights
from lanmail.imap.session import Bad, No, Session


@dataclass(frozen=True, slots=True)
class Replace:
    old: parser.Set
    uid: bool
    new: append.Append


def parse(cursor: parser.Cursor, *, uid: bool = False) -> Replace:
    cursor.space()
    old = cursor.sequence_set()
    return Replace(old, uid, append.parse(cursor))


async def replace(session: Session, arguments: Replace) -> str:
    message = arguments.new.first
    async with append.announced(session, message):
        old = _old(session, arguments)
        found = await destination.find(session, arguments.new.mailbox)
    uids = await append.take(session, found, message, limit=1)
    try:
        await expunge.erase(session, [old])
    except OSError:
        await found.box.change(changes.expunge, uids)
        raise
    session.untagged(f"OK [APPENDUID {found.box.now.uidvalidity} {sequenceset.text(uids)}] Replacement stored.")
    return ""


def _old(session: Session, arguments: Replace) -> int:
    uids = session.view.select(arguments.old, uid=arguments.uid)
    if session.view.read_only:
        raise No("The mailbox is selected read-only.", "READ-ONLY")
    rights.need(session, "te")
    if len(uids) > 1:
        raise Bad("One message is replaced at a time.")
    if not uids or uids[0] not in session.view.box.messages:
        raise No("The message to replace is not there.", "NONEXISTENT")
    return uids[0]
