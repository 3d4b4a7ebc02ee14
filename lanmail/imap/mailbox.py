"""The selected mailbox as one session sees it: sequence numbers, and what the client has been told.

Numbers and UIDs are one sorted array; it changes only in `report`, between commands, so that a number means the same
message all through a command (RFC 3501 §7.4.1). Messages that are gone keep their number until the client is told.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from lanmail import sequenceset
from lanmail.folders import changes
from lanmail.folders.snapshot import Entry
from lanmail.imap import box, parser, searchkeys
from lanmail.imap.session import EXPUNGED, Bad

if TYPE_CHECKING:
    from lanmail.imap.session import Session


class View:
    """One session's view of a box."""

    def __init__(self, of: box.Box, name: str, *, read_only: bool, enabled: Set[str]) -> None:
        self.box = of
        self.enabled = enabled
        self.name = name
        self.read_only = read_only
        self.uidvalidity = of.now.uidvalidity
        self.uids = array("I", of.uids)
        self.recent: set[int] = set()
        self.saved = array("I")  # UIDs that the last SEARCH with SAVE found (RFC 5182)
        self.flags_known = of.modseq
        self.expunges_known = of.modseq
        self.keywords_known: tuple[str, ...] = of.now.keywords.names
        self.quiet_since = 0  # what `expunges_known` was when the client said that it does not want to know
        self.seen_modseq = 0  # the highest that the client saw with a message
        self.told: dict[int, int] = {}  # UID → mod-sequence that the client already knows from its own STORE
        self.news = False
        self._callback: Callable[[], None] | None = None
        of.enter(self)

    def begin(self) -> None:
        """Start from the present state of the box, as SELECT tells it."""
        self.uids = array("I", self.box.uids)
        self.flags_known = self.expunges_known = self.box.modseq
        self.keywords_known = self.box.now.keywords.names

    def close(self) -> None:
        self.box.leave(self)

    @property
    def known(self) -> int:
        """The mod-sequence up to which the client has been told all, its HIGHESTMODSEQ (RFC 7162 §3.1.2.1)."""
        return min(self.flags_known, self.quiet_since or self.expunges_known)

    def attend(self, callback: Callable[[], None] | None) -> None:
        """Call back when something may have happened (IDLE)."""
        self._callback = callback

    def notify(self) -> None:
        self.news = True
        if self._callback is not None:
            self._callback()

    # numbers

    def number(self, uid: int) -> int:
        """The sequence number of a UID; 0 when this session does not have it."""
        index = bisect_left(self.uids, uid)
        return index + 1 if index < len(self.uids) and self.uids[index] == uid else 0

    def spans(self, numbers: parser.Set, *, uid: bool) -> list[range]:
        """Where in `uids` the messages are that a set of the client names. Bad for a number that does not exist."""
        uids = self.uids
        if uid:
            found = [range(bisect_left(uids, low), bisect_right(uids, high))
                     for low, high in parser.resolve(numbers, uids[-1] if uids else 0)]
        else:
            found = [range(low - 1, high) for low, high in self.numbers(numbers)]
        if parser.has_saved(numbers):
            places = [(number, number) for one in self.saved if (number := self.number(one))]
            joined = searchkeys.ranges([*places, *((span.start + 1, span.stop) for span in found if span)])
            return [range(low - 1, high) for low, high in joined]
        return [span for span in found if span]

    def select(self, numbers: parser.Set, *, uid: bool) -> list[int]:
        """The UIDs that a set of the client names, ascending. Bad for a sequence number that does not exist."""
        return [one for span in self.spans(numbers, uid=uid) for one in self.uids[span.start : span.stop]]

    def numbers(self, numbers: parser.Set) -> searchkeys.Ranges:
        """A set of sequence numbers as ranges that exist."""
        count = len(self.uids)
        ranges = parser.resolve(numbers, count)
        if ranges and (ranges[0][0] < 1 or ranges[-1][1] > count):
            raise Bad("No message has this number.")
        return ranges

    # telling

    async def report(self, session: "Session", *, expunges: bool, modseq: bool = True) -> None:
        """Say what happened since the last report; EXPUNGE only when `expunges`, HIGHESTMODSEQ only with `modseq`."""
        if self.box.dead:
            raise box.Gone
        before, highest = self.flags_known, self.box.modseq
        counts, flags, fresh = session.wants("MESSAGENEW"), session.wants("FLAGCHANGE"), list[int]()
        if not counts:
            self.quiet_since, self.expunges_known = self.quiet_since or self.expunges_known, highest
        elif expunges and (self.expunges_known != highest or self.quiet_since):
            self._report_expunges(session)
        elif self.expunges_known != highest and not self._lost():
            self.expunges_known = highest
        if self.flags_known != highest or self._behind():
            if counts and self._behind():
                fresh = await self._report_new(session)
            if flags:
                self.report_keywords(session)
                await self._report_flags(session)
        if modseq and session.qresync and self._must_tell(before):
            session.untagged(b"OK [HIGHESTMODSEQ %d] Highest." % self.known)
        if fresh and session.notices is not None:
            await session.notices.fetch(fresh)

    def up_to_date(self, removed: Set[int] = frozenset()) -> bool:
        """Whether the client knows all that happened but for the removal of these."""
        return (self._lost() <= removed and not self._behind()
                and all(uid in removed for uid in self.box.changed_since(self.flags_known)))

    def _must_tell(self, before: int) -> bool:
        """Whether the client would draw a wrong conclusion from the mod-sequences it saw, or none.

        RFC 5162, erratum 1810: those of FETCH may be above that of a VANISHED which has to wait.
        """
        if self.known < self.flags_known:
            return self.flags_known > before
        return self.known > max(before, self.seen_modseq)

    def _lost(self) -> set[int]:
        """UIDs that the client does not know to be gone."""
        if self.quiet_since:
            return set(self.uids).difference(self.box.messages)
        return {uid for modseq, uid in self.box.expunged if modseq > self.expunges_known and self.number(uid)}

    def _behind(self) -> bool:
        mine, theirs = self.uids, self.box.uids
        return bool(theirs) and (not mine or theirs[-1] > mine[-1])

    def _report_expunges(self, session: "Session") -> None:
        gone = self._lost()
        self.quiet_since, self.expunges_known = 0, self.box.modseq
        if not gone:
            return
        if session.qresync:
            session.untagged(f"VANISHED {sequenceset.text(sorted(gone))}")
        else:  # highest first: then the numbers of the others still stand while we say it
            numbers = sorted(map(self.number, gone), reverse=True)
            session.connection.write(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers]))
        self.uids = box.without(self.uids, gone)
        self.recent -= gone
        for uid in gone:
            self.told.pop(uid, None)

    def unsaid(self, *, uid: bool) -> str:
        """What to say in the OK of an answer that leaves out messages which this client still numbers (RFC 5530);
        after a command with UIDs it is told of them at once."""
        return EXPUNGED if not uid and self._lost() else ""

    async def _report_new(self, session: "Session") -> list[int]:
        await self.claim()
        highest = self.uids[-1] if self.uids else 0
        theirs = self.box.uids
        fresh = theirs[bisect_right(theirs, highest) :]
        self.uids.extend(fresh)
        session.untagged(b"%d EXISTS" % len(self.uids))
        session.untagged(b"%d RECENT" % len(self.recent))
        return list(fresh)

    async def claim(self) -> None:
        """Make messages that nobody knows \\Recent for this session; one that may write takes them for itself."""
        unclaimed = self.box.unclaimed
        fresh = self.box.fresh()
        if self.uids:
            fresh = fresh[bisect_right(fresh, self.uids[-1]) :]
        if self.read_only:
            self.recent.update(fresh, unclaimed)
            return
        self.recent |= unclaimed
        unclaimed.clear()
        if fresh:
            _, taken = await self.box.change(changes.take_recent)
            self.recent |= taken

    def report_keywords(self, session: "Session") -> None:
        """Clients must know a keyword before they see it on a message (RFC 3501 §7.2.6)."""
        names = self.box.now.keywords.names
        if names != self.keywords_known:
            self.keywords_known = names
            session.untagged("FLAGS (" + " ".join((*SYSTEM_FLAGS, *names)) + ")")

    async def _report_flags(self, session: "Session") -> None:
        since, self.flags_known = self.flags_known, self.box.modseq
        told, self.told = self.told, {}
        for uid in self.box.changed_since(since):
            if told.get(uid, 0) >= self.box.changed.get(uid, 0):
                continue
            entry = self.box.messages.get(uid)
            if entry is not None and self.number(uid):
                session.connection.write(self.flags_answer(entry))
                await session.room()

    def flags(self, entry: Entry) -> str:
        """The flags of a message as this session sees them, with \\Recent."""
        text = self.box.flags(entry)
        if entry.uid in self.recent:
            return text + " \\Recent" if text else "\\Recent"
        return text

    def flags_answer(self, entry: Entry, *, flags: bool = True) -> bytes:
        """The untagged FETCH with the flags of a message, and its mod-sequence for who wants that."""
        text = f"* {self.number(entry.uid)} FETCH (UID {entry.uid}"
        if flags:
            text += f" FLAGS ({self.flags(entry)})"
        if "CONDSTORE" in self.enabled:
            text += f" MODSEQ ({entry.modseq})"
            self.seen_modseq = max(self.seen_modseq, entry.modseq)
        return f"{text})\r\n".encode("ascii", "replace")

    def knows(self, uids: list[int]) -> None:
        """The client has been told the present flags of these, or asked not to be (.SILENT)."""
        messages = self.box.messages
        self.told.update((uid, messages[uid].modseq) for uid in uids if uid in messages)


SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
