"""A folder as all sessions of one process share it: its messages now, and what changed since when.

`Box` follows `folder.Folder`: each new snapshot is compared with the last one, and the differences are remembered by
their mod-sequences, so that each session (`mailbox.View`) can be told what it has not been told.
The file work is done in threads; everything else here happens in the event loop, so nothing needs a lock but `_turn`,
which keeps two sessions from doing the same look.
"""

import asyncio
import contextlib
import functools
import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from lanmail import maildir, watch
from lanmail.folders import changes, folderpool, summaries
from lanmail.folders.snapshot import Entry, Snapshot

if TYPE_CHECKING:
    from lanmail.imap import mailbox, worker

T = TypeVar("T")
_modseq = attrgetter("modseq")
LARGE_NEWS = 1 << 20  # octets of a cache that are looked at in a thread
MANY = 200  # messages in one change from which on listening to its events is not worth while


class Gone(Exception):
    """The folder was deleted, renamed, or got a new UIDVALIDITY: who has it selected must select again."""


class Box:
    """One folder in one process."""

    def __init__(self, of: "worker.Worker", path: str, root: str) -> None:
        self.path = path
        self.folder = folderpool.get(path, root)
        self.numbers = self.folder.number()
        self.worker = of
        self.snapshot: Snapshot | None = None
        self.messages: dict[int, Entry] = {}
        self.uids = array("I")
        self.changed: dict[int, int] = {}  # UID → mod-sequence of its last flag change, oldest first
        self.expunged: list[tuple[int, int]] = []  # (mod-sequence, UID)
        self.views: set[mailbox.View] = set()
        self.unclaimed: set[int] = set()  # claimed by this process, and \\Recent for the first session that looks
        self.cache = summaries.Cache(path)
        self._compacting = False
        self._stale = time.monotonic()  # since when the cache may hold messages that are gone; 0: it does not
        self._events: list[tuple[str, int, str]] = []
        self.dead = False
        self.used = 0.0
        self._turn = asyncio.Lock()
        self._subscriptions: list[watch.Subscription] = []

    @property
    def now(self) -> Snapshot:
        """The last snapshot; there is one once `refresh` has run."""
        assert self.snapshot is not None
        return self.snapshot

    @property
    def modseq(self) -> int:
        """HIGHESTMODSEQ: that of the last change we know of (RFC 7162 §3.1)."""
        return self.now.modseq

    async def refresh(self) -> None:
        """Learn what happened in the folder since the last look. Gone when it is no more."""
        if self.dead:
            raise Gone
        if self.worker.watch is not None:
            self.worker.watch.dispatch()
        if self._events:
            await self._hear()
        seen = self.folder.peek()
        if seen is None or seen is not self.snapshot:
            async with self._turn:
                seen = self.folder.peek()
                if seen is None or seen is not self.snapshot:
                    try:
                        fresh, taken = await self.worker.run(self._sync)
                    except (FileNotFoundError, NotADirectoryError):
                        self.die()
                        raise Gone from None
                    self.unclaimed |= taken
                    self.take(fresh)
            self.worker.later(self.folder.flush)

    def _sync(self) -> tuple[Snapshot, frozenset[int]]:
        """In a thread: the snapshot of now; for sessions that may write, new mail is moved to cur/ in the same go."""
        if any(not view.read_only for view in self.views):
            return changes.take_recent(self.folder)
        return self.folder.sync(flush=False), frozenset()

    async def _hear(self) -> None:
        """Look at the events once no change of our own is under way: then only what others did is news."""
        async with self._turn:
            if self.worker.watch is not None:
                self.worker.watch.dispatch()
            events, self._events = self._events, []
            last = {(sub, name): mask for sub, mask, name in events}
            for (sub, name), mask in last.items():
                self.folder.heard(sub, name, there=bool(mask & (watch.MOVED_TO | watch.CREATE)))

    @contextlib.asynccontextmanager
    async def turn(self, *, many: bool = False) -> AsyncIterator[None]:
        """Keep others from looking while this folder is changed; `change` does so by itself."""
        async with self._turn:
            if not many:
                yield
                return
            self._unwatch()
            try:
                yield
            finally:
                if self.views:
                    self._watch()
                self._notify()

    async def change(self, work: Callable[..., T], *arguments: Any, many: bool = False) -> T:
        """Run one of the functions of `changes` in a thread; the snapshot it made is taken over.

        With `many` the events of the folder are not listened to meanwhile: they would cost more than the work.
        """
        async with self.turn(many=many):
            result = await self.worker.run(work, self.folder, *arguments)
            latest = result[0] if isinstance(result, tuple) else result
            if isinstance(latest, Snapshot):
                self.take(latest)
            return result

    async def adopt(self, sources: Sequence[changes.Source]) -> list[int]:
        """Take in files of tmp/; their UIDs. A thread for it costs more than it does, so only where it would wait."""
        async with self._turn:
            found = changes.adopt_at_once(self.folder, sources)
            if found is None:
                found = await self.worker.run(changes.adopt, self.folder, sources)
            self.take(found[0])
            return found[1]

    def take(self, fresh: Snapshot) -> None:
        """Take a new snapshot over: note what is new in it, what changed and what is missing."""
        last = self.snapshot
        if fresh is last:
            return
        self.snapshot = fresh
        if last is not None and fresh.uidvalidity != last.uidvalidity:
            self.die()
            return
        old, highest = self.messages, self.uids[-1] if self.uids else 0
        if last is None:
            self.messages = {entry.uid: entry for entry in fresh.entries}
            self.uids = array("I", [entry.uid for entry in fresh.entries])
            return
        altered = self.folder.altered_since(last.number)
        if altered is None:
            different = [entry for entry in fresh.entries if old.get(entry.uid) is not entry]
        else:
            different = [entry for uid in sorted(altered) if (entry := fresh.find(uid)) and old.get(uid) is not entry]
        added = sum([entry.uid > highest for entry in different])
        present = [(entry, old.get(entry.uid)) for entry in (different[:-added] if added else different)]
        if any(before is None for _, before in present):
            self.die()  # UIDs only grow: this is not the folder that it was
            return
        old.update([(entry.uid, entry) for entry in different])
        changed = [entry for entry, before in present if before is not None and entry.modseq != before.modseq]
        for entry in sorted(changed, key=_modseq):
            self.changed.pop(entry.uid, None)
            self.changed[entry.uid] = entry.modseq
        if added:
            self.uids.extend(entry.uid for entry in different[-added:])
        if len(old) != len(fresh.entries):
            self._lose(old.keys() - {entry.uid for entry in fresh.entries} if altered is None
                       else {uid for uid in altered if uid in old and fresh.find(uid) is None})
        self._trim()
        self._notify()

    def _lose(self, missing: Iterable[int]) -> None:
        gone = set(missing)
        self._stale = self._stale or time.monotonic()
        for uid in sorted(gone):
            del self.messages[uid]
            self.unclaimed.discard(uid)
            self.changed.pop(uid, None)
            self.expunged.append((self.modseq, uid))
        self.uids = without(self.uids, gone)

    def _trim(self) -> None:
        """Forget what every session knows."""
        if not self.views:
            self.changed.clear()
            self.expunged.clear()
        elif self.expunged and len(self.expunged) > 1000:
            known = min(view.expunges_known for view in self.views)
            if self.expunged[0][0] <= known:
                self.expunged = [item for item in self.expunged if item[0] > known]

    def recent(self) -> int:
        """How many messages no session has been told of."""
        return len(self.unclaimed.union(self.fresh()))

    def fresh(self) -> list[int]:
        """UIDs of the messages that no session of any process has claimed, ascending."""
        snapshot = self.now
        above = [entry.uid for entry in snapshot.entries[snapshot.position(self.numbers.claimed + 1) :]]
        return sorted({*above, *self.waiting()}) if self.waiting() else above

    def changed_since(self, modseq: int) -> list[int]:
        """UIDs whose flags changed after `modseq`, ascending."""
        found = []
        for uid in reversed(self.changed):
            if self.changed[uid] <= modseq:
                break
            found.append(uid)
        found.sort()
        return found

    def flags(self, entry: Entry) -> str:
        """The flags of a message as they stand between the parentheses of FLAGS, without \\Recent."""
        text = " ".join(self.now.flags(entry))
        self.flag_texts()[entry.name.partition(maildir.INFO)[2]] = text
        return text

    def flag_texts(self) -> dict[str, str]:
        """What is known of `flags` by the letters in the file name; empty where the name does not tell all."""
        snapshot = self.now
        if snapshot.keywords.further_of:
            return {}
        texts: dict[str, str] = snapshot.memo.setdefault("imap-flags", {})
        return texts

    async def follow_cache(self) -> None:
        """Learn what is in the cache; in a thread when that is much."""
        if self.cache.news() > LARGE_NEWS:
            await self.worker.run(self.cache.follow)

    def keep(self, fresh: Sequence[summaries.Record]) -> None:
        """Put records into the cache, in a thread that nobody waits for."""
        if fresh:
            self.worker.later(functools.partial(self.cache.write, fresh))
            if not self._compacting and self.cache.is_wasteful(len(self.messages)):
                self._compacting = True
                self.worker.later(functools.partial(self._compact, [entry.base for entry in self.now.entries]))

    def tidy(self, patience: float = 0.0) -> None:
        """Take out of the cache, in a thread, what is kept of messages that went longer ago than `patience`."""
        if (self._stale and time.monotonic() - self._stale > patience and not self._compacting
                and self.snapshot is not None and summaries.exists(self.path)):
            self._compacting, self._stale = True, 0.0
            self.worker.later(functools.partial(self._compact, [entry.base for entry in self.now.entries]))

    def _compact(self, bases: list[str]) -> None:
        try:
            if self.cache.is_wasteful(len(bases)) or self.cache.holds_others(bases):
                self.cache.compact(bases)
                self.cache.follow()
        finally:
            self._compacting = False

    def unseen(self) -> int:
        """How many messages are not \\Seen."""
        snapshot = self.now
        found: int | None = snapshot.memo.get("imap-unseen")
        if found is None:
            found = sum(["S" not in entry.name.partition(maildir.INFO)[2] for entry in snapshot.entries])
            snapshot.memo["imap-unseen"] = found
        return found

    def first_unseen(self) -> int:
        """The UID of the first message that is not \\Seen (0: none)."""
        snapshot = self.now
        found: int | None = snapshot.memo.get("imap-first-unseen")
        if found is None:
            found = next((entry.uid for entry in snapshot.entries
                          if "S" not in entry.name.partition(maildir.INFO)[2]), 0)
            snapshot.memo["imap-first-unseen"] = found
        return found

    def waiting(self) -> list[int]:
        """UIDs of the messages in new/, ascending."""
        snapshot = self.now
        found: list[int] | None = snapshot.memo.get("imap-waiting")
        if found is None:
            found = snapshot.memo["imap-waiting"] = [entry.uid for entry in snapshot.entries if entry.sub == "new"]
        return found

    # who watches

    def enter(self, view: "mailbox.View") -> None:
        self.views.add(view)
        if not self._subscriptions:
            self._watch()

    def leave(self, view: "mailbox.View") -> None:
        self.views.discard(view)
        if not self.views:
            self._unwatch()
            self._trim()

    def die(self) -> None:
        """Nobody can use this box any more."""
        self.dead = True
        self.worker.forget(self)
        self._notify()

    def _watch(self) -> None:
        watcher = self.worker.watch
        if watcher is None:
            return
        try:
            for sub in ("new", "cur"):
                happened = functools.partial(self._happened, sub)
                self._subscriptions.append(
                    watcher.subscribe(f"{self.path}/{sub}", happened, watch.CHANGES & ~watch.CLOSE_WRITE)
                )
        except OSError:
            return  # the sweep remains

    def _unwatch(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def _happened(self, sub: str, events: list[watch.Event] | None) -> None:
        if events is None:  # some were lost
            self.folder.distrust()
        else:
            self._events += [(sub, mask, name) for mask, name in events]
        self._notify()

    def _notify(self) -> None:
        for view in self.views:
            view.notify()


def without(uids: "array[int]", gone: set[int]) -> "array[int]":
    """Sorted UIDs without some of them."""
    if len(gone) * 100 > len(uids):
        return array("I", [uid for uid in uids if uid not in gone])
    kept = uids[:]
    for uid in gone:
        index = bisect_left(kept, uid)
        if index < len(kept) and kept[index] == uid:
            del kept[index]
    return kept
