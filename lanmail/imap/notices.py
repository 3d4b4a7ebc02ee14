"""What a client is told without asking, because it said NOTIFY (RFC 5465).

`Notices` belongs to one session. It listens to the directories of the mailboxes that the client named, and when
something happened there compares what it finds with what the client knows: nothing is told that is not so. A mailbox
is looked at once a second at most, and so is the list of mailboxes, however much happens in them. What the account
may not read is not told (§5), and a client is not told what it did itself.

Without inotify nothing is heard; then all is looked at as often as `Worker.sweep` comes by.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lanmail import watch
from lanmail.folders import metadata
from lanmail.imap import annotations, box, fetch, fetchgrammar, listing, mailbox, names
from lanmail.imap.items import Item
from lanmail.imap.session import No

if TYPE_CHECKING:
    from lanmail.imap.session import Session

PAUSE = 1.0  # seconds between two looks at the same thing
MESSAGES = frozenset({"MESSAGENEW", "FLAGCHANGE"})
LISTED = listing.List(b"", (), give=frozenset({"SUBSCRIBED", "CHILDREN"}), extended=True)
_ARRIVED = watch.MOVED_TO | watch.DELETE | watch.CREATE | watch.MOVED_FROM


class Overflow(Exception):
    """More is asked for than we are willing to watch (§5.8)."""


@dataclass(frozen=True, slots=True)
class Group:
    """An event group: which mailboxes, and what of them; no events means NONE."""

    kind: str
    mailboxes: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    items: tuple[Item, ...] = ()

    @property
    def selected(self) -> bool:
        return self.kind.startswith("SELECTED")

    def covers(self, name: str, home: names.Home, subscribed: Collection[str]) -> bool:
        """Whether a mailbox that is not selected is meant."""
        if self.kind in ("PERSONAL", "INBOXES"):
            return not home.is_foreign(name)
        if self.kind == "SUBSCRIBED":
            return name in subscribed
        if self.kind == "MAILBOXES":
            return name in self.mailboxes
        return any(not top or name == top or name.startswith(top + names.SEPARATOR) for top in self.mailboxes)


@dataclass(frozen=True, slots=True)
class Scene:
    """The mailboxes at one moment: their directories' inodes, and what is subscribed to."""

    known: listing.Names
    inodes: dict[str, int]
    readable: frozenset[str]

    @classmethod
    def of(cls, home: names.Home) -> "Scene":
        """In a thread."""
        known = listing.Names(home, LISTED)
        inodes = {}
        for name in known.there:
            with contextlib.suppress(OSError, No):
                inodes[name] = os.stat(home.path(name)).st_ino
        return cls(known, inodes, frozenset(name for name in inodes if home.rights(name) >= {"l", "r"}))

    def state(self, name: str) -> tuple[bool, bool]:
        return name in self.inodes, name in self.known.subscribed


@dataclass(frozen=True, slots=True)
class Counts:
    """What STATUS says of a mailbox."""

    uidvalidity: int
    uidnext: int
    messages: int
    unseen: int
    modseq: int

    @classmethod
    def of(cls, found: box.Box) -> "Counts":
        now = found.now
        return cls(now.uidvalidity, now.uidnext, len(now), found.unseen(), found.modseq)


class Notices:
    """What one session wants to hear; `news` is set, and the session woken, when there may be something."""

    def __init__(self, session: "Session", groups: tuple[Group, ...]) -> None:
        self.session = session
        self.groups = groups
        chosen = next((group for group in groups if group.selected), Group("SELECTED-DELAYED"))
        self.selected = chosen.events
        self.immediate = chosen.kind == "SELECTED"
        self.items = chosen.items
        self.news = False
        self.mine: set[int] = set()  # UIDs in the selected mailbox that this client stored itself
        self._callback: Callable[[], None] | None = None
        self._scene: Scene | None = None
        self._wanted: dict[str, frozenset[str]] = {}
        self._counts: dict[str, Counts] = {}
        self._notes: dict[str, metadata.Entries] = {}
        self._dirty: set[str] = set()
        self._doubtful: set[str] = set()  # looked at once in vain
        self._noted: set[str] = set()  # mailboxes ("" is the server) whose annotations may have changed
        self._moved = False  # mailboxes came or went, or subscriptions changed
        self._looked: dict[str | None, float] = {}
        self._subscriptions: dict[str, watch.Subscription] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _asked(self) -> frozenset[str]:
        """All events that other mailboxes than the selected one can have."""
        return frozenset().union(*(group.events for group in self.groups if not group.selected))

    def wants(self, name: str, subscribed: Collection[str]) -> frozenset[str]:
        """The events of a mailbox that the client wants to hear of while it is not selected."""
        found: set[str] = set()
        for group in self.groups:
            if not group.selected and group.covers(name, self.session.home, subscribed):
                if not group.events:
                    break
                found |= group.events
        return frozenset(found)

    # beginning and end

    async def begin(self, *, status: bool) -> None:
        """Start to listen; with `status` say how all mailboxes are. Overflow when they are too many."""
        if not self._asked:
            return
        await self._look_around()
        assert self._scene is not None
        for name in sorted(self._scene.inodes.keys() - self._scene.readable):
            if self.wants(name, self._scene.known.subscribed):
                self._list(name, self._scene, "\\NoAccess")
        for name in self._wanted:
            if status and self._wanted[name] & MESSAGES and not self._is_selected(name):
                await self._tell_counts(name, always=True)
                await self.session.room()
        await self._learn_notes()

    def close(self) -> None:
        """Listen no more."""
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        if self._timer is not None:
            self._timer.cancel()

    def attend(self, callback: Callable[[], None] | None) -> None:
        """Call back when there may be something to say."""
        self._callback = callback

    def sweep(self) -> None:
        """For systems without inotify: all may have changed."""
        self._dirty.update(self._wanted)
        self._noted.update(self._notes)
        self._happened(moved=True)

    # listening

    async def _look_around(self) -> Scene:
        """Which mailboxes there are, and which of them are wanted; listens to their directories."""
        worker, home = self.session.worker, self.session.home
        self._listen(home.root, self._root_happened, watch.CHANGES & ~watch.CLOSE_WRITE)
        self._listen(worker.shares.directory, self._shares_happened, watch.MOVED_TO)
        scene = await worker.run(Scene.of, home)
        wanted = {name: events for name in sorted(scene.readable)
                  if (events := self.wants(name, scene.known.subscribed))}
        if len(wanted) > worker.limits.max_notify:
            raise Overflow(f"more than {worker.limits.max_notify} mailboxes")
        before, self._wanted, self._scene = self._scene, wanted, scene
        paths = dict(self._directories(home))
        another = () if before is None else [
            path for name, inode in scene.inodes.items()
            if before.inodes.get(name, inode) != inode and (path := self._path(name))]
        for path in list(self._subscriptions):
            if path not in paths or any(path.startswith(one) for one in another):
                self._subscriptions.pop(path).close()
        for path, (happened, mask) in paths.items():
            if happened == self._root_happened and path not in self._subscriptions:
                self._moved = True  # what happened there before we listened
            self._listen(path, happened, mask)
        return scene

    def _directories(self, home: names.Home) -> "Iterator[tuple[str, tuple[watch.Callback, int]]]":
        yield home.root, (self._root_happened, watch.CHANGES & ~watch.CLOSE_WRITE)
        yield self.session.worker.shares.directory, (self._shares_happened, watch.MOVED_TO)
        for name, events in self._wanted.items():
            path = self._path(name)
            if not path:
                continue
            if events & MESSAGES:
                def happened(_events: list[watch.Event] | None, name: str = name) -> None:
                    self._dirty.add(name)
                    self._happened()
                for sub in ("new", "cur"):
                    yield f"{path}/{sub}", (happened, _ARRIVED)
            root = home.place(name).root
            if root != home.root:
                yield root, (self._root_happened, watch.CHANGES & ~watch.CLOSE_WRITE)
            if "MAILBOXMETADATACHANGE" in events and path not in (root, home.root):
                def noted(events: list[watch.Event] | None, name: str = name) -> None:
                    if events is None or any(one == metadata.FOLDER for _, one in events):
                        self._noted.add(name)
                        self._happened()
                yield path, (noted, watch.MOVED_TO | watch.DELETE)

    def _listen(self, path: str, happened: watch.Callback, mask: int) -> None:
        watcher = self.session.worker.watch
        known = self._subscriptions.get(path)
        if watcher is None or (known is not None and known.descriptor >= 0):
            return
        try:
            self._subscriptions[path] = watcher.subscribe(path, happened, mask)
        except FileNotFoundError:
            return  # it went just now, of which the directory above tells
        except OSError as error:
            raise Overflow(f"too many directories are watched ({error.strerror})") from error

    def _root_happened(self, events: list[watch.Event] | None) -> None:
        """In a Maildir: folders are directories, and INBOX has its annotations beside them."""
        moved = events is None
        for mask, name in events or ():
            moved = moved or bool(mask & watch.ISDIR) or name == "subscriptions"
            if name in (metadata.FOLDER, metadata.SERVER) and not mask & watch.CREATE:
                self._noted.update(self._notes)
                self._happened()
        if moved:
            self._happened(moved=True)

    def _shares_happened(self, events: list[watch.Event] | None) -> None:
        if events is None or any(name == "shares" for _, name in events):
            self._happened(moved=True)

    def _happened(self, *, moved: bool = False) -> None:
        self._moved = self._moved or moved
        self.news = True
        if self._callback is not None:
            self._callback()

    def _ripe(self, what: str | None) -> bool:
        """Whether enough time passed since the last look at this; if not, there will be another call."""
        now = time.monotonic()
        rest = self._looked.get(what, 0.0) + PAUSE - now
        if rest <= 0:
            self._looked[what] = now
            return True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(rest, self._again)
        return False

    def _again(self) -> None:
        self._timer = None
        self._happened()

    # telling

    async def tell(self) -> None:
        """Say what there is to say. Overflow when it became too much to watch; OSError: it is tried again."""
        if self._moved and self._ripe(None):
            self._moved = False
            try:
                await self.tell_names()
            except OSError:
                self._happened(moved=True)
                raise
        for name in sorted(self._dirty):
            if not self._wanted.get(name, MESSAGES - MESSAGES) & MESSAGES:
                self._dirty.discard(name)
            elif not self._is_selected(name) and self._ripe(name):  # what happens to that one it hears otherwise
                self._dirty.discard(name)
                try:
                    told = await self._tell_counts(name)
                except OSError:
                    self._dirty.add(name)
                    self._happened()
                    raise
                self._look_again(name, told=told)
                await self.session.room()
        if self._noted and self._ripe(metadata.FOLDER):
            await self._tell_notes()

    def _look_again(self, name: str, *, told: bool) -> None:
        """Once more when nothing was news: we may have been faster than whoever was just putting a message there."""
        if told or name in self._doubtful:
            self._doubtful.discard(name)
        else:
            self._doubtful.add(name)
            self._dirty.add(name)
            self._ripe(name)

    def _is_selected(self, name: str) -> bool:
        view = self.session.selected
        return view is not None and view.box.path == self._path(name)

    def _path(self, name: str) -> str:
        """Where a mailbox lies, "" when whose it was is no more."""
        try:
            return self.session.home.path(name)
        except No:
            return ""

    async def _tell_counts(self, name: str, *, always: bool = False) -> bool:
        """§5.1 to §5.3: STATUS, when it is news; whether it was."""
        session, home, events = self.session, self.session.home, self._wanted[name]
        try:
            if not home.rights(name) >= {"l", "r"}:
                raise box.Gone
            found = await session.worker.open_box(home, name)
        except (box.Gone, No):  # then it is no longer wanted; if it is, after another look
            self._dirty.add(name)
            self._happened(moved=True)
            return True
        before, now = self._counts.get(name), Counts.of(found)
        self._counts[name] = now
        flags = "FLAGCHANGE" in events
        if not always and before is not None and (
                before == now or (not flags and (before.uidvalidity, before.uidnext, before.messages)
                                  == (now.uidvalidity, now.uidnext, now.messages))):
            return False
        text = f"MESSAGES {now.messages} UIDNEXT {now.uidnext} UIDVALIDITY {now.uidvalidity} UNSEEN {now.unseen}"
        if flags or session.condstore:
            text += f" HIGHESTMODSEQ {now.modseq}"
        session.untagged(b"STATUS " + home.wire(home.shown(name)) + f" ({text})".encode())
        return True

    async def tell_names(self, own: Collection[str] = ()) -> None:
        """§5.4, §5.5: LIST for mailboxes that came, went or were renamed, and for changed subscriptions.

        Nothing is said of `own`, names that a command of this client named, and of what is below them.
        """
        before, wanted = self._scene, self._wanted
        now = await self._look_around()
        if before is None:
            return
        fresh = self._wanted.keys() - wanted.keys()
        self._dirty.update(fresh - self._below(fresh, own))
        came, went = now.inodes.keys() - before.inodes.keys(), before.inodes.keys() - now.inodes.keys()
        homeless = {before.inodes[name]: name for name in went}
        olds = {name: homeless[now.inodes[name]] for name in came if now.inodes[name] in homeless}
        hidden = (before.inodes.keys() | now.inodes.keys()) - before.readable - now.readable
        subscribed = before.known.subscribed | now.known.subscribed
        for name in sorted(came | went | (before.known.subscribed ^ now.known.subscribed)):
            if name in olds.values() or name in hidden or self._below((name,), own):
                continue
            events = self.wants(name, subscribed)
            if name in olds:
                events |= self.wants(olds[name], subscribed)
            exists, subscription = map(lambda one, two: one != two, before.state(name), now.state(name))
            if (exists and "MAILBOXNAME" in events) or (subscription and "SUBSCRIPTIONCHANGE" in events):
                self._list(name, now, old=olds.get(name, ""))

    @staticmethod
    def _below(candidates: Collection[str], tops: Collection[str]) -> set[str]:
        return {name for name in candidates
                if any(name == top or name.startswith(top + names.SEPARATOR) for top in tops)}

    def _list(self, name: str, scene: Scene, attribute: str = "", old: str = "") -> None:
        home = self.session.home
        attributes = f"{scene.known.attributes(name, LISTED)} {attribute}".rstrip()
        text = f'LIST ({attributes}) "." '.encode() + home.wire(home.shown(name))
        if old:
            text += b' ("OLDNAME" (' + home.wire(home.shown(old)) + b"))"
        self.session.untagged(text)

    # annotations

    async def _learn_notes(self) -> None:
        wanted = [name for name, events in self._wanted.items() if "MAILBOXMETADATACHANGE" in events]
        if "SERVERMETADATACHANGE" in self._asked:
            wanted.append("")
        self._notes = await self.session.worker.run(self._load, wanted)

    def _load(self, wanted: Collection[str]) -> dict[str, metadata.Entries]:
        """In a thread."""
        found = {}
        for name in wanted:
            with contextlib.suppress(No):
                found[name] = metadata.load(annotations.file_of(self.session, name))
        return found

    async def _tell_notes(self, own: str | None = None) -> None:
        """§5.6, §5.7: METADATA with the names of the entries that changed (RFC 5464 §4.4.2), but of `own`."""
        before = self._notes
        await self._learn_notes()
        self._noted.clear()
        account = self.session.account
        mine = ("", account.name if account is not None else "")
        for name, now in self._notes.items():
            old = before.get(name, now)
            changed = sorted(entry for whose, entry in now.keys() | old.keys()
                             if whose in mine and now.get((whose, entry)) != old.get((whose, entry)))
            if changed and name != own:
                shown = self.session.home.wire(self.session.home.shown(name)) if name else b'""'
                self.session.untagged(b"METADATA " + shown + b" " + " ".join(changed).encode())

    # what this client does itself

    def stored(self, into: box.Box, uids: Collection[int]) -> None:
        """This client put messages into a mailbox."""
        if self.session.selected is not None and self.session.selected.box is into:
            self.mine.update(uids)
            return
        now = Counts.of(into)
        for name, known in self._counts.items():
            if (name in self._wanted and self._path(name) == into.path
                    and (known.messages + len(uids), known.uidnext + len(uids)) == (now.messages, now.uidnext)):
                self._counts[name] = now

    def left(self, view: mailbox.View) -> None:
        """A mailbox is selected no more; of what its client knows it need not be told again."""
        self.mine.clear()
        if view.name in self._wanted and not view.box.dead and not view.quiet_since and view.up_to_date():
            self._counts[view.name] = Counts.of(view.box)

    async def did(self, verb: str, arguments: Any) -> None:
        """This client created, deleted, renamed, subscribed to or annotated mailboxes."""
        home = self.session.home
        if verb == "SETMETADATA":
            await self._tell_notes(home.plain(arguments.mailbox) if arguments.mailbox else "")
        elif self._scene is not None:
            raws = (arguments.old, arguments.new) if verb == "RENAME" else (arguments.mailbox.rstrip(b"."),)
            try:
                await self.tell_names([home.plain(raw) for raw in raws])
            except (Overflow, OSError):  # the command is done; `tell` says it
                self._happened(moved=True)

    async def fetch(self, uids: list[int]) -> None:
        """§5.2: what the client wants to know of each new message in the selected mailbox."""
        wanted = [uid for uid in uids if uid not in self.mine]
        self.mine.clear()
        if self.items and wanted:
            with contextlib.suppress(No):  # one that cannot be read
                numbers = tuple((uid, uid) for uid in wanted)
                await fetch.fetch(self.session, fetchgrammar.Fetch(numbers, self.items, uid=True))
