"""Which message of a folder has which mod-sequence: what `modseqs.Log` says, where the file names agree with it.

`folder.Folder` calls this on each look, in this order: `read` before the directories, `made`, `changed` and `went` for
what it finds there, `back`, and at the end `settle`. A message whose letters are not those of its last record is loose
until it gets a new number in `settle`, which needs the lock.
"""

from collections.abc import Collection, Iterable, Sequence

from lanmail import maildir
from lanmail.folders import modseqs
from lanmail.folders.snapshot import Entry


class Numbering:
    """The mod-sequences of one folder in this process."""

    def __init__(self, directory: str) -> None:
        self.log = modseqs.Log(directory)
        self._loose: set[int] = set()
        self._lost: set[int] = set()
        self._first = 0  # what all get while there is no log, and the lock is held

    @property
    def highest(self) -> int:
        """The mod-sequence of the last change, the folder's HIGHESTMODSEQ."""
        return self.log.highest

    @property
    def claimed(self) -> int:
        """Messages above this UID are known to no session yet: \\Recent for the first that may claim them."""
        return self.log.claimed

    def claim(self, uid: int) -> None:
        """From now on all messages up to this UID are known; the lock is held."""
        self.log.claim(uid)

    def expunged_since(self, modseq: int) -> list[int] | None:
        """UIDs of messages that went after `modseq`; None when that is not known any more."""
        return self.log.expunged_since(modseq)

    def since(self, modseq: int) -> int:
        """What to compare mod-sequences with for a client that knows `modseq`: that, or 0 when all must be told."""
        return modseq if self.log.remembers(modseq) else 0

    def same(self) -> bool:
        """Whether there is nothing to do."""
        return not self._loose and self.log.same()

    def room(self, more: int) -> bool:
        """Whether so many new messages can be noted without writing the whole log anew."""
        return self.log.usable and not self.log.long_with(more)

    def begin_anew(self) -> None:
        """All messages will be made again."""
        self.log.again()
        self._loose = set()

    def read(self, uidvalidity: int, entries: dict[int, Entry], *, locked: bool = False) -> bool:
        """Take in what other processes noted; False when that contradicts the names we know."""
        log = self.log
        log.catch_up(uidvalidity)
        self._first = log.next() if locked and not log.usable else 0
        self._lost = set()
        return not entries or (log.gone.isdisjoint(entries) and all(
            modseqs.key(entry.uid, entry.name) == key
            for key in log.said if (entry := entries.get(key & modseqs.UID))))

    def made(self, uids: Sequence[int], names: Sequence[str]) -> list[int]:
        """The mod-sequences of new entries, given as UIDs and file names; 0 where there will be one."""
        if self._first:
            return [self._first] * len(uids)
        said, bits, mark = self.log.said.pop, modseqs.BITS, maildir.INFO
        found = []
        for uid, name in zip(uids, names, strict=True):
            modseq = said(bits[name.partition(mark)[2]] | uid, 0)
            if not modseq:
                self._loose.add(uid)
            found.append(modseq)
        return found

    def changed(self, pairs: Iterable[tuple[Entry, Entry]]) -> None:
        """Files have other names now; one that has other flags, too, has its old number no more."""
        said, bits, mark = self.log.said.pop, modseqs.BITS, maildir.INFO
        for before, after in pairs:
            flags = bits[after.name.partition(mark)[2]]
            if flags != bits[before.name.partition(mark)[2]]:
                after.modseq = said(flags | after.uid, 0)
                if not after.modseq:
                    self._loose.add(after.uid)

    def touched(self, uids: Iterable[int]) -> None:
        """Something changed about messages that file names do not tell."""
        self._loose.update(uids)

    def surely_gone(self, gone: Collection[Entry]) -> bool:
        """Whether these were removed, as the log says, and not just renamed while we read the names."""
        return all(self.log.said_gone(entry.uid) for entry in gone)

    def went(self, gone: Iterable[Entry]) -> None:
        """These messages are no more."""
        self._lost.update(entry.uid for entry in gone if not self.log.said_gone(entry.uid))

    def back(self, entries: dict[int, Entry]) -> list[Entry]:
        """Messages that are there although they were expunged, as all were told: they must come as new ones."""
        found = [entries[uid] for uid in self.log.gone & entries.keys()]
        self._loose.difference_update(entry.uid for entry in found)
        return found

    def settle(self, entries: dict[int, Entry], uidvalidity: int, *, locked: bool) -> list[Entry] | None:
        """Entries to put in place of those with the same UID; None when that needs the lock."""
        log = self.log
        fresh = []
        for key, modseq in log.said.items():
            uid = key & modseqs.UID
            entry = entries.get(uid)
            if entry is None:  # it went while nobody looked
                self._lost.add(uid)
            elif modseqs.key(uid, entry.name) == key:
                self._loose.discard(uid)
                if entry.modseq != modseq:  # a log that was written anew says of most what is known
                    fresh.append(entry.renumbered(modseq))
            else:
                self._loose.add(uid)
        if not locked:
            if self._lost or self._loose or not log.usable or not log.gone.isdisjoint(entries):
                return None
            log.settled()
            return fresh
        log.settled()
        return fresh + self._give(entries, fresh, uidvalidity)

    def _give(self, entries: dict[int, Entry], fresh: list[Entry], uidvalidity: int) -> list[Entry]:
        """New numbers for what is loose, and a note of what was lost."""
        log, found = self.log, list[Entry]()
        loose, self._loose = sorted(self._loose & entries.keys()), set()
        anew = not log.usable or log.long_with(len(loose) + len(self._lost))
        if loose or self._lost:
            unnumbered = [entries[uid] for uid in loose]
            noted = [] if anew else modseqs.keys(unnumbered)
            modseq = log.append(noted, sorted(self._lost)) if log.usable else log.next()
            for entry in unnumbered:
                if entry.modseq:
                    found.append(entry.renumbered(modseq))
                else:  # made in this look: nobody has it yet
                    entry.modseq = modseq
        if anew:
            other = {entry.uid: entry for entry in (*fresh, *found)}
            latest = ({**entries, **other} if other else entries).values()
            log.replace(uidvalidity, modseqs.keys(latest), [entry.modseq for entry in latest])
        return found
