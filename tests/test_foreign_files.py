"""Whatever lies in a Maildir: imapd and pop3d serve the good messages, soon, and nothing from elsewhere."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import log, maildir
from lanmail.folders import snapshot
from lanmail.pop3 import service, session
from tests import foreign, imapserver, imapsyntax
from tests.imapserver import PASSWORD, message

GOOD = (message("gut eins", "Eins\n"), message("gut zwei", "Zwei\n"))
SECONDS = 20.0  # who waits for a FIFO or a device waits for ever


class House:
    """One account with two good messages in INBOX and one in Archiv, one kind of foreign thing, both servers."""

    def __init__(self, server: imapserver.Server, pop3: int) -> None:
        self.server, self.pop3 = server, pop3
        self.root = Path(server.root())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with imapserver.running(tmp_path) as server:
        log.setup("test", server.paths.log)
        loop, config = asyncio.get_running_loop(), server.worker.config
        pop3 = service.Service(server.paths, lambda: config)
        listening = await loop.create_server(
            functools.partial(session.Session, pop3, loop, implicit=False), "127.0.0.1", 0)
        root = server.root()
        maildir.prepare(root)
        maildir.create(root, "Archiv")
        maildir.put(root, GOOD[0], "S")
        maildir.put(root, GOOD[1])
        maildir.put(f"{root}/.Archiv", GOOD[0], "S")
        yield House(server, listening.sockets[0].getsockname()[1])
        listening.close()
        await pop3.drain(1)
        pop3.close()


def outside(base: Path) -> Path:
    """A directory outside of the Maildir, itself like one."""
    place = base / "outside"
    for sub in ("tmp", "new", "cur"):
        (place / sub).mkdir(parents=True)
    for name in ("mail", "cur/1.secret:2,S", "new/2.secret"):
        (place / name).write_bytes(foreign.OUTSIDE)
    return place


class Watch:
    """Asks, and keeps what was answered; every answer must come soon."""

    def __init__(self) -> None:
        self.heard = b""

    async def imap(self, client: imapserver.Client, command: str) -> bytes:
        began = time.monotonic()
        lines = await client.command(command)
        assert time.monotonic() - began < SECONDS, command
        assert lines[-1].split(b" ")[1] in (b"OK", b"NO"), (command, lines[-1])
        answer = b"\r\n".join(lines)
        self.heard += answer
        return answer

    async def pop3(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str = "",
                   *, many: bool = False) -> bytes:
        began = time.monotonic()
        writer.write(f"{command}\r\n".encode() if command else b"")
        answer = await asyncio.wait_for(reader.readline(), 20)
        while many and answer.startswith(b"+OK") and not answer.endswith(b"\r\n.\r\n"):
            answer += await asyncio.wait_for(reader.readline(), 20)
        assert time.monotonic() - began < SECONDS, command
        assert answer.startswith((b"+OK", b"-ERR")), (command, answer)
        self.heard += answer
        return answer


@pytest.mark.parametrize("name", foreign.KINDS)
async def test_foreign_things_in_a_maildir(house: House, tmp_path: Path, name: str) -> None:
    elsewhere = outside(tmp_path)
    before = foreign.inodes(house.root)
    try:
        foreign.KINDS[name](house.root, elsewhere)
    except PermissionError:
        pytest.skip("only root can make this")
    put = foreign.inodes(house.root) - before
    kept = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    watch = Watch()
    await by_imap(house, watch)
    await by_pop3(house, watch)
    assert foreign.SECRET not in watch.heard
    assert b"root:x:0" not in watch.heard
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == kept
    assert not put - foreign.inodes(house.root), "something was deleted"
    said = "".join(path.read_text() for path in house.server.paths.log.glob("*.log"))
    assert "Traceback" not in said, said[-2000:]


async def by_imap(house: House, watch: Watch) -> None:
    client = await house.server.client(None)
    await watch.imap(client, f"LOGIN meier {PASSWORD}")
    await watch.imap(client, 'LIST "" *')
    await watch.imap(client, 'LSUB "" *')
    await watch.imap(client, "SUBSCRIBE Archiv")
    await watch.imap(client, "STATUS INBOX (MESSAGES UNSEEN SIZE)")
    assert b" OK [READ-WRITE]" in await watch.imap(client, "SELECT INBOX")
    await watch.imap(client, "FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)")
    await watch.imap(client, "FETCH 1:* (ENVELOPE BODYSTRUCTURE)")
    served = await watch.imap(client, "FETCH 1:* (BODY.PEEK[])")
    assert all(good.replace(b"\n", b"\r\n") in served for good in GOOD)
    await watch.imap(client, "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)] BODY.PEEK[TEXT]<0.99>)")
    assert b"* SEARCH " in await watch.imap(client, 'SEARCH BODY "Eins"')
    assert b"$Wichtig" in await watch.imap(client, "STORE 1:* +FLAGS (\\Flagged $Wichtig)")
    assert b"APPENDUID" in (await client.command("APPEND INBOX {5+}\r\na: b\n"))[-1]
    await watch.imap(client, "COPY 1 Archiv")
    await watch.imap(client, "NOOP")
    assert b" OK [READ-WRITE]" in await watch.imap(client, "SELECT Archiv")
    assert GOOD[0].replace(b"\n", b"\r\n") in await watch.imap(client, "FETCH 1:* (BODY.PEEK[])")
    await watch.imap(client, "LOGOUT")


async def by_pop3(house: House, watch: Watch) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.pop3, limit=1 << 25)
    ask = functools.partial(watch.pop3, reader, writer)
    await ask()
    await ask("USER meier")
    assert (await ask(f"PASS {PASSWORD}")).startswith(b"+OK")
    await ask("LIST", many=True)
    await ask("UIDL", many=True)
    count = int((await ask("STAT")).split()[1])
    served = [await ask(f"RETR {number}", many=True) for number in range(1, count + 1)]
    assert all(any(good.replace(b"\n", b"\r\n") in one for one in served) for good in GOOD)
    await ask("TOP 1 1", many=True)
    await ask("QUIT")
    writer.close()
    await writer.wait_closed()


def test_there_are_enough_kinds() -> None:
    assert len(foreign.KINDS) > 38


@pytest.mark.parametrize(("marks", "sizes"), [
    ("S=5,W=7", (5, 7)), ("S=0,W=0", (0, 0)), ("W=7", (None, 7)), ("S=5", (5, None)), ("S=5,W=3", (None, None)),
    ("S=5,W=11", (None, None)), ("S=5000000000,W=5000000001", (None, None)), ("S=-1,W=-2", (None, None)),
])
def test_sizes_that_cannot_be_are_measured(marks: str, sizes: tuple[int | None, int | None]) -> None:
    assert snapshot.Entry(1, f"1.M1P1.fremd,{marks}", f"1.M1P1.fremd,{marks}:2,", "cur").sizes == sizes


async def test_what_is_said_of_lying_names_parses(house: House, tmp_path: Path) -> None:
    foreign.KINDS["sizes that are too large"](house.root, tmp_path)
    client = await house.server.client(select="INBOX")
    said = [imapsyntax.fetched(line) for line in await client.ok("FETCH 1:* (UID RFC822.SIZE)")]
    assert len(foreign.MAIL.replace(b"\n", b"\r\n")) in [one["RFC822.SIZE"] for one in said]
