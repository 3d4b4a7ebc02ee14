"""One mailbox, many hands: two imapd workers, pop3d, deliver, a server that locks as Dovecot does, a person with `mv`.

What must hold afterwards, and all the time: no message is lost that nobody deleted, none is there twice; UIDs ascend
and mean the same message for everybody for ever; mod-sequences never go back; a client that only listens (QRESYNC,
IDLE) or that comes back now and then knows in the end exactly what is there. LANMAIL_STRESS=60 runs it for a minute.
"""

import asyncio
import contextlib
import os
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lanmail import maildir, message
from lanmail.folders import dotlock
from tests import dialogs
from tests.imapserver import PASSWORD, Client

SECONDS = float(os.environ.get("LANMAIL_STRESS", "6"))
FETCHED = re.compile(rb"\d+ FETCH \(UID (\d+)(?: FLAGS \(([^)]*)\))?(?: MODSEQ \((\d+)\))?")
SUBJECT = re.compile(rb"(?i)UID (\d+) .*?subject: (m\d+)", re.DOTALL)
HIGHEST = re.compile(rb"HIGHESTMODSEQ (\d+)")


@dataclass
class Ledger:
    """What went in, what somebody meant to delete, which UID means which message."""

    delivered: set[str] = field(default_factory=set)
    doomed: set[str] = field(default_factory=set)
    meaning: dict[int, str] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)

    def means(self, uid: int, name: str) -> None:
        assert self.meaning.setdefault(uid, name) == name, f"UID {uid} was {self.meaning[uid]} and is {name}"

    def audit(self, found: list[str]) -> None:
        """Nothing lost, nothing twice, nothing from nowhere."""
        assert sorted(found) == sorted(set(found)), "a message is there twice"
        assert set(found) <= self.delivered
        lost = self.delivered - self.doomed - set(found)
        assert not lost, f"lost: {lost}"


class Mirror:
    """The mailbox as a client knows it from what it was told; `hear` takes an untagged answer."""

    def __init__(self) -> None:
        self.flags: dict[int, frozenset[bytes]] = {}
        self.modseqs: dict[int, int] = {}
        self.highest = self.top = 0
        self.exists = 0

    def hear(self, line: bytes) -> None:
        line = line.removeprefix(b"* ")
        if line.startswith(b"VANISHED"):
            for uid in expand(line.split()[-1]):
                self.exists -= uid in self.flags and b"(EARLIER)" not in line
                self.flags.pop(uid, None)
        elif line.endswith(b" EXISTS"):
            self.exists = int(line.split()[0])
        elif found := FETCHED.match(line):
            uid, number = int(found[1]), int(found[3] or 0)
            assert number >= self.modseqs.get(uid, 0), f"the mod-sequence of {uid} went back"
            self.modseqs[uid] = number
            self.flags[uid] = frozenset(flag for flag in found[2].split() if flag != b"\\Recent")
        elif found := HIGHEST.search(line):
            assert int(found[1]) >= self.highest, "HIGHESTMODSEQ went back"
            self.highest = int(found[1])


def expand(text: bytes) -> Iterator[int]:
    for piece in text.split(b","):
        low, _, high = piece.partition(b":")
        yield from range(int(low), int(high or low) + 1)


class Scene:
    """The site, its workers, and the ledger."""

    def __init__(self, site: dialogs.Site, parent: int) -> None:
        self.site, self.parent = site, parent
        self.inbox = str(site.paths.maildirs / "meier")
        self.ledger = Ledger()
        self.over = False
        self.random = random.Random(7)
        self.clients: list[Client] = []

    async def client(self, select: str = "SELECT INBOX", enable: str = "QRESYNC") -> Client:
        port = self.site.port("imapd.port")
        client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))
        self.clients.append(client)
        await client.line()
        await client.ok(f"LOGIN meier {PASSWORD}")
        await client.ok(f"ENABLE {enable}")
        if select:
            await client.ok(select)
        return client

    def worker_of(self, client: Client) -> int:
        """The process that serves this client, by the socket's inode."""
        port = client.writer.get_extra_info("sockname")[1]
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}
        for child in Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text().split():
            for descriptor in Path(f"/proc/{child}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in inodes:
                        return int(child)
        raise AssertionError("nobody serves this client")

    async def one_each(self) -> list[Client]:
        """A client in each of the two workers."""
        found: dict[int, Client] = {}
        for _ in range(60):
            client = await self.client()
            worker = self.worker_of(client)
            if worker in found:
                client.close()
            found.setdefault(worker, client)
            if len(found) == 2:
                break
        assert len(found) == 2, "one worker took all connections"
        return list(found.values())

    # hands

    async def deliver(self) -> None:
        for number in range(100_000):
            if self.over:
                return
            name = f"m{number}"
            self.ledger.delivered.add(name)
            await asyncio.to_thread(maildir.put, self.inbox, f"Subject: {name}\n\nx\n".encode())
            self.ledger.arrived[name] = time.monotonic()
            await asyncio.sleep(self.random.uniform(0.005, 0.06))

    async def pick(self, client: Client) -> int:
        """The UID of some message whose meaning is known then; 0 when there is none."""
        lines = await client.ok("UID SEARCH ALL")
        uids = [uid for line in lines if line.startswith(b"SEARCH") for uid in line.split()[1:]]
        if not uids:
            return 0
        uid = int(self.random.choice(uids))
        for line in await client.ok(f"UID FETCH {uid} (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
            if found := SUBJECT.search(line):
                self.ledger.means(int(found[1]), found[2].decode())
                return uid
        return 0

    async def flag(self, client: Client) -> None:
        while not self.over:
            if uid := await self.pick(client):
                flags = self.random.choice(["\\Seen", "\\Flagged", "\\Answered Todo", "\\Draft"])
                await client.ok(f"UID STORE {uid} {self.random.choice('+-')}FLAGS ({flags})")
            await asyncio.sleep(0.01)

    async def expunge(self, client: Client) -> None:
        while not self.over:
            if uid := await self.pick(client):
                self.ledger.doomed.add(self.ledger.meaning[uid])
                await client.ok(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
                await client.ok(f"UID EXPUNGE {uid}")
            await asyncio.sleep(0.1)

    async def move(self, client: Client) -> None:
        while not self.over:
            if uid := await self.pick(client):
                await client.command(f"UID MOVE {uid} Archiv")
            await asyncio.sleep(0.1)

    async def fetch_by_pop3(self) -> None:
        while not self.over:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.site.port("pop3d.port"))

            async def say(text: str = "", reader: asyncio.StreamReader = reader,
                          writer: asyncio.StreamWriter = writer) -> bytes:
                if text:
                    writer.write(text.encode() + b"\r\n")
                return await asyncio.wait_for(reader.readline(), 20)

            await say()
            await say("USER meier")
            await say(f"PASS {PASSWORD}")
            if (await say("TOP 1 0")).startswith(b"+OK"):
                head = await reader.readuntil(b"\r\n.\r\n")
                self.ledger.doomed.add(message.field(head, b"Subject").decode())  # type: ignore[union-attr]
                await say("DELE 1")
            await say("QUIT")
            writer.close()
            await asyncio.sleep(0.3)

    def rename(self, *, lock: bool) -> None:
        """Another server, or a person: a letter comes or goes."""
        held = dotlock.held(f"{self.inbox}/dovecot-uidlist") if lock else contextlib.nullcontext()
        with held, contextlib.suppress(FileNotFoundError, IndexError):
            name = self.random.choice(os.listdir(f"{self.inbox}/cur"))
            letters = set(maildir.letters_of(name)) ^ {"F" if lock else "P"}
            os.rename(f"{self.inbox}/cur/{name}", f"{self.inbox}/cur/{maildir.with_letters(name, ''.join(letters))}")

    async def rename_now_and_then(self, *, lock: bool) -> None:
        while not self.over:
            await asyncio.to_thread(self.rename, lock=lock)
            await asyncio.sleep(0.05 if lock else 0.2)

    # eyes

    async def listen(self, client: Client, mirror: Mirror) -> None:
        """IDLE from beginning to end; each message seen first here is asked for at once."""
        while True:
            client.send("i IDLE\r\n")
            assert await client.line() == b"+ idling"
            fresh = False
            while not fresh and not self.over:
                with contextlib.suppress(TimeoutError):
                    line = await asyncio.wait_for(client.line(), 0.25)
                    before = mirror.exists
                    mirror.hear(line)
                    fresh = mirror.exists > before
            client.send("DONE\r\n")
            for line in await client.until("i"):
                mirror.hear(line)
            await self.complete(client, mirror, waiting=True)
            if self.over:
                return

    async def complete(self, client: Client, mirror: Mirror, *, waiting: bool = False) -> None:
        """Ask for what is new: UIDs only grow."""
        for line in await client.ok(f"UID FETCH {mirror.top + 1}:* (FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
            if (found := SUBJECT.search(line)) and int(found[1]) > mirror.top:
                mirror.top = int(found[1])
                self.ledger.means(mirror.top, found[2].decode())
                now = time.monotonic()
                if waiting:
                    self.ledger.delays.append(now - self.ledger.arrived.get(found[2].decode(), now))
            mirror.hear(line)

    async def come_and_go(self, mirror: Mirror, worker_mix: int) -> None:
        """A client that selects with QRESYNC, learns what it missed, and goes again."""
        validity = 0
        while True:
            over = self.over
            client = await self.client("")
            known = f"(QRESYNC ({validity} {mirror.highest} 1:{max(mirror.top, 1)}))" if validity else ""
            lines = await client.ok(f"SELECT INBOX {known}")
            (now,) = [int(line.split()[2].rstrip(b"]")) for line in lines if b"UIDVALIDITY" in line]
            assert validity in (0, now), "UIDVALIDITY changed"
            validity = now
            for line in lines:
                mirror.hear(line)
            await self.complete(client, mirror)
            await client.ok("LOGOUT")
            client.close()
            if over:
                return
            await asyncio.sleep(self.random.uniform(0.05, 0.2 * worker_mix))

    async def compare_numbers(self, clients: list[Client]) -> None:
        """HIGHESTMODSEQ of one worker, then the other's: time goes one way."""
        last = uidnext = 0
        while not self.over:
            for client in clients:
                lines = await client.ok("STATUS INBOX (HIGHESTMODSEQ UIDNEXT)")
                (line,) = [line for line in lines if line.startswith(b"STATUS")]
                number, following = (int(value) for value in re.findall(rb"\d+", line))
                assert (number >= last, following >= uidnext) == (True, True), (number, last, following, uidnext)
                last, uidnext = number, following
            await asyncio.sleep(0.03)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    site = dialogs.Site(tmp_path / "root", "[imapd]\nworkers = 2\nmax_connections_per_user = 100\n"
                                           "[pop3d]\nin_use_wait = \"1s\"")
    site.account("meier", PASSWORD)
    maildir.create(str(site.paths.maildirs / "meier"), "Archiv")
    parent = site.start("imapd", "imapd.port")
    site.start("pop3d", "pop3d.port")
    made = Scene(site, parent.pid)
    try:
        yield made
    finally:
        for client in made.clients:
            client.close()
            with contextlib.suppress(ConnectionError):
                await client.writer.wait_closed()
        site.stop()
        assert "internal-error" not in site.log()


def remaining(inbox: str) -> list[str]:
    """The subjects of all messages in the INBOX and the archive."""
    found = []
    for where in (inbox, f"{inbox}/.Archiv"):
        for sub in ("new", "cur"):
            for path in Path(where, sub).iterdir():
                found.append((message.field(path.read_bytes(), b"Subject") or b"").decode())
    return found


@pytest.mark.slow
async def test_many_hands_on_one_mailbox(scene: Scene) -> None:
    one, two = await scene.one_each()
    three, four = await scene.one_each()
    listeners = [(three, Mirror()), (four, Mirror())]
    wanderers = [Mirror(), Mirror()]
    tasks = [asyncio.create_task(work) for work in (
        scene.deliver(), scene.flag(one), scene.flag(two), scene.expunge(await scene.client()),
        scene.move(await scene.client()), scene.fetch_by_pop3(), scene.rename_now_and_then(lock=True),
        scene.rename_now_and_then(lock=False), scene.compare_numbers(await scene.one_each()),
        *[scene.listen(client, mirror) for client, mirror in listeners],
        *[scene.come_and_go(mirror, number) for number, mirror in enumerate(wanderers, 1)])]
    done, _ = await asyncio.wait(tasks, timeout=SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    scene.over = True
    for task in done:
        task.result()  # what failed ends the test
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    truth = Mirror()
    await scene.complete(await scene.client(), truth)
    for client, mirror in listeners:
        for line in await client.ok("NOOP"):
            mirror.hear(line)
        await scene.complete(client, mirror)
        for line in await client.ok("NOOP"):
            mirror.hear(line)
    for mirror in wanderers:
        scene.over = True
        await scene.come_and_go(mirror, 1)
    for mirror in [mirror for _, mirror in listeners] + wanderers:
        assert mirror.flags == truth.flags
        assert {uid: mirror.modseqs[uid] for uid in mirror.flags} == {uid: truth.modseqs[uid] for uid in truth.flags}
    assert len(scene.ledger.delivered) > 10 * SECONDS
    # who listens knows at once; the sweep for lost events would come after five seconds
    assert len(scene.ledger.delays) > 10 * SECONDS
    assert statistics.median(scene.ledger.delays) < 1 > 0.25 * max(scene.ledger.delays)
    assert len(scene.ledger.doomed) > SECONDS
    scene.ledger.audit(remaining(scene.inbox))


async def test_stored_messages_are_recent_for_one_session_of_all_workers(scene: Scene) -> None:
    """RFC 3501 §2.3.2: for the first session that is told of them, whoever stored them, also with flags."""
    one, two = await scene.one_each()
    for client in (one, two):
        await client.ok("SELECT Archiv")
    flags = b"APPEND INBOX (\\Seen) {13+}\r\nSubject: a\n\nx"
    await one.ok(flags)
    await one.ok(flags)
    assert b"STATUS INBOX (RECENT 2)" in await two.ok("STATUS INBOX (RECENT)")
    assert b"2 RECENT" in await two.ok("EXAMINE INBOX")
    assert b"2 RECENT" in await two.ok("SELECT INBOX")
    await one.ok("STATUS INBOX (RECENT)")
    assert b"0 RECENT" in await one.ok("SELECT INBOX")
    await two.ok("COPY 1:2 Archiv")
    await two.ok("MOVE 1 Archiv")
    assert b"3 RECENT" in await one.ok("SELECT Archiv")
    assert b"SEARCH 1 2 3" in await one.ok("SEARCH RECENT")
    assert b"0 RECENT" in await two.ok("SELECT Archiv")
    await one.ok("CLOSE")
    maildir.put(f"{scene.inbox}/.Archiv", b"Subject: b\n\nx\n")
    await two.ok("COPY 1 Archiv")
    told = await two.ok("FETCH 4:5 FLAGS")
    assert [b"\\Recent" in line for line in told] == [True, True]
    assert b"0 RECENT" in await one.ok("SELECT Archiv")


async def test_notify_tells_what_another_worker_did(scene: Scene) -> None:
    """Workers share nothing but files, of which each hears by itself."""
    one, two = await scene.one_each()
    await one.ok("UNSELECT")
    told = await one.ok("NOTIFY SET STATUS (MAILBOXES (INBOX Archiv) (MessageNew MessageExpunge MailboxName))")
    assert [line.split(b" UIDVALIDITY")[0] for line in told] == [
        b"STATUS Archiv (MESSAGES 0 UIDNEXT 1", b"STATUS INBOX (MESSAGES 0 UIDNEXT 1"]
    maildir.put(scene.inbox, b"Subject: a\n\nx\n")
    assert (await one.line()).startswith(b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 ")
    await two.ok("UID MOVE 1 Archiv")
    said = {(await one.line()).split(b" UIDVALIDITY")[0] for _ in range(2)}
    assert said == {b"* STATUS Archiv (MESSAGES 1 UIDNEXT 2", b"* STATUS INBOX (MESSAGES 0 UIDNEXT 2"}
    await two.ok("DELETE Archiv")
    assert await one.line() == b'* LIST (\\NonExistent \\HasNoChildren) "." Archiv'


def test_the_audit_bites() -> None:
    ledger = Ledger({"m1", "m2", "m3"}, {"m3"})
    ledger.audit(["m2", "m1"])
    ledger.means(1, "m1")
    for wrong in (["m1"], ["m1", "m2", "m2"], ["m1", "m2", "m4"]):
        with pytest.raises(AssertionError):
            ledger.audit(wrong)
    with pytest.raises(AssertionError):
        ledger.means(1, "m2")


def test_the_mirror_bites() -> None:
    mirror = Mirror()
    for line in (b"* 2 EXISTS", b"* 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (7))", b"* OK [HIGHESTMODSEQ 9] Highest."):
        mirror.hear(line)
    mirror.hear(b"* VANISHED 4:5")
    assert (mirror.exists, mirror.flags) == (1, {})
    for wrong in (b"* 1 FETCH (UID 4 FLAGS () MODSEQ (6))", b"* OK [HIGHESTMODSEQ 8] Highest."):
        with pytest.raises(AssertionError):
            mirror.hear(wrong)
