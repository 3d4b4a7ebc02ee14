"""One folder of an IMAP mailbox on its way into spool/queue.

Every visit asks which messages there are (only those with new UIDs, once all others are dealt with), then for sizes,
then for bodies: some commands ahead, each body straight from the socket into the batch, while the batch before is
written to the disk. Nothing here grows with the mailbox but a number for each message.

What others expunge meanwhile does not come and is not missed. A message that the server cannot give does not stop the
others: it is asked for again by itself, and at later visits.
"""

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field

from lanmail import log, message
from lanmail.clients import imapclient, imapwire
from lanmail.clients.imapclient import Client, Denied, Mailbox
from lanmail.clients.imapwire import Broken
from lanmail.sources import Outcome, Visit, removal
from lanmail.sources.batch import Batch, Mail
from lanmail.sources.renewal import Identities, identity
from lanmail.sources.uidlog import UidLog

LISTING = 50_000  # numbers of messages in one answer to SEARCH
WINDOW = 500  # messages whose sizes are asked for at a time
CHOICE = 1000  # messages among which the small ones are picked
SMALL = 1 << 20  # octets up to which all come in their order; larger ones come after them
AHEAD = 3  # commands that are sent before the first is answered
RELIST = 3600.0  # seconds after which the whole folder is looked through again
_MAILS, _OCTETS = 50, 4 << 20  # of one command for bodies
_HEADER = 64 << 10  # as much of a header tells a message's identity
_SIZE = "UID RFC822.SIZE"


@dataclass(slots=True)
class Memory:
    """What is kept of a folder from visit to visit."""

    uidvalidity: int = 0
    newest: int = 0  # the highest UID that was seen
    settled: int = 0  # all messages with this UID or a lower one are dealt with
    listed: float = 0.0  # when the whole folder was looked through (monotonic clock)
    large: int = 0  # messages that stay there for their size
    sizes: dict[int, int] = field(default_factory=dict)  # of messages that were looked at and wait for the next visit
    refused: set[int] = field(default_factory=set)  # the server could not give these
    broke: list[int] = field(default_factory=list)  # at these it broke off: they come last, each by itself


@dataclass(slots=True)
class _Row:
    """A message that is to come."""

    uid: int
    size: int


class Folder:
    """One visit to a folder; `user` is who is logged in."""

    def __init__(self, visit: Visit, client: Client, user: str, mailbox: Mailbox, memory: Memory,
                 outcome: Outcome) -> None:
        self._visit, self._client, self._user = visit, client, user
        self._mailbox, self._memory, self._outcome = mailbox, memory, outcome
        self._name = "/".join(mailbox.levels)
        self._complete = False  # the listing has all messages
        self._box: UidLog
        self._ids: Identities
        self._large = 0

    async def fetch(self, away: removal.Way) -> None:
        """Everything that is to be done. Denied, Broken, OSError."""
        settings, memory = self._visit.settings, self._memory
        changes = away.wanted or settings.mark_seen
        raw = self._mailbox.raw
        opened = await (self._client.select(raw) if changes else self._client.examine(raw))
        if not opened.uidvalidity:
            raise Denied(f"{self._name} has no UIDVALIDITY, so nobody can tell which mail was fetched already")
        if memory.uidvalidity != opened.uidvalidity:
            memory.uidvalidity, memory.settled, memory.listed, memory.sizes = opened.uidvalidity, 0, 0.0, {}
        self._box = await self._visit.box(self._key(opened.uidvalidity))
        self._ids = Identities.of(self._visit, f"{self._user} {raw.decode('latin-1')}")
        settled, whole = memory.settled, not memory.listed or time.monotonic() - memory.listed > RELIST
        memory.settled, memory.listed = 0, 0.0  # until it is known that all went well
        uids = await self._list(0 if whole else settled, opened)
        if self._ids.validity not in (0, opened.uidvalidity):
            await self._carry(uids)
        fresh = self._fresh(uids)
        self._visit.say(f"{self._name}: {opened.exists} messages, {len(fresh)} of them new")
        memory.large = 0 if whole else memory.large
        left = await self._bring(fresh, keeps=not away.at_once)
        self._outcome.large += memory.large
        if away.wanted:
            await self._change(away, uids, opened.readonly)
        await asyncio.to_thread(self._tidy, uids if whole else None)
        memory.newest = max(uids[-1] if uids else 0, settled, opened.uidnext - 1)
        if self._complete:
            memory.settled = min(left, default=memory.newest + 1) - 1
            memory.listed = time.monotonic() if whole else memory.listed

    def _key(self, uidvalidity: int) -> str:
        return f"{self._user} {self._mailbox.raw.decode('latin-1')} {uidvalidity}"

    # which messages there are

    async def _list(self, above: int, opened: imapclient.Selected) -> "array[int]":
        """The UIDs of all messages with a higher one than `above`, in order."""
        self._complete = True
        found = array("L")
        if not opened.exists or (above and opened.uidnext and opened.uidnext <= above + 1):
            return found
        if opened.exists <= LISTING or above:
            tags = [self._client.send(f"UID SEARCH UID {above + 1}:*")]
        else:
            tags = [self._client.send(f"UID SEARCH {first}:{min(first + LISTING - 1, opened.exists)}")
                    for first in range(1, opened.exists + 1, LISTING)]
        for tag in tags:
            async for response in self._client.results(tag):
                if response.kind == "SEARCH":
                    found.extend(imapwire.number(one) for one in response.values)
                elif response.kind in ("EXPUNGE", "VANISHED") and len(tags) > 1:
                    self._complete = False  # numbers have moved: some message may have slipped through
        return array("L", sorted(uid for uid in set(found) if uid > above))

    def _fresh(self, uids: "array[int]") -> list[int]:
        known = self._box.fetched
        return [uid for uid in uids if str(uid) not in known]

    async def _sizes(self, uids: Sequence[int]) -> list[_Row]:
        """What is still there of these messages, with their sizes."""
        sizes = self._memory.sizes
        rows = [_Row(uid, sizes[uid]) for uid in uids if uid in sizes]
        wanted = {uid for uid in uids if uid not in sizes}
        if not wanted:
            return rows
        async for response in self._client.results(self._client.fetch(wanted, _SIZE)):
            pairs = response.pairs() if response.kind == "FETCH" else {}
            uid = imapwire.number(pairs.get("UID"))
            if "RFC822.SIZE" in pairs and uid in wanted:
                wanted.discard(uid)
                rows.append(_Row(uid, imapwire.number(pairs["RFC822.SIZE"])))
        return rows

    # bringing them

    async def _bring(self, fresh: list[int], *, keeps: bool) -> list[int]:
        """Fetch as much as this visit may; the UIDs of what is left for another one."""
        settings, outcome = self._visit.settings, self._outcome
        limit = max(0, self._visit.limit - outcome.fetched)
        chosen: list[_Row] = []
        large: list[_Row] = []
        looked = 0
        while looked < len(fresh) and len(chosen) < max(limit, CHOICE if settings.small_first else 0) and limit:
            rows = await self._sizes(fresh[looked:looked + WINDOW])
            looked += WINDOW
            for row in rows:
                (large if settings.max_size and row.size >= settings.max_size else chosen).append(row)
        if settings.small_first:
            chosen.sort(key=lambda row: (row.size > SMALL and row.size, row.uid))
        await self._tell(large)
        missing = await self._bodies(chosen[:limit], keeps=keeps)
        self._memory.sizes = {row.uid: row.size for row in chosen[limit:]}
        left = sorted([*self._memory.sizes, *fresh[looked:]])
        self._memory.large += len(large)
        outcome.waiting += len(left)
        return sorted(left + missing)

    async def _tell(self, rows: list[_Row]) -> None:
        """The account hears once of what stays there for its size."""
        unknown = [row for row in rows if not self._box.was_told(str(row.uid))]
        for start in range(0, len(unknown), WINDOW):
            some = {row.uid: row.size for row in unknown[start:start + WINDOW]}
            found = []
            async for response in self._client.results(
                    self._client.fetch(some, "UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]")):
                pairs = response.pairs() if response.kind == "FETCH" else {}
                uid = imapwire.number(pairs.get("UID"))
                header = next((value for name, value in pairs.items() if name.startswith("BODY[HEADER")), b"")
                if uid in some and isinstance(header, bytes):
                    subject = message.decode_words(message.field(header, b"Subject") or b"(no subject)")
                    found.append((str(uid), subject, some.pop(uid)))
            await self._visit.tell_large(self._box, found)

    async def _bodies(self, rows: list[_Row], *, keeps: bool) -> list[int]:
        """Fetch these messages, durably; the UIDs of those that the server could not give."""
        ids, memory = self._ids if keeps else None, self._memory
        intake = _Intake(self._visit, self._client, self._box, ids, memory.uidvalidity, self._outcome)
        last = sorted((row for row in rows if row.uid in memory.broke), key=lambda row: memory.broke.index(row.uid))
        groups = [*_groups([row for row in rows if row.uid not in memory.broke]), *([row] for row in last)]
        try:
            waiting, sent, again = deque(groups), deque[tuple[str, list[_Row]]](), list[_Row]()
            while waiting or sent:
                while waiting and len(sent) < AHEAD:
                    group = waiting.popleft()
                    sent.append((intake.ask(group), group))
                tag, group = sent.popleft()
                try:
                    await intake.receive(tag)
                    again += [row for row in intake.lacking(group) if row.uid in intake.empty]  # others are expunged
                except Denied:
                    again += intake.lacking(group)
            missing = []
            for row in again:
                try:
                    await intake.receive(intake.ask([row]))
                    if intake.lacking([row]) and row.uid in intake.empty:
                        raise Denied("the server has no text for it")
                except Denied as error:
                    missing.append(row.uid)
                    self._refused(row, error)
            await intake.finish()
        except Broken:
            if intake.awaited:
                memory.broke = [uid for uid in memory.broke if uid != intake.awaited] + [intake.awaited]
            await intake.finish()  # what came whole is kept, so a mail that always breaks off keeps no other back
            raise
        finally:
            await intake.abort()
        memory.broke = [uid for uid in memory.broke if uid not in intake.done]
        if self._visit.settings.mark_seen:
            await removal.store(self._client, intake.done, "+FLAGS.SILENT (\\Seen)")
        return missing

    def _refused(self, row: _Row, error: Denied) -> None:
        if row.uid not in self._memory.refused:
            self._memory.refused.add(row.uid)
            log.event("fetch-refused", source=self._visit.label, folder=self._name, uid=row.uid, size=row.size,
                      reason=str(error))

    # what becomes of them there

    async def _change(self, away: removal.Way, uids: "array[int]", readonly: bool) -> None:
        """Remove what is here and is to go; after a visit that broke off also what it had left there."""
        known = self._box.fetched
        there = {uid: known[name] for uid in uids if (name := str(uid)) in known}
        due = await away.due(self._client, there, time.time()) if there else []
        if due and readonly:
            raise Denied(f"{self._name} may only be read, so mail cannot be deleted there")
        if due:
            await away.remove(self._client, due)
            self._outcome.deleted += len(due)

    def _tidy(self, uids: "array[int] | None") -> None:
        self._outcome.kept += max(0, self._client.selected.exists)
        if uids is not None and self._complete:
            if len(uids) * 2 < len(self._box.fetched):
                self._box.keep_only(set(map(str, uids)))
            self._ids.keep_only(uids)

    async def _carry(self, uids: "array[int]") -> None:
        """The server gave new UIDs: what can be proved to be the same mail as before does not come again."""
        old = await self._visit.box(self._key(self._ids.validity))
        known = await asyncio.to_thread(self._ids.known, old)
        same: list[tuple[str, int]] = []
        marks: list[tuple[str, str]] = []
        for start in range(0, len(uids) if known else 0, WINDOW):
            items = "UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE)]"
            async for response in self._client.results(self._client.fetch(uids[start:start + WINDOW], items)):
                pairs = response.pairs() if response.kind == "FETCH" else {}
                header = next((value for name, value in pairs.items() if name.startswith("BODY[HEADER")), b"")
                mark = identity(header if isinstance(header, bytes) else b"", imapwire.number(pairs.get("RFC822.SIZE")))
                if mark is not None and known.get(mark):
                    uid = str(imapwire.number(pairs.get("UID")))
                    same.append((uid, known[mark].pop()))
                    marks.append((uid, mark))
        log.event("uidvalidity", source=self._visit.label, folder=self._name, messages=len(uids), known=len(same))
        await asyncio.to_thread(self._box.carry, same)
        await asyncio.to_thread(self._ids.renew, self._memory.uidvalidity, marks)
        old.path.unlink(missing_ok=True)


class _Intake:
    """Bodies on their way into batches; while one batch is written to the disk the next one is filled."""

    def __init__(self, visit: Visit, client: Client, box: UidLog, ids: Identities | None, uidvalidity: int,
                 outcome: Outcome) -> None:
        self._visit, self._client, self._box, self._outcome = visit, client, box, outcome
        self._ids, self._uidvalidity = ids, uidvalidity
        self._batch = visit.batch(box)
        self._writing: asyncio.Task[list[str]] | None = None
        self._mail: Mail | None = None
        self._head = b""
        self._came: dict[str, str | None] = {}  # identity of what is not committed yet
        self._wanted: dict[int, _Row] = {}  # asked for and not here yet
        self.done: list[int] = []  # durably here
        self.empty: set[int] = set()  # for these the server said NIL

    def _piece(self, piece: bytes) -> Awaitable[None] | None:
        if self._mail is None:
            self._mail, self._head = self._batch.begin(), b""
        if len(self._head) < _HEADER and b"\r\n\r\n" not in self._head:
            self._head += piece[:_HEADER]
        self._mail.write(piece)
        return self._mail.drain() if self._mail.is_heavy else None

    def ask(self, group: list[_Row]) -> str:
        """Ask for messages; the command's tag."""
        self._wanted |= {row.uid: row for row in group}
        return self._client.fetch([row.uid for row in group], "UID BODY.PEEK[]")

    def lacking(self, group: list[_Row]) -> list[_Row]:
        """What of it did not come; it is no longer waited for."""
        return [row for row in group if self._wanted.pop(row.uid, None)]

    async def receive(self, tag: str) -> None:
        """What comes until a command ends: servers may answer others meanwhile. Denied, Broken, OSError."""
        async for response in self._client.results(tag, self._piece):
            pairs = response.pairs() if response.kind == "FETCH" else {}
            body = next((value for name, value in pairs.items() if name in ("BODY[]", "BODY[]<0>", "RFC822")), None)
            row = self._wanted.pop(imapwire.number(pairs.get("UID")), None) if body is not None else None
            if row is None:
                self._drop()
                if "BODY[]" in pairs:
                    self.empty.add(imapwire.number(pairs.get("UID")))
                continue
            if isinstance(body, bytes) and (drained := self._piece(body)) is not None:  # a short one may come quoted
                await drained
            mail, self._mail = self._mail or self._batch.begin(), None
            self._batch.add(mail, str(row.uid))
            self._came[str(row.uid)] = identity(self._head, row.size)
            if self._batch.full:
                await self._commit()

    async def _commit(self) -> None:
        """Begin to write the batch, once the one before is written."""
        await self._written()
        batch, self._batch = self._batch, self._visit.batch(self._box)
        self._writing = asyncio.create_task(self._write(batch))

    async def _write(self, batch: Batch) -> list[str]:
        try:
            names = await batch.commit()
            self._outcome.fetched += batch.fetched  # a second copy that nobody gets is done, too, but not fetched
            self._outcome.octets += batch.octets
            return names
        finally:
            await batch.abort()

    async def _written(self) -> None:
        if self._writing is None:
            return
        task, self._writing = self._writing, None
        try:
            names = await asyncio.shield(task)
        except asyncio.CancelledError:
            self._writing = task
            raise
        came = [(name, self._came.pop(name)) for name in names]
        self.done += [int(name) for name in names]
        if self._ids is not None:
            marks = [(name, mark) for name, mark in came if mark]
            await asyncio.to_thread(self._ids.add, self._uidvalidity, marks)

    @property
    def awaited(self) -> int:
        """The message that comes next; 0 when there is none."""
        return next(iter(self._wanted), 0)

    async def finish(self) -> None:
        """Keep what is here."""
        self._drop()
        await self._commit()
        await self._written()

    def _drop(self) -> None:
        if self._mail is not None:
            self._mail.abort()
            self._mail = None

    async def abort(self) -> None:
        """What is not committed is forgotten; what is being written is waited for."""
        await self._batch.abort()
        if self._writing is not None:
            await asyncio.wait({self._writing})


def _groups(rows: list[_Row]) -> Iterator[list[_Row]]:
    group: list[_Row] = []
    octets = 0
    for row in rows:
        if group and (len(group) >= _MAILS or octets + row.size > _OCTETS):
            yield group
            group, octets = [], 0
        group.append(row)
        octets += row.size
    if group:
        yield group
