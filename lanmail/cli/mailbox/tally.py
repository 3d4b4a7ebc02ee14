"""How much lies in a folder, told by file names alone: nothing is opened but the uidlist, nothing is changed.

Sizes are on the wire (CRLF line ends), as clients see them: from W= in the name, else from the uidlist. Only
where none of them tells a size the file is asked, and its size on disk counts.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from lanmail import maildir
from lanmail.folders import uidlist


@dataclass(frozen=True, slots=True)
class Tally:
    """One folder, or many together. `newest`: when the last message came in, seconds since 1970."""

    folder: str
    messages: int = 0
    unseen: int = 0
    size: int = 0
    newest: float | None = None
    uidvalidity: int | None = None
    special: str | None = None


def of_account(root: str) -> list[Tally]:
    """All folders of a Maildir, INBOX first; empty when there is none yet."""
    if not os.path.isdir(root):
        return []
    names = maildir.folders(root)
    special = {name: attribute for attribute, name in maildir.specials(root, names).items()}
    return [of_folder(root, name, special.get(name)) for name in names]


def total(name: str, parts: Iterable[Tally]) -> Tally:
    """Folders added up."""
    each = list(parts)
    return Tally(
        name, sum(part.messages for part in each), sum(part.unseen for part in each), sum(part.size for part in each),
        max((part.newest for part in each if part.newest is not None), default=None),
    )


def of_folder(root: str, name: str, special: str | None = None) -> Tally:
    """One folder."""
    path = maildir.path_of(root, name)
    files = maildir.files_in(path)
    uids = _uidlist(path)
    known = uids.uids if uids else {}
    size = sum([_size(path, place, base, uids) for base, place in files.items()])
    unseen = sum([sub == "new" or "S" not in maildir.letters_of(filename) for sub, filename in files.values()])
    fresh = files.keys() - known.keys()
    last = max(fresh, key=maildir.arrival) if fresh else max(files, key=known.__getitem__, default=None)
    newest = None
    if last is not None:
        with contextlib.suppress(OSError):
            newest = os.lstat("/".join((path, *files[last]))).st_mtime
    return Tally(name, len(files), unseen, size, newest, uids.uidvalidity if uids else None, special)


def _uidlist(path: str) -> uidlist.UidList | None:
    try:
        return uidlist.read(f"{path}/{uidlist.NAME}")[0]
    except (OSError, uidlist.Corrupt):
        return None


def _size(path: str, place: tuple[str, str], base: str, uids: uidlist.UidList | None) -> int:
    size, wire_size = maildir.sizes_of(base)
    if wire_size is None and uids and uids.extras and base in uids.uids:
        wire_size = uids.size(uids.uids[base], "W") or None
    if wire_size is not None or size is not None:
        return wire_size if wire_size is not None else size or 0
    with contextlib.suppress(OSError):
        status = os.lstat("/".join((path, *place)))
        return status.st_size if stat.S_ISREG(status.st_mode) else 0
    return 0
