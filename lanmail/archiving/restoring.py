"""Mail of the archive, put into a mailbox again: as it came, unread, with its old date. No rule is asked."""

import os

from lanmail import envelope, maildir, messagefile
from lanmail.archiving import finding, reading, store
from lanmail.folders import changes, folder, subscriptions
from lanmail.paths import Paths

_CHUNK = 1 << 20
_MARK = "-restored."  # behind the id, and behind it what makes the name a new one: UIDs are never used again


def target(root: str, name: str) -> folder.Folder:
    """A folder of a Maildir, made and subscribed to if need be. ValueError when it cannot be called so; OSError."""
    path = maildir.path_of(root, name)
    maildir.prepare(root)
    if not maildir.exists(root, name):
        maildir.create(root, name)
        subscriptions.add(root, name)
    return folder.Folder(path, root)


def ids_in(place: folder.Folder) -> set[str]:
    """The ids of the mails that messages of a folder came from, by delivery or by an earlier restore."""
    return {base.partition(",")[0].partition(_MARK)[0] for base in maildir.files_in(place.path)}


def put(where: Paths, place: folder.Folder, mail: finding.Found) -> str | None:
    """One message into its place, durably; why it cannot be, or None. messagefile.Unable, OSError."""
    try:
        descriptor = store.open_file(where.archive, {"file": mail.file})
    except OSError as error:
        return f"its file in the archive cannot be read ({error.strerror}); see: lanmail archive verify"
    draft = messagefile.Draft(place.path)
    try:
        if not _write(descriptor, draft, mail):
            return "its file in the archive is damaged; see: lanmail archive verify"
        draft.finish(mail.arrived)
        draft.flush()
        sizes = draft.size, draft.wire_size
        base = f"{mail.id}{_MARK}{os.urandom(4).hex()},S={sizes[0]},W={sizes[1]}"
        changes.adopt(place, [changes.Source(draft.path, (), sizes, name=base)])
        draft.flush()
        changes.secure(place, ())
        place.flush()
    finally:
        os.close(descriptor)
        draft.drop()
    return None


def _write(descriptor: int, draft: messagefile.Draft, mail: finding.Found) -> bool:
    """The message into the draft, without what is not for who asks; False when it is damaged."""
    offset = _body(descriptor)
    if offset is None:
        return False
    if not mail.is_own:
        draft.write(reading.without_blind(os.pread(descriptor, os.fstat(descriptor).st_size, offset)))
        return True
    while block := os.pread(descriptor, _CHUNK, offset):
        draft.write(block)
        offset += len(block)
    return True


def _body(descriptor: int) -> int | None:
    """Where the message begins behind the lines of its envelope."""
    try:
        head, offset = envelope.decode(os.pread(descriptor, envelope.LIMIT + 4096, 0))
    except ValueError:
        return None
    return offset if head is not None else None
