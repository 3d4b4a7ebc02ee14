"""Fetching by POP3: what is new by its UIDL, in a window of commands sent ahead where the server allows that.

Mail that was fetched stays on the server or is deleted, as the settings say; that only comes after it and its UID are
durable here, and is really done when the server answers QUIT. A server without UIDL can only be emptied: then a mail is
known again by its digest, if we were killed between fetching and deleting it.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from lanmail import incoming, log, message
from lanmail.clients import pop3client, tlsclient, tlsmemory
from lanmail.clients.pop3client import Client, Denied, shown
from lanmail.clients.pop3wire import Broken
from lanmail.clients.smtplogin import Refused
from lanmail.errors import Temporary
from lanmail.sources import Later, Outcome, Probe
from lanmail.sources.batch import Batch
from lanmail.sources.uidlog import UidLog, clean
from lanmail.sources.visit import Visit

WINDOW = 50  # RETR commands on their way, where the server has PIPELINING (RFC 2449 §6.6)
SMALL = 256 << 10  # octets; mails below keep their order
BUSY = 300.0  # seconds to wait when the mailbox is in use, and no more is said
MAX_MAIL = 1 << 30


class Driver:
    """See lanmail.sources."""

    def __init__(self) -> None:
        self._broke: list[str] = []  # ids of mails at which the server broke off: they come last

    async def fetch(self, visit: Visit) -> Outcome:
        """Look once. Refused, Later, Temporary."""
        async with _client(visit) as client:
            return await _Round(visit, client, self._broke).run()

    async def wait(self, visit: Visit) -> None:
        """POP3 tells nothing by itself."""
        raise Temporary(f"{visit.label}: push needs protocol = imap")

    async def probe(self, visit: Visit, say: Callable[[str], None]) -> Probe:
        """Log in and look, telling each step; change nothing."""
        say(f"connecting to {visit.server}" + (f" through {visit.settings.proxy}" if visit.settings.proxy else ""))
        async with _client(visit) as client:
            tls = client.wire.tls
            say(f"connected: {client.banner}")
            say(f"logged in as {visit.settings.user}" if client.login else "no log-in")
            count, octets = await client.stat()
            header = b""
            if count:
                with contextlib.suppress(Denied):
                    header = await client.header(1)
            words = tuple(" ".join([name, *rest]) for name, rest in client.capabilities.words.items())
            oldest = shown(message.field(header, b"Date") or b"")
            await client.quit()
            return Probe(client.banner, tlsclient.describe(tls) if tls else "", client.login, words, count, octets,
                         oldest, certificate=tlsclient.certificate(tls) if tls else "")

    async def close(self) -> None:
        """Nothing is kept between visits."""


@contextlib.asynccontextmanager
async def _client(visit: Visit) -> AsyncIterator[Client]:
    """A connection that is logged in. Later for what is only a matter of time."""
    wanted, tls = visit.settings, incoming.tls_of(visit.settings)
    memory = tlsmemory.Memory(visit.paths.state)
    seen = memory.seen(visit.server) if tls == "auto" else None
    target = pop3client.Target(
        wanted.host, incoming.port_of(wanted), await visit.credentials(), tls, visit.wish, visit.via, wanted.mechanism,
        f"it did on {seen} (state/{tlsmemory.NAME})" if seen else "")
    try:
        client = await pop3client.connect(target, visit.timeout)
    except Refused:
        visit.refused()
        raise
    except Denied as error:
        if error.word in ("IN-USE", "LOGIN-DELAY"):
            raise Later(f"{visit.server}: {error.text}", BUSY) from error
        raise
    try:
        if tls == "auto" and client.wire.tls is not None:
            memory.remember(visit.server)
        yield client
    finally:
        client.wire.close()


class _Round:
    """One visit to one mailbox."""

    def __init__(self, visit: Visit, client: Client, broke: list[str]) -> None:
        self.visit, self.client, self.settings = visit, client, visit.settings
        self.broke, self.awaited = broke, 0
        self.outcome = Outcome(pause=client.capabilities.login_delay())
        self.uids: dict[int, str] = {}
        self.sizes: dict[int, int] = {}
        self.here: list[int] = []  # numbers of mails that are durable here
        self.window = WINDOW if "PIPELINING" in client.capabilities else 1

    async def run(self) -> Outcome:
        """List, fetch, delete."""
        box = await self.visit.box(self.settings.user)
        count, _ = await self.client.stat()
        listed = await self.client.uids() if count else {}
        if listed is None:
            self._must_delete()
        elif len(listed) != count:
            raise Temporary(f"{self.visit.server} lists {len(listed)} ids for {count} mails")
        self.uids = listed or {}
        new = self._new(box, count)
        if new:
            self.sizes = await self.client.sizes()
        wanted, large = self._sorted(new)
        now, later = wanted[:self.visit.limit], wanted[self.visit.limit:]
        await self._large(box, large)
        await self._fetch(box, now)
        await self._delete(box, listed is not None)
        if await self.client.quit():
            self.outcome.deleted = len(self.here)
            if listed is None:
                await asyncio.to_thread(box.clear)
            elif not later:
                await asyncio.to_thread(box.keep_only, self.uids.values())
        elif self.here:
            raise Temporary(f"{self.visit.server} did not answer QUIT: what was fetched is deleted next time")
        self.outcome.kept, self.outcome.waiting = count - self.outcome.deleted, len(later)
        self.outcome.large = len(large)
        return self.outcome

    def _must_delete(self) -> None:
        if not self.settings.delete:
            raise Temporary(
                f"{self.visit.server} has no UIDL, so it cannot be known which mails were fetched before: copies "
                "cannot be kept there. Set delete = true for this source, or use protocol = imap")

    def _new(self, box: UidLog, count: int) -> list[int]:
        """The numbers of mails that were not fetched yet."""
        if not self.uids:
            return list(range(1, count + 1))
        return [number for number, uid in self.uids.items() if uid not in box]

    def _sorted(self, new: list[int]) -> tuple[list[int], list[int]]:
        """Mails to fetch in the order in which that is done, and those that are too large."""
        sizes, most = self.sizes, self.settings.max_size
        large = [number for number in new if most and sizes.get(number, 0) >= most]
        wanted = [number for number in new if not most or sizes.get(number, 0) < most]
        if self.settings.small_first:
            wanted.sort(key=lambda number: max(sizes.get(number, 0), SMALL))
        if self.broke:
            turns = {uid: turn for turn, uid in enumerate(self.broke, 1)}
            wanted.sort(key=lambda number: turns.get(self.uids.get(number, ""), 0))
        return wanted, large

    async def _large(self, box: UidLog, numbers: list[int]) -> None:
        """Tell the account of mails that are too large, by their subject."""
        fresh = [number for number in numbers if not box.was_told(self.uids.get(number, ""))]
        if not self.uids:
            return  # without UIDL it would be told again and again
        found = []
        for number in fresh[:self.visit.limit]:
            subject = self.uids[number]
            with contextlib.suppress(Denied):
                header = await self.client.header(number)
                subject = message.decode_words(message.field(header, b"Subject") or b"") or subject
            found.append((self.uids[number], subject, self.sizes.get(number, 0)))
        await self.visit.tell_large(box, found)

    # fetching

    async def _fetch(self, box: UidLog, numbers: list[int]) -> None:
        names = {clean(uid) for uid in self.uids.values()}

        def again(digest: str) -> bool:
            """Fetched before under an id that the server no longer gives: it has new ids for old mails."""
            old = box.uid_of(digest)
            return old is not None and old not in names

        batch = self.visit.batch(box, again)
        commit: asyncio.Task[list[str]] | None = None
        try:
            async for _ in self._retrieve(batch, numbers):
                if batch.full:
                    if commit is not None:
                        await commit
                    commit = asyncio.create_task(batch.commit())  # the next ones come meanwhile
                    await asyncio.sleep(0)
            if commit is not None:
                await commit
            await batch.commit()
            self.broke[:] = [uid for uid in self.broke if uid not in box]
        except Broken:
            uid = self.uids.get(self.awaited)
            self.broke[:] = [one for one in self.broke if one != uid] + ([uid] if uid else [])
            if commit is not None:
                await commit
            await batch.commit()  # what came whole is kept, so a mail that always breaks off keeps no other back
            raise
        finally:
            if commit is not None:
                await asyncio.gather(commit, return_exceptions=True)
            await batch.abort()
            self.outcome.fetched, self.outcome.octets = batch.fetched, batch.octets

    async def _retrieve(self, batch: Batch, numbers: list[int]) -> AsyncIterator[int]:
        """Fetch these mails into the batch; each number when its mail is there."""
        window = self.window
        coming, underway = deque(numbers), deque[int]()
        while coming or underway:
            if len(underway) <= window // 2:
                ask = [coming.popleft() for _ in range(min(window - len(underway), len(coming)))]
                self.client.ask(b"RETR", ask)
                underway += ask
            number = self.awaited = underway.popleft()
            await self._one(batch, number)
            yield number

    async def _one(self, batch: Batch, number: int) -> None:
        client, seconds = self.client, self.client.seconds
        try:
            await client.begun()
        except Denied as error:
            log.mail_refused(source=self.visit.label, mail=self.uids.get(number, str(number)), reply=error.text)
            return
        mail, last = batch.begin(), False
        while not last:
            piece, last = await client.wire.piece(seconds)
            if piece:
                mail.write(piece)
            if not last:
                await mail.drain()
                if mail.draft.size > MAX_MAIL:
                    raise Temporary(f"{self.visit.server} sends a mail that does not end")
        batch.add(mail, self.uids.get(number, ""))
        self.here.append(number)

    # deleting

    async def _delete(self, box: UidLog, has_uids: bool) -> None:
        """Tell the server what to delete; it does so at QUIT."""
        asked = self.settings.delete or self.settings.delete_after or self.settings.delete_older
        wanted = [number for number, uid in self.uids.items() if asked
                  and (at := box.since(uid)) is not None and self._due(at, box.date(uid))]
        self.here = wanted if has_uids else self.here
        refused = set()
        for at in range(0, len(self.here), self.window):
            part = self.here[at:at + self.window]
            self.client.ask(b"DELE", part)
            for number in part:
                try:
                    await self.client.begun()
                except Denied as error:
                    refused.add(number)
                    self.visit.say(f"{self.visit.label}: message {number} is not deleted: {error.text}")
        self.here = [number for number in self.here if number not in refused]

    def _due(self, at: int, date: int) -> bool:
        """Whether a mail that was fetched `at` and has this Date is to go from the server now."""
        wanted, now = self.settings, time.time()
        return (wanted.delete or bool(wanted.delete_after and now - at >= wanted.delete_after)
                or bool(wanted.delete_older and now - (date or at) >= wanted.delete_older))
