"""A mailbox as POP3 sees it: messages numbered from 1 that stay what they are for the whole session.

    lock(directory, account) -> int | None      the descriptor that holds the lock, None when another session has it
    open_drop(folder) -> Maildrop               blocking
    Maildrop.of(snapshot)                       without blocking, when all sizes are known: `is_listed(snapshot)`

The lock (RFC 1939 §8) is flock(2) on a file in state/pop3: the kernel drops it when the session or the whole program
dies, and workers exclude each other. It keeps POP3 sessions apart only; IMAP and delivery never wait for it.

What is derived from a snapshot (sizes, LIST and UIDL answers) is kept with it, so that a log-in to a mailbox in which
nothing happened costs nothing but a few stats.
"""

import fcntl
import os
from dataclasses import dataclass, field

from lanmail import atomic
from lanmail.folders import changes, quota
from lanmail.folders.folder import Folder
from lanmail.folders.snapshot import Entry, Snapshot

_MEMO = "pop3"


def lock(directory: str, account: str) -> int | None:
    """Try to get the lock of an account; closing the descriptor gives it back. OSError when it cannot be made."""
    descriptor = os.open(f"{directory}/{account}.lock", os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


@dataclass(slots=True)
class Listing:
    """What all sessions of one snapshot share: sizes on the wire, their sum, the answers to LIST and UIDL."""

    sizes: list[int]
    octets: int
    listed: bytes = b""
    uidls: list[bytes] = field(default_factory=list)
    uidls_listed: bytes = b""


def is_listed(snapshot: Snapshot) -> bool:
    """Whether a Maildrop can be made of this snapshot at once."""
    return _MEMO in snapshot.memo


def open_drop(folder: Folder) -> "Maildrop":
    """Look at the folder and learn all sizes; blocking."""
    snapshot = folder.sync()
    if not is_listed(snapshot):
        sizes = [entry.wire_size for entry in snapshot.entries]
        if None in sizes:
            folder.fill_sizes(snapshot.entries)
            sizes = [entry.wire_size for entry in snapshot.entries]
        known = [size or 0 for size in sizes]
        snapshot.memo[_MEMO] = Listing(known, sum(known))
    return Maildrop(folder, snapshot)


class Maildrop:
    """The messages of one session. Numbers count from 1 on the wire and from 0 here."""

    def __init__(self, folder: Folder, snapshot: Snapshot) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self.entries: tuple[Entry, ...] = snapshot.entries
        self._listing: Listing = snapshot.memo[_MEMO]
        self.sizes: list[int] = self._listing.sizes
        self._octets: int = self._listing.octets
        self.deleted: set[int] = set()
        self.retrieved: set[int] = set()

    @property
    def count(self) -> int:
        """Messages that are not marked as deleted."""
        return len(self.entries) - len(self.deleted)

    @property
    def octets(self) -> int:
        """Their size."""
        return self._octets - sum(self.sizes[index] for index in self.deleted)

    def uidl(self, index: int) -> bytes:
        """The unique id: as Dovecot's default `%08Xu%08Xv` makes it (X is lower case there), or as given before."""
        return self._uidls()[index]

    def _uidls(self) -> list[bytes]:
        listing, snapshot = self._listing, self.snapshot
        if len(listing.uidls) != len(self.entries):
            validity, inherited = snapshot.uidvalidity, snapshot.pop3_uidls
            listing.uidls = [b"%08x%08x" % (entry.uid, validity) for entry in self.entries]
            for uid, given in inherited.items():
                index = snapshot.position(uid)
                if index < len(self.entries) and self.entries[index].uid == uid:
                    listing.uidls[index] = os.fsencode(given)[:70]  # RFC 1939 §7
        return listing.uidls

    def list_text(self) -> bytes:
        """The lines of the answer to LIST."""
        if self.deleted:
            return b"".join([b"%d %d\r\n" % (index + 1, size) for index, size in enumerate(self.sizes)
                             if index not in self.deleted])
        if not self._listing.listed:
            self._listing.listed = b"".join([b"%d %d\r\n" % pair for pair in enumerate(self.sizes, 1)])
        return self._listing.listed

    def uidl_text(self) -> bytes:
        """The lines of the answer to UIDL."""
        uidls = self._uidls()
        if self.deleted:
            return b"".join([b"%d %b\r\n" % (index + 1, uidl) for index, uidl in enumerate(uidls)
                             if index not in self.deleted])
        if not self._listing.uidls_listed:
            self._listing.uidls_listed = b"".join([b"%d %b\r\n" % pair for pair in enumerate(uidls, 1)])
        return self._listing.uidls_listed

    def has_changes(self, *, mark_seen: bool) -> bool:
        """Whether the UPDATE state has anything to do."""
        return bool(self.deleted or (mark_seen and self._newly_seen()))

    def _newly_seen(self) -> list[int]:
        return [self.entries[index].uid for index in self.retrieved - self.deleted
                if "S" not in self.entries[index].letters]

    def update(self, mark_seen: bool) -> None:
        """The UPDATE state: remove what is marked as deleted, mark what was retrieved as seen. Blocking; OSError."""
        if self.deleted:
            changes.expunge(self.folder, [self.entries[index].uid for index in self.deleted])
            octets = sum(self.entries[index].size or 0 for index in self.deleted)
            quota.note(self.folder.root, -octets, -len(self.deleted))
        if mark_seen and (seen := self._newly_seen()):
            changes.store(self.folder, seen, "+", ["\\Seen"])
