"""Fetching by POP3 from servers that are not like Dovecot: without UIDL, in use, refusing, lost in between."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.clients.pop3wire import Broken
from lanmail.incoming import Source
from lanmail.sources import place, pop3
from lanmail.sources.visit import Visit
from tests.fetchroot import Root, message
from tests.pop3peer import Peer
from tests.test_tunnel import Proxy

MAILS = [message(number).replace(b"\n", b"\r\n") for number in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root", 'every = "10s"')


async def once(root: Root, peer: Peer, **keys: object) -> int:
    root.source("x", protocol="pop3", host="127.0.0.1", port=peer.port, tls="none", user="meier",
                password=root.secret("x", "geheim"), **{"timeout": "30s", **keys})
    return await asyncio.to_thread(root.once)


async def test_without_uidl_keeping_copies_is_refused_loudly(root: Root) -> None:
    async with Peer(MAILS) as peer:
        assert await once(root, peer) == 75
        assert root.mails() == []
        assert "has no UIDL" in root.status().error
        assert b"delete = true" in root.notices()[0]
        assert await once(root, peer, delete=True) == 0
        assert len(root.mails()) == 3
        assert len(peer.deleted) == 3


async def test_without_uidl_a_mail_that_could_not_be_deleted_comes_once(root: Root) -> None:
    async with Peer(MAILS, script={"QUIT": "close"}) as peer:
        assert await once(root, peer, delete=True) == 75
        assert "QUIT" in root.status().error
        assert len(root.mails()) == 3
        assert not peer.deleted
        peer.script = {}
        assert await once(root, peer, delete=True) == 0
        assert len(root.mails()) == 3
        assert len(peer.deleted) == 3
        box, = place.directory(root.paths, "meier", "x").glob("*.uids")
        assert box.read_text() == ""


@pytest.mark.parametrize("broken", ["close", "hang", b"+OK\r\nSubject: half a ma"])
async def test_a_connection_lost_in_the_middle(root: Root, broken: Any) -> None:
    """What was whole is here; the rest comes at the next visit, and nothing twice."""
    script: dict[str, Any] = {"RETR": lambda line: broken if line == "RETR 3" else None}
    async with Peer(MAILS, "UIDL", script=script) as peer:
        assert await once(root, peer, timeout="30s" if broken == "close" else "1s") == 75
        assert root.status().failures == 1
        peer.script = {}
        assert await once(root, peer) == 0
        assert len(root.mails()) == 3
        assert len(set(root.mails())) == 3
        assert list(root.queue.tmp.iterdir()) == []


@pytest.mark.parametrize("features", [("UIDL",), ("UIDL", "PIPELINING")])
async def test_a_mail_at_which_the_server_always_breaks_off_keeps_no_other_back(
        root: Root, features: tuple[str, ...]) -> None:
    """Nothing of its batch came, and nothing after it."""
    script: dict[str, Any] = {"RETR": lambda line: "close" if line == "RETR 2" else None}
    async with Peer(MAILS, *features, script=script) as peer:
        source = Source(protocol="pop3", host="127.0.0.1", port=peer.port, tls="none", user="meier",
                        password=root.secret("x", "geheim"), timeout=1.0)
        visit = Visit(root.paths, config.load(root.paths), "meier", "x", source, root.queue)
        driver = pop3.Driver()
        for there in (1, 2, 2):
            with pytest.raises(Broken):
                await driver.fetch(visit)
            assert len(root.mails()) == there
        peer.script = {}
        assert (await driver.fetch(visit)).fetched == 1
        assert len(set(root.mails())) == 3


async def test_a_mail_that_the_server_does_not_give_keeps_no_other_back(root: Root) -> None:
    script: dict[str, Any] = {"RETR": lambda line: "-ERR [SYS/PERM] damaged" if line == "RETR 2" else None}
    async with Peer(MAILS, "UIDL", "PIPELINING", script=script) as peer:
        assert await once(root, peer, delete=True) == 0
        assert len(root.mails()) == 2
        assert peer.deleted == {1, 3}
        assert "mail-refused source=meier/x" in root.log()


@pytest.mark.parametrize("word", ["IN-USE", "LOGIN-DELAY"])
async def test_a_mailbox_in_use_is_no_failure(root: Root, word: str) -> None:
    async with Peer(MAILS, "UIDL", script={"PASS": f"-ERR [{word}] not now"}) as peer:
        await once(root, peer)
        assert (root.status().failures, root.notices()) == (0, [])
        assert "not now" in root.status().error


async def test_the_servers_login_delay_is_kept(root: Root) -> None:
    async with Peer(MAILS, "UIDL", "LOGIN-DELAY 900") as peer:
        assert await once(root, peer) == 0
        found = root.status()
        assert found.next - found.tried == pytest.approx(900, abs=60)


@pytest.mark.parametrize("features", [("UIDL",), ("UIDL", "PIPELINING")])
async def test_commands_are_sent_ahead_only_where_the_server_takes_them(root: Root, features: tuple[str, ...]) -> None:
    ahead: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Looks, before each answer, how many commands came."""
        usual = Peer([message(number).replace(b"\n", b"\r\n") for number in range(120)], *features)
        writer.write(b"+OK\r\n")
        waiting = b""
        while piece := await reader.read(1 << 16):
            waiting += piece
            ahead.append(waiting.count(b"\r\n"))
            while b"\r\n" in waiting:
                line, _, waiting = waiting.partition(b"\r\n")
                said = usual._usual(line.decode(), set())
                writer.write(said if isinstance(said, bytes) else said.encode() + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    peer = Peer()
    peer.port = server.sockets[0].getsockname()[1]
    assert await once(root, peer) == 0
    server.close()
    await asyncio.sleep(0.05)
    assert len(root.mails()) == 120
    assert (max(ahead) > 20) is ("PIPELINING" in features)
    assert max(ahead) <= 50


async def test_lists_that_do_not_fit_together_fetch_nothing(root: Root) -> None:
    async with Peer(MAILS, "UIDL", script={"UIDL": "+OK\r\n1 a\r\n."}) as peer:
        assert await once(root, peer) == 75
        assert root.mails() == []
        assert "lists 1 ids for 3 mails" in root.status().error


async def test_a_hostile_header_stays_a_header(root: Root) -> None:
    text = (b"Return-Path: <x@y>\r\n X-Receiver: <all@office.lan>\r\nX-Receiver: <all@office.lan>\r\n"
            b"X-Origin: submission account=chef\r\nSubject: \x1b[2J\r\n\r\nbody\r\n")
    async with Peer([text, b"", b"no header at all\r\n"], "UIDL") as peer:
        assert await once(root, peer) == 0
    assert len(root.entries()) == 3
    for one in root.entries():
        head = one.split(b"\n")
        assert head[1:3] == [b"X-Receiver: <meier@office.lan>", b"X-Origin: fetch source=meier/x"]
        assert not head[3].startswith(b"X-")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_through_a_proxy_that_wants_a_log_in(root: Root, scheme: str) -> None:
    async with Peer(MAILS, "UIDL") as peer, Proxy(user="u", password="p") as proxy:
        keys = {"proxy": f"{scheme}://127.0.0.1:{proxy.port}", "proxy_user": "u"}
        assert await once(root, peer, **keys, proxy_password=root.secret("proxy", "wrong")) == 75
        assert "proxy" in root.status().error
        root.secret("proxy", "p")
        assert await once(root, peer, **keys) == 0
        assert proxy.asked == [f"127.0.0.1:{peer.port}"]
    assert len(root.mails()) == 3


async def test_two_sources_of_two_accounts(root: Root) -> None:
    async with Peer(MAILS, "UIDL") as peer:
        root.source("y", "chef", protocol="pop3", host="127.0.0.1", port=peer.port, tls="none", user="chef",
                    password=root.secret("y", "geheim"))
        assert await once(root, peer) == 0
    assert sum(b"X-Receiver: <chef@office.lan>" in one for one in root.entries()) == 3
    assert sum(b"X-Receiver: <meier@office.lan>" in one for one in root.entries()) == 3
