"""The messages of a folder at one moment, as folders/folder.py shows them to the sessions of a program.

    Snapshot.entries: tuple[Entry, …]    by UID;  .find(uid), .position(uid), .by_base(), len()
    Snapshot.flags(entry) -> tuple[str, …]         "\\Answered", …, keywords; without \\Recent
    Snapshot.number                      grows by one from each snapshot of a folder to the next
    Snapshot.modseq, Entry.modseq        mod-sequences (RFC 7162) where the folder numbers; the former is the highest
    Snapshot.uidvalidity, .uidnext, .guid, .keywords (keywords.Table), .memo (a dict for what callers derive)
    Entry.uid, .base, .name, .sub, .letters, .recent, .path, .sizes, .size | None, .wire_size | None

Neither ever changes (but for sizes being filled in): an entry that is the same object in two snapshots of a folder did
not change; a flag change makes a new Entry with the same UID. Entries are in UID order, a new one always comes last.
"""

from bisect import bisect_left
from operator import attrgetter
from typing import Any

from lanmail import maildir
from lanmail.folders import keywords, uidlist

_UID = attrgetter("uid")
_FEW = 1000
_REMEMBERED = 63
Sizes = tuple[int | None, int | None]
MAX_NUMBER = 0xFFFFFFFF


class Entry:
    """One message: UID, base name, file name, sub-directory ("new" or "cur")."""

    __slots__ = ("_sizes", "base", "modseq", "name", "sub", "uid")

    def __init__(
        self, uid: int, base: str, name: str, sub: str, sizes: Sizes | None = None, modseq: int = 0
    ) -> None:
        self.uid = uid
        self.base = base
        self.name = name
        self.sub = sub
        self._sizes = sizes
        self.modseq = modseq

    def renumbered(self, modseq: int) -> "Entry":
        """The same message with another mod-sequence."""
        return Entry(self.uid, self.base, self.name, self.sub, self._sizes, modseq)

    def renamed(self, name: str, sub: str) -> "Entry":
        """The same message under another name."""
        return Entry(self.uid, self.base, name, sub, self._sizes, self.modseq)

    @property
    def size(self) -> int | None:
        """Octets on disk; None when only `fill_sizes` can tell."""
        return self.sizes[0]

    @property
    def wire_size(self) -> int | None:
        """Octets with CRLF line ends, the RFC822.SIZE; None when only `fill_sizes` can tell."""
        return self.sizes[1]

    @property
    def sizes(self) -> Sizes:
        """Both sizes, from the file name or the uidlist."""
        if self._sizes is None:  # taken from the name when somebody asks: 100,000 names are a tenth of a second
            self._sizes = _plausible(maildir.sizes_of(self.base))
        return self._sizes

    @sizes.setter
    def sizes(self, sizes: Sizes) -> None:
        self._sizes = sizes

    @property
    def letters(self) -> str:
        """The flag letters in the file name."""
        return self.name.partition(maildir.INFO)[2]

    @property
    def recent(self) -> bool:
        """True as long as no session took the message out of new/."""
        return self.sub == "new"

    @property
    def path(self) -> str:
        """Sub-directory and file name."""
        return f"{self.sub}/{self.name}"

    def __repr__(self) -> str:
        return f"Entry({self.uid}, {self.path!r})"


def _plausible(sizes: Sizes) -> Sizes:
    """The sizes that a name tells, unless they cannot be: RFC 3501 §9: numbers of 32 bits; and a mail only grows."""
    size, wire_size = sizes
    if wire_size is not None and (wire_size > MAX_NUMBER or (size is not None and not size <= wire_size <= 2 * size)):
        return None, None
    return sizes


class Snapshot:
    """The messages of a folder at one moment. `memo` is for whatever a program derives from it."""

    __slots__ = (
        "__weakref__", "_flags", "_uidls", "_uids", "entries", "guid", "keywords", "memo", "modseq", "number",
        "uidnext", "uidvalidity",
    )

    def __init__(
        self, uids: uidlist.UidList, entries: tuple[Entry, ...], table: keywords.Table, number: int = 0, modseq: int = 0
    ) -> None:
        self.number = number
        self.modseq = modseq
        self.uidvalidity = uids.uidvalidity
        self.uidnext = uids.uidnext
        self.guid = uids.guid
        self.entries = entries
        self.keywords = table
        self._uids = uids
        self._uidls: dict[int, str] | None = None
        self.memo: dict[str, Any] = {}
        self._flags: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def pop3_uidls(self) -> dict[int, str]:
        """UIDLs that another server gave out, by UID: they must stay what they were."""
        if self._uidls is None:
            uids = self._uids
            self._uidls = {uid: value for uid in tuple(uids.extras) if (value := uids.key(uid, "P"))}
        return self._uidls

    def position(self, uid: int) -> int:
        """Index of the first entry with this UID or a larger one."""
        return bisect_left(self.entries, uid, key=_UID)

    def find(self, uid: int) -> Entry | None:
        """The entry with this UID."""
        index = self.position(uid)
        found = self.entries[index] if index < len(self.entries) else None
        return found if found and found.uid == uid else None

    def by_base(self) -> dict[str, Entry]:
        """All entries by base name."""
        return {entry.base: entry for entry in self.entries}

    def flags(self, entry: Entry) -> tuple[str, ...]:
        """IMAP flags and keywords of an entry of this snapshot."""
        letters = entry.letters
        result = self._flags.get(letters)
        if result is None:
            known = maildir.FLAGS
            result = tuple(known[letter] for letter in letters if letter in known) + self.keywords.of(letters, "")
            self._flags[letters] = result
        further = self.keywords.further_of
        return result + further[entry.base] if further and entry.base in further else result


class History:
    """Which UIDs differ between the last snapshots of a folder."""

    def __init__(self) -> None:
        self._steps: tuple[tuple[int, frozenset[int] | None], ...] = ()

    def note(self, number: int, altered: set[int] | None) -> None:
        """The snapshot of this number differs from the one before in these UIDs; None: in who knows how many."""
        few = frozenset(altered) if altered is not None and len(altered) <= _FEW else None
        self._steps = (*self._steps[-_REMEMBERED:], (number, few))

    def since(self, number: int) -> set[int] | None:
        """UIDs that came, went or changed since the snapshot of that number; None when that is no longer known."""
        steps, found = self._steps, set[int]()
        if not steps or steps[0][0] > number + 1:
            return None
        for at, uids in steps:
            if at > number:
                if uids is None:
                    return None
                found |= uids
        return found
