"""pop3d when clients, files and other programs are not as one would like them to be."""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lanmail import config, log, maildir, paths
from lanmail.folders import changes, folder
from lanmail.pop3 import connection, maildrop, service, session
from tests.dialogs import hashed
from tests.mailroot import until

PASSWORD = "geheim"
MAIL = b"Subject: x\n\nhello\n.\n"


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def line(self) -> str:
        """The next line; "" at the end of the connection."""
        return (await asyncio.wait_for(self.reader.readline(), 30)).decode().removesuffix("\r\n")

    async def say(self, text: str) -> str:
        self.writer.write(text.encode() + b"\r\n")
        return await self.line()

    async def many(self, text: str) -> list[str]:
        """Say it, and the lines of the answer."""
        first = await self.say(text)
        assert first.startswith("+OK"), first
        lines = []
        while (line := await self.line()) != ".":
            lines.append(line)
        return lines

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return not await asyncio.wait_for(self.reader.read(), 30)
        return True

    async def log_in(self, user: str = "meier") -> str:
        assert await self.say(f"USER {user}") == "+OK"
        return await self.say(f"PASS {PASSWORD}")


class Host:
    """The server in the test's own loop."""

    def __init__(self, root: Path, settings: str) -> None:
        self.paths = paths.of_root(root)
        self.paths.accounts.mkdir(parents=True)
        self.paths.config_file.write_text(f'[server]\ndomain = "office.lan"\n{settings}\n')
        for name in ("meier", "weber"):
            (self.paths.accounts / f"{name}.toml").write_text(f'password = "{hashed(PASSWORD)}"\n')
        log.setup("pop3d", self.paths.log)
        self.settings = config.load(self.paths)
        self.service = service.Service(self.paths, lambda: self.settings)
        self.inbox = str(self.paths.maildirs / "meier")
        maildir.prepare(self.inbox)
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            functools.partial(session.Session, self.service, loop, implicit=False), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def client(self, **options: Any) -> Client:
        where = () if "sock" in options else ("127.0.0.1", self.port)
        reader, writer = await asyncio.open_connection(*where, **options)
        self._writers.append(writer)
        client = Client(reader, writer)
        client.greeting = await client.line()
        return client

    async def logged_in(self, user: str = "meier", **options: Any) -> Client:
        client = await self.client(**options)
        assert await client.log_in(user) == "+OK Logged in"
        return client

    def sessions(self) -> list[session.Session]:
        return list(self.service.sessions)

    async def stop(self) -> None:
        self.server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self.service.drain(5)
        self.service.close()

    def logged(self) -> str:
        return "".join(path.read_text() for path in self.paths.log.glob("*.log"))


Start = Callable[..., Awaitable[Host]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    hosts: list[Host] = []

    async def begin(settings: str = "") -> Host:
        hosts.append(Host(tmp_path / f"root{len(hosts)}", settings))
        await hosts[-1].start()
        return hosts[-1]

    yield begin
    for host in hosts:
        await host.stop()
        assert "internal-error" not in host.logged()
        assert PASSWORD not in host.logged()


async def test_clear_text_passwords_only_from_listed_networks(start: Start) -> None:
    host = await start('[auth]\ncleartext_networks = ["192.0.2.0/24"]')
    client = await host.client()
    capabilities = await client.many("CAPA")
    assert not [line for line in capabilities if line.startswith(("USER", "SASL"))]
    for command in ("USER meier", "PASS geheim", "AUTH PLAIN"):
        assert (await client.say(command)).startswith("-ERR Use TLS first")


async def test_hidden_capabilities(start: Start) -> None:
    host = await start('[pop3d]\nhide_capabilities = ["utf8", "PIPELINING"]')
    capabilities = await (await host.client()).many("CAPA")
    assert "TOP" in capabilities
    assert not [line for line in capabilities if line.startswith(("UTF8", "PIPELINING"))]


async def test_wrong_passwords_end_the_connection(start: Start) -> None:
    host = await start("[pop3d]\nmax_failed_logins = 3\n[auth]\nmax_failures = 50")
    client = await host.client()
    for number in range(3):
        assert await client.say("USER nobody") == "+OK"
        assert await client.say(f"PASS wrong{number}") == "-ERR [AUTH] Authentication failed"
    assert await client.ended()


async def test_a_line_without_end(start: Start) -> None:
    host = await start()
    client = await host.client()
    client.writer.write(b"x" * 100_000)
    assert await client.line() == "-ERR Line too long"
    assert await client.ended()


async def test_errors_in_a_row_end_the_connection(start: Start) -> None:
    host = await start("[pop3d]\nmax_errors = 7")
    client = await host.logged_in()
    for _ in range(6):
        assert (await client.say("XYZ")).startswith("-ERR")
    assert (await client.say("RETR 1")).startswith("-ERR")
    assert await client.line() == "-ERR Too many errors"
    assert await client.ended()


async def test_silence_ends_the_session_without_deleting(start: Start) -> None:
    host = await start()
    maildir.put(host.inbox, MAIL)
    client = await host.logged_in()
    assert (await client.say("DELE 1")).startswith("+OK")
    (one,) = host.sessions()
    one.timeout = 0
    one._look_at_clock()
    assert await client.ended()
    assert len(os.listdir(f"{host.inbox}/new")) == 1


async def test_slowly_typing_does_not_put_the_log_in_off_for_ever(start: Start) -> None:
    host = await start("[pop3d]\nlogin_timeout = 60")
    client = await host.client()
    (one,) = host.sessions()
    assert one.deadline - one.loop.time() <= 60
    client.writer.write(b"U")
    await asyncio.sleep(0.02)
    one.deadline = one.loop.time()
    one._look_at_clock()
    assert "Took too long" in await client.line()
    assert await client.ended()


async def test_connections_are_counted_and_given_back(start: Start) -> None:
    host = await start("[pop3d]\nmax_connections_per_client = 2")
    first, second = await host.client(), await host.client()
    third = await host.client()
    assert third.greeting.startswith("-ERR [SYS/TEMP]")
    assert await third.ended()
    assert await first.log_in() == "+OK Logged in"  # who is logged in does not count any more
    assert (await host.client()).greeting.startswith("+OK")
    for client in (first, second):
        await client.say("QUIT")
        assert await client.ended()
    assert host.service.waiting["127.0.0.1"] == 1
    assert not host.service.users


async def test_the_whole_server_has_a_limit(start: Start) -> None:
    host = await start("[pop3d]\nmax_connections = 1")
    await host.client()
    assert (await host.client()).greeting.startswith("-ERR [SYS/TEMP]")


async def test_a_lock_dies_with_its_session(start: Start) -> None:
    host = await start("[pop3d]\nin_use_wait = 1")
    first, second = await host.logged_in(), await host.client()
    assert (await second.log_in()).startswith("-ERR [IN-USE]")
    first.writer.transport.abort()
    assert await second.log_in() == "+OK Logged in"


def test_the_lock_is_between_processes(tmp_path: Path) -> None:
    first = maildrop.lock(str(tmp_path), "meier")
    assert first is not None
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, b"no" if maildrop.lock(str(tmp_path), "meier") is None else b"yes")
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"no"
    assert maildrop.lock(str(tmp_path), "weber") is not None
    os.close(first)
    assert maildrop.lock(str(tmp_path), "meier") is not None


async def test_a_client_that_does_not_read_holds_little_memory_and_nobody_up(start: Start) -> None:
    host = await start()
    for number in range(3):
        maildir.put(host.inbox, b"Subject: %d\n\n" % number + b"x" * 70 + (b"\n" + b"y" * 70) * 3000)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", host.port))
    client = await host.logged_in(sock=one)
    client.reader._transport.pause_reading()
    client.writer.write(b"RETR 1\r\nRETR 2\r\nRETR 3\r\n" * 3000)
    await asyncio.sleep(0.05)
    other = await host.logged_in("weber")
    assert await other.say("STAT") == "+OK 0 0"
    stuck = next(found for found in host.sessions() if found.account and found.account.name == "meier")
    assert stuck.transport is not None
    assert stuck.transport.get_write_buffer_size() < 3 * connection.HIGH
    assert len(stuck._input) <= 2 * connection.BUFFER
    stuck.timeout = 0
    stuck._last = 0
    stuck._look_at_clock()
    await until(lambda: stuck not in host.sessions())


async def test_a_large_message_comes_in_slices_as_it_is(start: Start) -> None:
    host = await start()
    body = b"".join(b"%d\r\n.%d\n\r..\n" % (number, number) for number in range(60_000))
    maildir.put(host.inbox, b"Subject: large\n\n" + body)
    client = await host.logged_in(limit=1 << 24)
    client.writer.write(b"RETR 1\r\nTOP 1 100000\r\nSTAT\r\n")
    first = await client.line()
    whole = await asyncio.wait_for(client.reader.readuntil(b"\r\n.\r\n"), 30)
    sent = whole[:-3].replace(b"\r\n..", b"\r\n.")
    assert sent == b"Subject: large\r\n\r\n" + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert first == f"+OK {len(sent)} octets"
    assert await client.line() == "+OK"
    top = await asyncio.wait_for(client.reader.readuntil(b"\r\n.\r\n"), 30)
    assert whole.startswith(top[:-3])
    assert top.count(b"\n") == 100_003
    assert await client.line() == f"+OK 1 {len(sent)}"


async def test_what_imap_does_meanwhile(start: Start) -> None:
    host = await start()
    for number in range(4):
        maildir.put(host.inbox, b"Subject: %d\n\n" % number)
    client = await host.logged_in()
    inbox = folder.Folder(host.inbox, host.inbox)
    changes.store(inbox, [1, 2], "+", ["\\Flagged"])
    changes.expunge(inbox, [3])
    maildir.put(host.inbox, MAIL)
    assert await client.say("STAT") == "+OK 4 56"  # the session's view stays
    assert await client.many("RETR 1") == ["Subject: 0", ""]
    assert await client.many("TOP 2 0") == ["Subject: 1", ""]
    assert await client.say("RETR 3") == "-ERR Message is no longer there"
    for number in (1, 3, 4):
        assert (await client.say(f"DELE {number}")).startswith("+OK")
    assert (await client.say("QUIT")).startswith("+OK")
    left = inbox.sync()
    assert [entry.uid for entry in left.entries] == [2, 5]


async def test_what_was_fetched_is_marked_as_read(start: Start) -> None:
    host = await start()
    maildir.put(host.inbox, MAIL), maildir.put(host.inbox, MAIL)
    client = await host.logged_in()
    await client.many("RETR 2")
    await client.many("TOP 1 5")
    await client.say("QUIT")
    snapshot = folder.Folder(host.inbox, host.inbox).sync()
    assert [snapshot.flags(entry) for entry in snapshot.entries] == [(), ("\\Seen",)]


async def test_marking_can_be_switched_off(start: Start) -> None:
    host = await start("[pop3d]\nmark_seen = false")
    maildir.put(host.inbox, MAIL)
    client = await host.logged_in()
    await client.many("RETR 1")
    await client.say("QUIT")
    assert len(os.listdir(f"{host.inbox}/new")) == 1


async def test_a_message_that_became_something_else_is_not_served(start: Start, tmp_path: Path) -> None:
    host = await start()
    names = [maildir.put(host.inbox, MAIL) for _ in range(3)]
    client = await host.logged_in()
    (tmp_path / "secret").write_text("not for mail")
    for name in names[:2]:
        os.unlink(f"{host.inbox}/new/{name}")
    os.symlink(tmp_path / "secret", f"{host.inbox}/new/{names[0]}")
    os.mkfifo(f"{host.inbox}/new/{names[1]}")
    assert await client.say("RETR 1") == "-ERR [SYS/TEMP] Message cannot be read"
    assert await client.say("TOP 2 1") == "-ERR [SYS/TEMP] Message cannot be read"
    assert await client.many("RETR 3") == ["Subject: x", "", "hello", ".."]


async def test_whatever_other_programs_drop(start: Start) -> None:
    host = await start()
    good = maildir.put(host.inbox, MAIL)
    for sub in ("new", "cur"):
        os.mkfifo(f"{host.inbox}/{sub}/fifo,S=1,W=1")
        os.symlink("/etc/passwd", f"{host.inbox}/{sub}/link,S=1,W=1:2,S")
        os.mkdir(f"{host.inbox}/{sub}/directory")
    foreign = os.fsencode(f"{host.inbox}/cur/") + b"\xff'\"quoted blank\xfe:2,S"
    Path(os.fsdecode(foreign)).write_bytes(b"no size in the name\n")
    client = await host.logged_in()
    assert await client.say("STAT") == f"+OK 2 {len(MAIL) + 4 + 21}"
    assert sorted([await client.many("RETR 1"), await client.many("RETR 2")]) == [
        ["Subject: x", "", "hello", ".."], ["no size in the name"]]
    assert os.path.exists(f"{host.inbox}/new/{good}")


async def test_a_maildir_that_cannot_be_read(start: Start) -> None:
    host = await start()
    os.rename(host.inbox, f"{host.inbox}.aside")
    Path(host.inbox).write_text("not a directory")
    client = await host.client()
    assert await client.log_in() == "-ERR [SYS/TEMP] The mailbox cannot be opened"
    os.unlink(host.inbox)
    os.rename(f"{host.inbox}.aside", host.inbox)
    assert await client.log_in() == "+OK Logged in"


async def test_a_failed_update_is_told(start: Start) -> None:
    host = await start()
    maildir.put(host.inbox, MAIL)
    client = await host.logged_in()
    assert (await client.say("DELE 1")).startswith("+OK")
    os.rename(host.inbox, f"{host.inbox}.aside")
    assert await client.say("QUIT") == "-ERR [SYS/TEMP] Some deleted messages were not removed"
    assert await client.ended()


async def test_a_first_log_in_makes_the_mailbox(start: Start) -> None:
    host = await start()
    client = await host.logged_in("weber")
    assert await client.say("STAT") == "+OK 0 0"
    assert maildir.folders(str(host.paths.maildirs / "weber")) == ["INBOX", "Drafts", "Junk", "Sent", "Trash"]


async def test_uidls_of_another_server_stay(start: Start) -> None:
    host = await start()
    Path(host.inbox, "cur", "1.a:2,S").write_bytes(MAIL)
    Path(host.inbox, "cur", "2.b:2,S").write_bytes(MAIL)
    Path(host.inbox, "dovecot-uidlist").write_text("3 V17 N9 Gaa\n7 Pold-uidl :1.a\n8 :2.b\n")
    client = await host.logged_in()
    assert await client.many("UIDL") == ["1 old-uidl", "2 0000000800000011"]
    assert await client.say("UIDL 1") == "+OK 1 old-uidl"


async def test_asking_without_waiting_and_closing_ones_side(start: Start) -> None:
    host = await start()
    maildir.put(host.inbox, MAIL)
    client = await host.client()
    client.writer.write(f"USER meier\r\nPASS {PASSWORD}\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n".encode())
    client.writer.write_eof()
    said = (await asyncio.wait_for(client.reader.read(), 30)).decode().split("\r\n")
    assert said[-3:] == ["+OK Marked as deleted", "+OK Bye", ""]
    assert os.listdir(f"{host.inbox}/new") == []


async def test_stopping_lets_the_answer_in_the_making_out(start: Start) -> None:
    host = await start()
    maildir.put(host.inbox, b"Subject: x\n\n" + (b"y" * 99 + b"\n") * 60_000)
    busy, idle = await host.logged_in(limit=1 << 24), await host.logged_in("weber")
    busy.writer.write(b"RETR 1\r\nNOOP\r\n")
    assert (await busy.line()).startswith("+OK")
    draining = asyncio.create_task(host.service.drain(5))
    assert (await asyncio.wait_for(busy.reader.readuntil(b"\r\n.\r\n"), 30)).endswith(b"\r\n.\r\n")
    assert await busy.ended()
    assert await idle.ended()
    await draining
    assert not host.sessions()
