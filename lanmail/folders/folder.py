"""One folder's messages with their UIDs: what new/, cur/, `dovecot-uidlist` and the keyword files say together.

    Folder(path, root)                   for a directory; folders/folderpool.py has one for all sessions of a process
    Folder.peek() -> Snapshot | None     a few stats: the current snapshot, or None when something changed. In the loop.
    Folder.sync(order=(), flush=True) -> Snapshot      looks, gives UIDs to new files (those in `order` first)
    Folder.glance() -> Snapshot | None   the same if it can be had without the lock
    Folder.flush() -> None               the UIDs given so far survive a power cut; after `sync(flush=False)`
    Folder.open(entry) -> int            a descriptor on the message, also after another program renamed it
    Folder.read(entry) -> bytes          the whole message as it is on disk
    Folder.fill_sizes(entries) -> None   afterwards size and wire_size of each is an int
    Folder.altered_since(number) -> set of UIDs | None     what differs from the snapshot of that number; None: unknown
    Folder.number() -> Numbering         mod-sequences from now on
    Folder.locked()                      context manager: the dotlock, re-entrant; what folders/changes.py works under

Entries and snapshots are in folders/snapshot.py; flags, expunge, copy, append in folders/changes.py. All but `peek`
block and belong into a thread; they are thread-safe. They raise OSError: the folder cannot be used right now.

Invariants: UIDs are given, and messages found to be gone, only under the dotlock and with the uidlist read before the
directories: whoever renames under the same lock cannot make us miss a file.
"""

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import repeat

from lanmail import atomic, maildir
from lanmail.folders import dotlock, flushing, keywords, listing, numbering, uidlist
from lanmail.folders.snapshot import Entry, History, Snapshot

MAX_SIZE = 1 << 30  # larger files (sparse ones, too) are not mail
LOCK_WAIT = 20.0
FILL_TIME = 1.0
_ATTEMPTS = 5
_BULK = 1000


class Folder:
    """One folder; see the module's text. `path` is its directory, `root` the account's Maildir."""

    def __init__(self, path: str, root: str) -> None:
        self.path = path
        self.root = root
        self._uidlist = f"{path}/{uidlist.NAME}"
        self._mutex = threading.RLock()
        self._depth = 0
        self._new, self._cur = listing.Listing(f"{path}/new", optional=True), listing.Listing(f"{path}/cur")
        self._uids: uidlist.UidList | None = None
        self._stamp: uidlist.Stamp | None = None
        self._keyword_stamp: tuple[int, ...] | None = None
        self._table = keywords.Table()
        self._entries: dict[int, Entry] = {}
        self._bases: dict[str, Entry] = {}
        self._touched: dict[str, None] = {}  # in the order of what happened: neighbours in memory stay neighbours
        self._empty: set[str] = set()  # base names of files that were empty: their content may come later
        self._snapshot: Snapshot | None = None
        self._flush = flushing.Flush(self._uidlist)
        self._altered: set[int] | None = None  # UIDs that differ from the snapshot; None: all may
        self._history = History()
        self._numbering: numbering.Numbering | None = None

    def peek(self) -> Snapshot | None:
        """The snapshot, when nothing changed since; a few microseconds, never waits for a lock."""
        snapshot = self._snapshot
        if snapshot is None or self._touched or (self._empty and self._filled()):
            return None
        try:
            if not (self._new.same() and self._cur.same()):
                return None
            if uidlist.stamp_of(os.lstat(self._uidlist)) != self._stamp:
                return None
            if self._numbering and not self._numbering.same():
                return None
        except OSError:
            return None
        return snapshot if keywords.stamp(self.path) == self._keyword_stamp else None

    def sync(self, order: Sequence[str] = (), *, flush: bool = True) -> Snapshot:
        """The snapshot of now. `order`: base names of new files that get their UIDs first, in this order."""
        with self._mutex:
            snapshot = self.peek() if self._depth else self.glance()
            if snapshot is None:
                with self.locked(flush=flush):
                    if not any(self._look(order, locked=True) for _ in range(_ATTEMPTS)) and self._snapshot is None:
                        # no mailbox at all is better than one that seems to be empty
                        raise dotlock.Busy(f"{self.path} changes too fast to be read")
                snapshot = self._publish()
            return snapshot

    def glance(self) -> Snapshot | None:
        """The same without the lock; None when that must be held, for UIDs to be given or the like."""
        with self._mutex:
            snapshot = self.peek()
            if snapshot is None and self._look((), locked=False):
                snapshot = self._publish()
            return snapshot

    @contextlib.contextmanager
    def locked(self, *, flush: bool = True, patience: float = LOCK_WAIT) -> Iterator[None]:
        """The dotlock, taken once however deeply this nests. What was given away is flushed once others may go on."""
        if not self._mutex.acquire(timeout=patience):
            raise dotlock.Busy(f"{self.path} is busy")
        try:
            if self._depth:
                yield
                return
            with dotlock.held(self._uidlist, timeout=patience):
                self._depth = 1
                try:
                    yield
                finally:
                    self._depth = 0
        finally:
            self._mutex.release()
        if flush:
            self.flush()

    def flush(self) -> None:
        """Make the UIDs that were given so far survive a power cut."""
        self._flush.settle()

    @property
    def count(self) -> int:
        """How many messages the last snapshot has."""
        return len(self._snapshot) if self._snapshot is not None else 0

    def _publish(self) -> Snapshot:
        uids, old, modseq = self._uids, self._snapshot, self._numbering.highest if self._numbering is not None else 0
        if uids is None:
            raise OSError(f"{self.path} has no uidlist")
        # the same object again when nothing happened: what sessions derived from it stays good
        if (old is None or self._altered is None or self._altered or old.uidvalidity != uids.uidvalidity
                or old.uidnext != uids.uidnext or old.keywords is not self._table or old.modseq != modseq):
            number = old.number + 1 if old is not None else 1
            self._history.note(number, self._altered)
            self._altered = set()
            self._snapshot = old = Snapshot(uids, tuple(self._entries.values()), self._table, number, modseq)
        return old

    def altered_since(self, number: int) -> set[int] | None:
        """UIDs that came, went or changed since the snapshot of that number; None when that is no longer known."""
        return self._history.since(number)

    # --- mod-sequences ----------------------------------------------------------------------------------------

    def number(self) -> numbering.Numbering:
        """Give mod-sequences from now on, beginning with all messages at the next `sync`."""
        with self._mutex:
            if self._numbering is None:
                self._numbering = numbering.Numbering(self.path)
                self._uids = self._snapshot = None
            return self._numbering

    def renumber(self, uids: Iterable[int]) -> None:
        """Something changed about messages that file names do not tell; the lock is held."""
        if self._numbering:
            self._numbering.touched(uids)

    # --- looking ----------------------------------------------------------------------------------------------

    def _look(self, order: Sequence[str], *, locked: bool) -> bool:
        """Bring the state up to date; False when that needs the lock, or another look."""
        uids = self._look_at_list(locked=locked)
        if uids is None:
            return False
        numbers = self._numbering
        if numbers is not None and not numbers.read(uids.uidvalidity, self._entries, locked=locked):
            self.distrust()
        for listed in (self._new, self._cur):  # new/ first: mail moves from there to cur/
            happened = dict.fromkeys(listed.look())
            self._touched = {**self._touched, **happened} if self._touched else happened
        self._look_at_keywords()
        gone, changed, known, reborn, unknown = self._sort_out(uids)
        many = len(unknown) > _BULK  # a whole store is taken over: no stat per message
        fresh = [base for base in unknown if (many and ",S=" in base) or self._is_mail(base)]
        twice = listing.doubles(self.path, self._new, self._cur)
        if not locked and (reborn or fresh or twice or uids.damaged
                           or not (numbers.surely_gone(gone) if numbers is not None else not gone)):
            return False
        if locked and not self._cur.steady():
            return False  # names moved while we read them: a missing one may only have been renamed
        for sub, name in twice:
            listing.part(self.path, sub, name)
        self._apply(gone, changed)
        self._add(known, [uids.uids[base] for base in known])
        if numbers is not None and locked and (back := numbers.back(self._entries)):
            self._apply(back, [])
            reborn += [entry.base for entry in back]
        if fresh or reborn or uids.damaged:
            uids = self._assign(uids, [*reborn, *fresh], order)
        self._touched = {}
        return self._settle(uids, locked=locked) and not twice

    def _apply(self, gone: list[Entry], changed: list[Entry]) -> None:
        """Take over what happened to files that we know."""
        numbers = self._numbering
        if numbers is not None:
            numbers.went(gone)
            numbers.changed([(self._entries[entry.uid], entry) for entry in changed])
        for entry in gone:
            del self._entries[entry.uid], self._bases[entry.base]
        for entry in changed:
            self._entries[entry.uid] = self._bases[entry.base] = entry
        if self._altered is not None:
            self._altered.update([entry.uid for entry in gone], [entry.uid for entry in changed])

    def _settle(self, uids: uidlist.UidList, *, locked: bool) -> bool:
        """Each entry has its mod-sequence; False when one must be given, and the lock is not held."""
        if self._numbering is None:
            return True
        numbered = self._numbering.settle(self._entries, uids.uidvalidity, locked=locked)
        for entry in numbered or ():
            self._entries[entry.uid] = self._bases[entry.base] = entry
        if self._altered is not None:
            self._altered.update([entry.uid for entry in numbered or ()])
        return numbered is not None

    def _look_at_list(self, *, locked: bool) -> uidlist.UidList | None:
        """The uidlist, read when it changed; None when there is none that can be used and the lock is not held."""
        try:
            if self._uids and self._stamp:
                if uidlist.stamp_of(os.lstat(self._uidlist)) == self._stamp:
                    return self._uids
                count = len(self._uids.uids)
                grown = uidlist.extend(self._uids, self._uidlist, self._stamp)
                if grown:
                    self._stamp = grown
                    self._told_of(list(self._uids.uids)[count:])
                    return self._uids
            self._uids, self._stamp = uidlist.read(self._uidlist)
            self._told_of(self._uids.uids)
        except (FileNotFoundError, atomic.NotRegular, uidlist.Corrupt):
            if not locked:
                return None
            self._uids = uidlist.inherit(self.path) or uidlist.fresh(self.root)
            self._stamp = uidlist.replace(self._uidlist, self._uids, durable=False)
            self._flush.owe(made=True)
        self._compare(self._uids)
        return self._uids

    def _told_of(self, bases: Collection[str]) -> None:
        """Another process gave UIDs: its files must be seen before we give higher ones to others."""
        cur, new = self._cur.files, self._new.files
        if not all(base in cur or base in new for base in bases):
            self.distrust()
        self._touched.update(dict.fromkeys(bases))

    def _compare(self, uids: uidlist.UidList) -> None:
        """After the whole list was read: when UIDs are not what they were, all entries are made anew."""
        old = self._snapshot
        # what damage took from the file we still know
        if old is None or old.uidvalidity != uids.uidvalidity or any(
                uids.uids.get(entry.base, entry.uid if uids.damaged else 0) != entry.uid
                for entry in self._entries.values()):
            self._begin_anew()
        self._touched.update(dict.fromkeys([*self._bases, *self._new.files, *self._cur.files]))

    def _begin_anew(self) -> None:
        self._entries, self._bases, self._altered = {}, {}, None
        if self._numbering is not None:
            self._numbering.begin_anew()

    def _look_at_keywords(self) -> None:
        stamp = keywords.stamp(self.path)
        if stamp != self._keyword_stamp:
            self._table = keywords.load(self.path)
            self._keyword_stamp = stamp

    def _sort_out(self, uids: uidlist.UidList) -> tuple[list[Entry], list[Entry], list[str], list[str], list[str]]:
        """What happened to the touched names: gone, changed, known (another process gave a UID), reborn, unknown."""
        if not self._entries:
            return [], [], *self._sort_out_all(uids)
        gone: list[Entry] = []
        changed: list[Entry] = []
        known: list[str] = []
        reborn: list[str] = []
        unknown: list[str] = []
        cur, new, bases = self._cur.files, self._new.files, self._bases
        last = next(reversed(self._entries), 0)
        for base in self._touched:
            name, sub = cur.get(base), "cur"
            if name is None:
                name, sub = new.get(base), "new"
            entry = bases.get(base)
            if entry is not None:
                if name is None:
                    gone.append(entry)
                elif entry.name != name or entry.sub != sub:
                    changed.append(Entry(entry.uid, entry.base, name, sub, entry._sizes, entry.modseq))
            elif name is not None:
                uid = uids.uids.get(base)
                if uid is None:
                    unknown.append(base)
                else:  # a file that came back must not appear below UIDs that a session has seen
                    (known if uid > last else reborn).append(base)
        return gone, changed, sorted(known, key=uids.uids.__getitem__), reborn, unknown

    def _sort_out_all(self, uids: uidlist.UidList) -> tuple[list[str], list[str], list[str]]:
        """The same for a folder seen for the first time: known, reborn, unknown."""
        cur, new, numbers = self._cur.files, self._new.files, uids.uids
        known = [base for base in numbers if base in cur or base in new]
        unknown = [base for base in cur if base not in numbers] if len(known) < len(cur) + len(new) else []
        return known, [], [*unknown, *(base for base in new if base not in numbers and base not in cur)]

    def _file(self, base: str) -> tuple[str, str]:
        name = self._cur.files.get(base)
        return ("cur", name) if name is not None else ("new", self._new.files[base])

    def _is_mail(self, base: str) -> bool:
        """Whether a file we see for the first time is one to give a UID to. (That it is a regular one is known.)"""
        try:
            status = os.lstat("/".join((self.path, *self._file(base))))
        except OSError:
            return False
        if self._is_begun(base, status):
            self._empty.add(base)
            return False
        return status.st_size <= MAX_SIZE

    def _is_begun(self, base: str, status: os.stat_result) -> bool:
        """An empty file that just appeared in new/: some programs write there in place, so its content may follow."""
        return (not status.st_size and base not in self._cur.files and len(self._empty) < _BULK
                and abs(time.time() - status.st_mtime) < FILL_TIME)

    def _filled(self) -> bool:
        """Whether a file that was empty when we saw it is no longer; programs that write in place do that."""
        for base in list(self._empty):
            try:
                if self._is_begun(base, os.lstat("/".join((self.path, *self._file(base))))):
                    continue
                self._touched[base] = None
            except (OSError, KeyError):
                pass
            self._empty.discard(base)
        return bool(self._touched)

    def _add(self, bases: Sequence[str], numbers: Sequence[int]) -> None:
        """Make entries for files that have a UID, in the order of UIDs."""
        if self._altered is not None:
            self._altered.update(numbers)
        cur, new = self._cur.files, self._new.files
        names: list[str] = list(map(cur.get, bases, map(new.get, bases)) if new  # type: ignore[arg-type]
                                else map(cur.__getitem__, bases))
        subs = ["cur" if base in cur else "new" for base in bases] if new else repeat("cur")
        modseqs = self._numbering.made(numbers, names) if self._numbering is not None else repeat(0)
        made = list(map(Entry, numbers, bases, names, subs, repeat(None), modseqs))
        self._entries.update(zip(numbers, made, strict=True))
        self._bases.update(zip(bases, made, strict=True))
        uids = self._uids
        if not uids or not uids.extras:
            return
        for uid in uids.extras.keys() & set(numbers):
            entry = self._entries[uid]
            entry.sizes = uids.size(uid, "S") or entry.size, uids.size(uid, "W") or entry.wire_size

    # --- giving UIDs ------------------------------------------------------------------------------------------

    def _assign(self, uids: uidlist.UidList, bases: list[str], order: Sequence[str]) -> uidlist.UidList:
        """Give UIDs, in the order of arrival, and write the list; the lock is held."""
        if bases is not order:
            bases = maildir.by_arrival(bases)
            if rank := {base: number for number, base in enumerate(order)}:
                bases.sort(key=lambda base: rank.get(base, len(rank)))
        rewrite = uids.damaged
        if uids.uidnext + len(bases) > uidlist.MAX:
            uids = self._uids = uidlist.fresh(self.root)
            bases = [*self._bases, *bases]
            self._begin_anew()
            rewrite = True
        for base in uids.uids.keys() & bases if uids.uids else ():
            uids.extras.pop(uids.uids.pop(base), None)
            rewrite = True
        numbers = range(uids.uidnext, uids.uidnext + len(bases))
        uids.uids.update(zip(bases, numbers, strict=True))
        uids.uidnext += len(bases)
        self._add(bases, numbers)
        if rewrite or self._wasteful(uids):
            self._rewrite(uids)
        elif bases:
            self._stamp = uidlist.append(self._uidlist, uids, zip(bases, numbers, strict=True))
            self._flush.owe()
        return uids

    def _wasteful(self, uids: uidlist.UidList) -> bool:
        """Whether a quarter of the list is about messages that are gone."""
        return len(self._bases) * 4 < len(uids.uids) * 3

    def _rewrite(self, uids: uidlist.UidList) -> None:
        """Write the whole list without what is expunged; the lock is held and the names are steady."""
        uids.uids = {entry.base: uid for uid, entry in self._entries.items()}
        uids.uidnext = max(uids.uidnext, next(reversed(self._entries), 0) + 1)
        uids.extras = {uid: extra for uid, extra in uids.extras.items() if uid in self._entries}
        self._stamp = uidlist.replace(self._uidlist, uids)
        self._table = keywords.forget(self.path, self._table, self._bases)
        self._keyword_stamp = keywords.stamp(self.path)

    # --- for folders/changes.py -------------------------------------------------------------------------------

    def allot(self, names: Iterable[str]) -> keywords.Table:
        """Give keywords among `names` a place; the lock is held."""
        self._look_at_keywords()
        fresh = [name for name in names if not name.startswith("\\")]
        self._table = keywords.allot(self.path, self._table, fresh)
        self._keyword_stamp = keywords.stamp(self.path)
        return self._table

    def moved(self, pairs: Sequence[tuple[str, str]]) -> None:
        """What we did to files under the lock, as (old path, new path), "" for none: no directory is read for it."""
        for listed, sub in ((self._cur, "cur/"), (self._new, "new/")):
            removed = [old[4:] for old, _ in pairs if old[:4] == sub]
            added = [new[4:] for _, new in pairs if new[:4] == sub]
            if removed or added:
                self._touched.update(dict.fromkeys(listed.applied(removed, added)))
                if listed is self._new:  # short as it is, reading it costs less than mail that is noticed late
                    listed.forget()

    def calm(self, more: int) -> bool:
        """Under the lock: nobody did anything, and so many more messages need no file that is written anew."""
        uids, numbers = self._uids, self._numbering
        return (uids is not None and not (uids.damaged or self._wasteful(uids)) and uids.uidnext + more <= uidlist.MAX
                and numbers is not None and numbers.room(more) and self.peek() is not None)

    def made(self, names: Sequence[str]) -> Snapshot:
        """Names that we made in cur/ since the folder was `calm`: they get UIDs, in this order, and nothing is read."""
        bases = self._cur.applied((), names)
        if self._uids is None or self._numbering is None:
            raise OSError(f"{self.path} was never looked at")
        self._numbering.read(self._uids.uidvalidity, {}, locked=True)
        self._settle(self._assign(self._uids, bases, bases), locked=True)
        return self._publish()

    def renamed(self, pairs: Sequence[tuple[Entry, str]]) -> None:
        """The same for messages in cur/ that have these names there now."""
        self._touched.update(dict.fromkeys(self._cur.renamed(pairs) if pairs else ()))

    def heard(self, sub: str, name: str, *, there: bool) -> None:
        """An inotify event of new/ or cur/: only one that tells something we do not know makes us look."""
        listed = self._new if sub == "new" else self._cur
        if listed.surprised(name, there=there):
            listed.forget()

    def distrust(self) -> None:
        """A file is not where it should be: read the names again, whatever the mtime says."""
        self._new.forget()
        self._cur.forget()

    def taken(self, names: set[str]) -> set[str]:
        """Those that cur/ has; a rename would overwrite them. What is no file goes out of the way."""
        return self._cur.taken(names)

    def arrived(self) -> list[Entry]:
        """The messages in new/, by UID."""
        found = [entry for base in self._new.files if (entry := self._bases.get(base)) and entry.sub == "new"]
        return sorted(found, key=lambda entry: entry.uid)

    def entry_of(self, base: str) -> Entry | None:
        """The current entry with this base name."""
        return self._bases.get(base)

    # --- messages ---------------------------------------------------------------------------------------------

    def open(self, entry: Entry) -> int:
        """A descriptor on the message of an entry of any snapshot of this folder."""
        current = self._bases.get(entry.base, entry)
        with contextlib.suppress(FileNotFoundError):
            return atomic.open_regular(f"{self.path}/{current.path}")
        self.sync()
        return atomic.open_regular(f"{self.path}/{self._bases.get(entry.base, entry).path}")

    def read(self, entry: Entry) -> bytes:
        """The whole message."""
        with open(self.open(entry), "rb", buffering=0) as stream:
            return stream.readall()

    def fill_sizes(self, entries: Iterable[Entry]) -> None:
        """Find the sizes that file names do not tell, and note them in the uidlist; what cannot be read counts 0."""
        found: dict[int, str] = {}
        for entry in entries:
            if None in entry.sizes:
                try:
                    entry.sizes = size, wire_size = maildir.measure(self.open(entry))
                    found[entry.uid] = f"S{size} W{wire_size}"
                except OSError:
                    entry.sizes = entry.size or 0, entry.wire_size or 0
        if found:
            with contextlib.suppress(OSError), self.locked():
                self.sync()
                self._note(found)

    def _note(self, found: dict[int, str]) -> None:
        uids = self._uids
        if uids is None:
            return
        for uid, extra in found.items():
            if uid in self._entries:
                kept = [word for word in uids.extras.get(uid, "").split(" ") if word and word[0] not in "SW"]
                uids.extras[uid] = " ".join([extra, *kept])
        self._rewrite(uids)
