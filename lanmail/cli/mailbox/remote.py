"""From another IMAP server into an account: what `lanmail mailbox import imaps://USER@HOST/` does.

Folder by folder, in windows: flags, dates and sizes of 500 messages, then the bodies of those that are missing, several
commands ahead. A body goes from the socket straight into tmp/. A lost connection is made again; what came in is known
by UIDVALIDITY and UID (journal.py), what came another way by its Message-ID and size. Nothing is changed at the server.
"""

import asyncio
import calendar
import hashlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from lanmail import messagefile
from lanmail.cli.mailbox import intake
from lanmail.cli.mailbox.copying import Copying
from lanmail.cli.mailbox.count import Count
from lanmail.clients import imapclient, imapwire
from lanmail.clients.imapclient import Denied, Mailbox
from lanmail.clients.imapwire import Broken, Response, Stored

WINDOW = 500
AHEAD = 3  # commands that are sent before the first is answered
_BATCH, _BATCH_OCTETS = 100, 4 << 20
_TRIES = 6
_ROUNDS = 3
_ITEMS = "UID FLAGS INTERNALDATE RFC822.SIZE"
_HEADER = " BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO SUBJECT)]"
# RFC 6154: these show messages that are in other mailboxes, too
_VIEWS = {"\\all": "all mail", "\\flagged": "what is flagged", "\\important": "what is important"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


pause = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Row:
    """What the server tells of a message before it is fetched."""

    uid: int
    flags: tuple[str, ...]
    date: float | None
    size: int
    header: bytes


@dataclass(slots=True)
class Remote:
    """One run against one server."""

    target: imapclient.Target
    work: Copying
    patience: imapclient.Patience = field(default_factory=imapclient.Patience)
    came: set[str] = field(default_factory=set)  # keys that this run brought or saw, so that they count once
    shifted: bool = False  # somebody expunged: numbers of messages are no longer what they were
    _finished: set[bytes] = field(default_factory=set)

    async def run(self) -> None:
        """Copy everything; a connection that breaks is made again. Broken, Refused, Temporary."""
        failures = 0
        while True:
            before = len(self.came)
            try:
                await self._session()
                return
            except Broken as error:
                failures = 1 if len(self.came) > before else failures + 1
                if failures >= _TRIES:
                    raise
                seconds = min(60, 2 ** failures)
                self.work.line.say(f"lanmail: {self.target}: {error}; trying again in {seconds} s", err=True)
                await pause(seconds)

    async def _session(self) -> None:
        client = await imapclient.connect(self.target, self.patience)
        try:
            chosen = self._chosen(await client.mailboxes(), await client.foreign())
            await self._count(client, chosen)
            for mailbox in chosen:
                if mailbox.raw not in self._finished:
                    await self._mailbox(client, mailbox)
                    self._finished.add(mailbox.raw)
            self.work.account.flush()
            await client.logout()
        finally:
            client.wire.close()

    def _chosen(self, mailboxes: list[Mailbox], foreign: tuple[str, ...]) -> list[Mailbox]:
        wishes, chosen = self.work.wishes, []
        for mailbox in mailboxes:
            if not mailbox.selectable or not wishes.wants(mailbox.levels):
                continue
            views = [_VIEWS[one.lower()] for one in mailbox.attributes if one.lower() in _VIEWS]
            name = "/".join(mailbox.levels)
            if not wishes.folders and views:
                self._tell(f"{name} shows {views[0]} and is left out; what is only there: --folder '{name}' --unique")
            elif not wishes.folders and any(name.startswith(prefix.rstrip("./")) for prefix in foreign):
                self._tell(f"{name} belongs to others and is left out; copy it by itself with --folder '{name}'")
            else:
                chosen.append(mailbox)
        # INBOX first: it is what people look for
        return sorted(chosen, key=lambda one: (one.levels[0].upper() != "INBOX", one.levels))

    def _tell(self, text: str) -> None:
        if not self.came and not self._finished:
            self.work.line.say(f"lanmail: {text}", err=True)

    async def _count(self, client: imapclient.Client, mailboxes: list[Mailbox]) -> None:
        """How much there is, for the progress."""
        if self.work.line.total:
            return
        for some in _groups(mailboxes, 50):
            tags = [client.send(b"STATUS " + imapclient.astring(one.raw) + b" (MESSAGES)") for one in some]
            for tag in tags:
                try:
                    async for response in client.results(tag):
                        if response.kind == "STATUS" and isinstance(response.values[-1], list):
                            self.work.line.total += imapwire.number(response.values[-1][-1])
                except Denied:
                    continue

    async def _mailbox(self, client: imapclient.Client, mailbox: Mailbox) -> None:
        special = next((one for one in mailbox.attributes if one.lower() in
                        ("\\sent", "\\drafts", "\\trash", "\\junk", "\\archive")), None)
        name = self.work.naming.of(mailbox.levels, special.capitalize() if special else None)
        count = self.work.count("/".join(mailbox.levels), name)
        self.work.line.what = count.source
        try:
            for _ in range(_ROUNDS):
                self.shifted = False
                opened = await client.examine(mailbox.raw)
                place = f"{self.target.credentials.user}@{self.target}\0{opened.uidvalidity}\0".encode() + mailbox.raw
                folder = _Folder(self, client, self.work.account.target(name), count,
                                 hashlib.sha256(place).hexdigest()[:16])
                await folder.copy(opened.exists)
                if not self.shifted:
                    return
            if folder.refusal:
                raise Denied(folder.refusal)
        except Denied as error:
            count.failed += 1
            self.work.account.problems.append(f"{count.source}: {error}")


class _Folder:
    """One mailbox on its way into one folder."""

    def __init__(self, remote: Remote, client: imapclient.Client, target: intake.Target, count: Count,
                 prefix: str) -> None:
        self._remote, self._client, self._target, self._tally = remote, client, target, count
        self._account = remote.work.account
        self._prefix = prefix
        self._refused: list[Row] = []
        self._wanted: dict[int, Row] = {}  # asked for and not here yet
        self._early: list[Response] = []  # of the window that was asked for ahead
        self.refusal = ""
        self._unique = remote.work.wishes.unique
        self._items = _ITEMS + (_HEADER if self._unique or self._account.has_others(target, prefix) else "")

    async def copy(self, exists: int) -> None:
        """All messages there were when the mailbox was opened."""
        starts = deque(range(1, exists + 1, WINDOW))
        listing = self._list(starts, exists)
        while listing is not None:
            missing = await self._missing(listing)
            listing = None
            batches, sent = deque(_batches(missing)), deque[tuple[str, dict[int, Row]]]()
            while batches or sent:
                while batches and len(sent) < AHEAD:
                    batch = batches.popleft()
                    sent.append((self._ask(batch), batch))
                if not batches and listing is None:
                    listing = self._list(starts, exists)  # the server goes on while we read bodies
                await self._bodies(*sent.popleft())
            listing = listing or self._list(starts, exists)
        refused, self._refused = self._refused, []
        for row in refused:
            try:
                await self._receive(self._ask({row.uid: row}))
            except Denied as error:
                self._tally.failed += 1
                self._account.problems.append(f"{self._tally.source}: message with UID {row.uid}: {error}")

    def _ask(self, batch: dict[int, Row]) -> str:
        self._wanted.update(batch)
        return self._client.fetch(batch, "UID BODY.PEEK[]")

    def _list(self, starts: deque[int], exists: int) -> str | None:
        if not starts:
            return None
        first = starts.popleft()
        return self._client.send(f"FETCH {first}:{min(first + WINDOW - 1, exists)} ({self._items})")

    async def _missing(self, tag: str) -> list[Row]:
        """Of a window, what is not here yet."""
        told, self._early = self._early, []
        try:
            async for response in self._client.results(tag):
                told.append(response)
        except Denied as error:
            # numbers that are no more, when somebody expunged: then the next round asks for others
            self._remote.shifted, self.refusal = True, str(error)
        rows = {row.uid: row for response in told if (row := self._row(response))}
        return [row for row in rows.values()
                if self._remote.work.wishes.wants_date(row.date) and not self._is_here(row)]

    def _is_here(self, row: Row) -> bool:
        """Whether nothing has to be fetched for this one."""
        key = self._key(row.uid)
        if key in self._remote.came:
            return True
        identity = intake.identity_of(row.header, row.size) if row.header else None
        if self._account.knows(self._target, key) or self._account.finds(self._target, key, identity) or (
                self._unique and self._account.is_anywhere(identity)):
            self._remote.came.add(key)
            self._tally.there += 1
            self._remote.work.line.step(worked=False)
            return True
        if self._account.dry_run:
            self._copied(row)
        return self._account.dry_run

    def _key(self, uid: int) -> str:
        return f"{self._prefix}:{uid}"

    def _row(self, response: Response) -> Row | None:
        if response.kind in ("EXPUNGE", "VANISHED"):
            self._remote.shifted = True
        if response.kind != "FETCH":
            return None
        pairs = response.pairs()
        uid, flags, date = imapwire.number(pairs.get("UID")), pairs.get("FLAGS"), pairs.get("INTERNALDATE")
        if not uid or not isinstance(flags, list):
            return None  # news of a message that nobody asked for
        header = next((value for name, value in pairs.items() if name.startswith("BODY[HEADER")), b"")
        return Row(uid, tuple(one.decode("utf-8", "replace") for one in flags if isinstance(one, bytes)),
                   moment(date) if isinstance(date, bytes) else None, imapwire.number(pairs.get("RFC822.SIZE")),
                   header if isinstance(header, bytes) else b"")

    async def _bodies(self, tag: str, batch: dict[int, Row]) -> None:
        """Read the bodies of a batch; a message that the server cannot give is asked for once more, by itself."""
        try:
            await self._receive(tag)
        except Denied:
            self._refused += [row for uid, row in batch.items() if uid in self._wanted]
        for uid in batch:  # what was asked for and did not come was expunged meanwhile
            self._wanted.pop(uid, None)

    async def _receive(self, tag: str) -> None:
        draft: messagefile.Draft | None = None

        def sink(piece: bytes) -> None:
            nonlocal draft
            if draft is None:
                draft = self._account.draft(self._target)
            draft.write(piece)

        try:
            async for response in self._client.results(tag, sink):
                if response.kind in ("EXPUNGE", "VANISHED"):
                    self._remote.shifted = True
                pairs = response.pairs() if response.kind == "FETCH" else {}
                body = next((value for name, value in pairs.items() if name in ("BODY[]", "BODY[]<0>", "RFC822")), None)
                row = self._wanted.pop(imapwire.number(pairs.get("UID")), None) if body is not None else None
                if row is not None:
                    if isinstance(body, bytes) and not isinstance(body, Stored):
                        sink(body)  # a short one may come as a quoted string
                    taken, draft = draft or self._account.draft(self._target), None
                    self._take(row, taken)
                elif "RFC822.SIZE" in pairs:
                    self._early.append(response)
                elif draft is not None:
                    draft.drop()
                    draft = None
        finally:
            if draft is not None:
                draft.drop()

    def _take(self, row: Row, draft: messagefile.Draft) -> None:
        self._account.add(self._target, draft, self._key(row.uid), row.flags, row.date)
        self._copied(row)

    def _copied(self, row: Row) -> None:
        self._remote.came.add(self._key(row.uid))
        self._tally.copied += 1
        self._tally.octets += row.size
        self._remote.work.line.step(octets=row.size)


def _batches(rows: list[Row]) -> Iterator[dict[int, Row]]:
    batch: dict[int, Row] = {}
    octets = 0
    for row in rows:
        if batch and (len(batch) >= _BATCH or octets + row.size > _BATCH_OCTETS):
            yield batch
            batch, octets = {}, 0
        batch[row.uid] = row
        octets += row.size
    if batch:
        yield batch


def _groups(mailboxes: list[Mailbox], size: int) -> Iterator[list[Mailbox]]:
    for start in range(0, len(mailboxes), size):
        yield mailboxes[start:start + size]


def moment(raw: bytes) -> float | None:
    """An INTERNALDATE (RFC 9051 §9, date-time) in seconds since 1970; None for what is none."""
    found = _DATE.fullmatch(raw.decode("ascii", "replace"))
    if found is None or found[2].lower() not in _MONTHS:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    when = (int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second))
    try:
        seconds = calendar.timegm(when)
    except (ValueError, OverflowError):
        return None
    zone = int(zone_hours) * 3600 + int(zone_minutes) * 60
    return float(seconds + zone if sign == "-" else seconds - zone)
