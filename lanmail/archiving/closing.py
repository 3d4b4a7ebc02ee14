"""The mail of an account that ends, on its way into the archive: what lies in its Maildir goes into spool/archive.

Each mail keeps its id, and with it the time when it came. What the archive has under this id already, because the
account was archived, does not go there twice. What somebody sent (the folder Sent) is filed as sent by the account,
everything else as received. Drafts and spam stay out.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from lanmail import address, atomic, envelope, maildir, pickup, spool
from lanmail.archiving import store
from lanmail.errors import MailError
from lanmail.paths import Paths

HOW = "local"
_LEFT_OUT = ("\\Drafts", "\\Junk")
_HEADER, _PIECE = 256 << 10, 1 << 20


def hand_over(where: Paths, name: str, address_: address.Address, done: Collection[str] = ()) -> set[str]:
    """Queue all mail of the account for the archive, durably; the files that are `done` now. OSError.

    Called a second time with what the first call returned, only what came in between follows.
    """
    there, seen = _ids(where.archive), set(done)
    owner = store.spool_of(where)
    owner.ensure()
    try:
        for path, sent in _mails(where.maildirs / name):
            base = maildir.base_of(path.name)
            mail_id = _id_of(base)
            if base not in seen and mail_id not in there:
                facts = store.Facts(mail_id, store.ACCEPTED, name if sent else "", () if sent else (name,), HOW)
                if _queue(owner, path, facts, address_):
                    there.add(mail_id)
            seen.add(base)
    finally:
        owner.close()
    return seen


def _mails(root: Path) -> Iterator[tuple[Path, bool]]:
    """All mails, and whether somebody sent them."""
    folders = maildir.folders(str(root))
    special = {folder: use for use, folder in maildir.specials(str(root), folders).items()}
    for folder in folders:
        use = special.get(folder, "")
        if use in _LEFT_OUT:
            continue
        for place in ("new", "cur"):
            directory = Path(maildir.path_of(str(root), folder)) / place
            if directory.is_dir():
                yield from ((path, use == "\\Sent") for path in sorted(directory.iterdir())
                            if not path.name.startswith("."))


def _id_of(base: str) -> str:
    """The mail's id, as deliver gave it or whoever put the file there."""
    found = base.partition(",")[0]
    return found if store.is_id(found) else spool.new_id()


def _ids(archive: Path) -> set[str]:
    """What is in the archive, as far as this program may look there."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for month in archive.iterdir():
            if (month / "cur").is_dir():
                found |= {name.partition(",")[0] for name in os.listdir(month / "cur")}
    return found


def _queue(owner: spool.Spool, path: Path, facts: store.Facts, mine: address.Address) -> bool:
    """False for what is no mail, or gone meanwhile."""
    try:
        descriptor = atomic.open_regular(path)
    except (atomic.NotRegular, FileNotFoundError):
        return False
    to = _recipients(os.pread(descriptor, _HEADER, 0), mine.domain) if facts.submitter else []
    head = envelope.Envelope(mine if facts.submitter else None, [envelope.Recipient(one) for one in to or [mine]],
                             origin=store.origin(facts))
    draft = owner.create()
    try:
        draft.write(envelope.encode(head))
        while data := os.read(descriptor, _PIECE):
            draft.write(data)
            draft.flush()
        draft.commit()
    except BaseException:
        draft.abort()
        raise
    finally:
        os.close(descriptor)
    return True


def _recipients(start: bytes, domain: str) -> list[address.Address]:
    """Whom the header of a sent mail names; none when it cannot be read."""
    try:
        return pickup.recipients(pickup.read(start, domain), domain)
    except (MailError, ValueError):
        return []
