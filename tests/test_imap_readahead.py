"""A first listing of a large folder is read by several processes; whatever happens to them, the answers are right."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from lanmail.folders import summaries
from lanmail.imap import fetch, readahead
from lanmail.mime import summary
from tests import imapserver

ALL = "FETCH 1:* (UID ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)"
FIELDS = "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (Subject From)])"
COUNT = 60


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done for thousands of messages is done for a few."""
    monkeypatch.setattr(readahead, "MANY", 10)
    monkeypatch.setattr(fetch, "BATCH", 5)


def fill(server: imapserver.Server) -> None:
    for number in range(COUNT):
        server.deliver(imapserver.message(f"Brief {number}", f"Zeile\n{'x' * number}\n"))


async def readers(server: imapserver.Server) -> list[readahead.Reader]:
    """Those of the server, once they are there."""
    own = server.worker.readers
    own.wish()
    async with asyncio.timeout(20):
        while own._starting:
            await asyncio.sleep(0.01)
    return own._all


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is parsed by imapd itself."""
    def fail(*_: object) -> None:
        raise AssertionError("read by imapd")

    monkeypatch.setattr(summary, "of", fail)
    monkeypatch.setattr(summary, "of_header", fail)
    return tmp_path


def subjects(lines: list[bytes]) -> list[bytes]:
    return [line.partition(b"Brief ")[2].partition(b'"')[0].partition(b"\r")[0] for line in lines]


EXPECTED = [str(number).encode() for number in range(COUNT)]


@pytest.mark.parametrize("command", [ALL, FIELDS])
async def test_they_read_what_nothing_is_kept_of(plain: Path, command: str) -> None:
    async with imapserver.running(plain) as server:
        fill(server)
        client = await server.client(select="INBOX")
        for one in await readers(server):
            assert await one.ask(b'["/nowhere", true, []]') == 0  # it has started
        # what the command comes to before they could read it would be read by imapd
        own = server.worker.opened(server.root())
        assert own is not None
        ahead = readahead.Ahead(server.worker.readers, own, [own.uids], structures=command is ALL)
        ahead._next, ahead._at = 0, 0
        ahead._ask()
        assert await asyncio.wait_for(ahead._jobs[0][1], 20) == COUNT
        assert subjects(await client.ok(command)) == EXPECTED


async def test_the_answers_are_those_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with imapserver.running(tmp_path) as server:
        fill(server)
        client = await server.client(select="INBOX")
        await readers(server)
        with_readers = await client.ok(ALL)
        os.unlink(f"{server.root()}/{summaries.NAME}")
        monkeypatch.setattr(readahead, "MANY", 1000)
        assert await client.ok(ALL) == with_readers
        assert subjects(with_readers) == EXPECTED


async def test_they_may_die_at_any_time(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        fill(server)
        client = await server.client(select="INBOX")
        for one in await readers(server):
            os.kill(one._child.pid, signal.SIGSTOP)  # it is given work and never does it
        listing = asyncio.create_task(client.ok(ALL))
        await asyncio.sleep(0.2)
        for one in server.worker.readers._all:
            os.kill(one._child.pid, signal.SIGKILL)
        assert subjects(await asyncio.wait_for(listing, 20)) == EXPECTED
        assert subjects(await client.ok(ALL)) == EXPECTED


async def test_one_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "PATIENCE", 0.2)
    async with imapserver.running(tmp_path) as server:
        fill(server)
        client = await server.client(select="INBOX")
        stuck = list(await readers(server))
        for one in stuck:
            os.kill(one._child.pid, signal.SIGSTOP)
        assert subjects(await asyncio.wait_for(client.ok(ALL), 20)) == EXPECTED
        assert any(one.ended for one in stuck)


async def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        fill(server)
        client = await server.client(select="INBOX")
        os.mkdir(f"{server.root()}/{summaries.NAME}")
        os.rmdir(f"{server.root()}/tmp")  # no new one can be made
        await readers(server)
        assert subjects(await client.ok(ALL)) == EXPECTED
        assert not summaries.Cache(server.root()).news()


async def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead.sys, "executable", "/nowhere/python")
    async with imapserver.running(tmp_path) as server:
        fill(server)
        client = await server.client(select="INBOX")
        assert subjects(await client.ok(ALL)) == EXPECTED


async def test_they_end_when_there_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with imapserver.running(tmp_path) as server:
        started = list(await readers(server))
        server.worker.readers.tend()
        assert started
        assert not any(one.ended for one in started)
        monkeypatch.setattr(readahead, "REST", 0.0)
        server.worker.readers.tend()
        await asyncio.wait_for(asyncio.gather(*[one.gone() for one in started]), 20)
        server.worker.readers.tend()
        assert not server.worker.readers._all


def test_what_lies_there_and_is_no_message_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    data = imapserver.message()
    (tmp_path / "cur/whole").write_bytes(data)
    (tmp_path / "cur/growing").write_bytes(data)
    (tmp_path / "cur/empty").touch()
    (tmp_path / "cur/link").symlink_to(tmp_path / "cur/whole")
    os.mkfifo(tmp_path / "cur/pipe")
    (tmp_path / "cur/large").write_bytes(data + b"x" * summary.LARGE)
    found = [(name, f"cur/{name}", None if name == "growing" else os.stat(tmp_path / "cur" / name).st_size)
             for name in sorted(os.listdir(tmp_path / "cur"))]
    made = summary.of_files(str(tmp_path), [*found, ("gone", "cur/gone", 5)])
    assert [record.envelope for record in made] == [summary.of_files(str(tmp_path), [found[-1]])[0].envelope]
    assert summary.of_files(str(tmp_path), found, seconds=-1) == []
    assert summary.of_files(str(tmp_path / "nowhere"), found) == []
