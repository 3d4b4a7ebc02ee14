"""POP3 clients that mean harm: each gets an -ERR or has to go, soon, and nothing is deleted by mistake."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import log
from lanmail.pop3 import service, session
from tests import imapserver
from tests.imapserver import PASSWORD, message

NUMBERS = [
    "0",
    "-1",
    "+1",
    "3",
    "4294967296",
    "1" * 400,
    "1.0",
    "1e0",
    "0x1",
    "one",
    "",
    "*",
    "1,2",
    "1:2",
    "\u0661",
    "1\t",
    "\xb2",
]


class Drop:
    """A POP3 server on an account with two mails."""

    def __init__(self, port: int, root: Path, where: Path) -> None:
        self.port, self.root, self.log = port, root, where

    async def say(self, data: bytes, *, seconds: float = 30) -> bytes:
        """A connection on which this is said; all that comes until the server or the end of input closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        with contextlib.suppress(OSError):
            writer.write(data)
            writer.write_eof()
        answer = b""
        with contextlib.suppress(ConnectionError):  # it was sent away with input that nobody read
            while data := await asyncio.wait_for(reader.read(1 << 20), seconds):
                answer += data
        writer.close()
        return answer

    async def inside(self, *lines: str | bytes) -> list[bytes]:
        """The answers to these lines after a log-in."""
        text = [line.encode("utf-8") if isinstance(line, str) else line for line in lines]
        answer = await self.say(b"\r\n".join([b"USER meier", b"PASS " + PASSWORD.encode(), *text, b"NOOP", b""]))
        return answer.split(b"\r\n")[3:-1]

    def mails(self) -> int:
        return len(list(self.root.glob("new/*"))) + len(list(self.root.glob("cur/*")))


@pytest.fixture
async def drop(tmp_path: Path) -> AsyncIterator[Drop]:
    async with imapserver.running(tmp_path) as server:
        log.setup("test", server.paths.log)
        loop, config = asyncio.get_running_loop(), server.worker.config
        own = service.Service(server.paths, lambda: config)
        listening = await loop.create_server(
            functools.partial(session.Session, own, loop, implicit=False), "127.0.0.1", 0
        )
        for subject in ("eins", "zwei"):
            server.deliver(message(subject, ".\n..\n.punkt\n"))
        yield Drop(listening.sockets[0].getsockname()[1], Path(server.root()), server.paths.log)
        listening.close()
        await own.drain(1)
        own.close()
        said = "".join(path.read_text() for path in server.paths.log.glob("*.log"))
        assert "Traceback" not in said
        assert "internal-error" not in said


@pytest.mark.parametrize("verb", ["RETR", "DELE", "LIST", "UIDL", "TOP"])
async def test_numbers_that_are_none(drop: Drop, verb: str) -> None:
    for number in NUMBERS:
        if verb in ("LIST", "UIDL") and not number:
            continue
        answer = await drop.inside(f"{verb} {number}" + (" 1" if verb == "TOP" else ""))
        assert answer[0].startswith(b"-ERR"), (number, answer)
    assert drop.mails() == 2


@pytest.mark.parametrize("lines", ["", "1", "1 -1", "1 x", "1 1 1"])
async def test_top_without_right_numbers(drop: Drop, lines: str) -> None:
    assert (await drop.inside(f"TOP {lines}"))[0].startswith(b"-ERR")


async def test_dots_are_stuffed_and_octets_are_counted(drop: Drop) -> None:
    answer = await drop.inside("LIST 1", "RETR 1")
    size = int(answer[0].split()[2])
    assert answer[1] == b"+OK %d octets" % size
    end = answer.index(b".")
    text = [line[1:] if line.startswith(b".") else line for line in answer[2:end]]
    assert len(b"\r\n".join(text) + b"\r\n") == size
    assert text[-3:] == [b".", b"..", b".punkt"]


@pytest.mark.parametrize("last", [b"", b"QUI", b"QUIT now\r\nx"])
async def test_without_quit_nothing_is_deleted(drop: Drop, last: bytes) -> None:
    await drop.say(b"USER meier\r\nPASS geheim\r\nDELE 1\r\nDELE 2\r\n" + last)
    assert drop.mails() in ((2,) if last != b"QUIT now\r\nx" else (0, 2))


async def test_states(drop: Drop) -> None:
    outside = (await drop.say(b"STAT\r\nRETR 1\r\nDELE 1\r\nPASS geheim\r\n")).split(b"\r\n")[1:]
    assert all(line.startswith(b"-ERR") for line in outside if line)
    assert [line[:4] for line in await drop.inside("USER weber", "PASS x", "STLS", "AUTH PLAIN")][:4] == [b"-ERR"] * 4


@pytest.mark.parametrize(
    "flood",
    [
        b"x" * 200_000,
        b"NOOP " * 40_000,
        b"x\r\n" * 20_000,
        b"\r\n" * 50_000,
        b"\0" * 50_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" * 50,
        b"USER a\r\nPASS b\0c\r\n" * 100,
        b"AUTH PLAIN " + b"A" * 60_000 + b"\r\n",
        b"AUTH PLAIN =\r\n" * 50,
        b"AUTH LOGIN\r\n" + b"*\r\n" * 100,
        b"USER " + b"a" * 10_000 + b"\r\n",
        b"USER ../../etc\r\nPASS x\r\n" * 3,
    ],
)
async def test_floods_before_log_in_end_soon(drop: Drop, flood: bytes) -> None:
    began = time.monotonic()
    answer = await drop.say(flood, seconds=60)
    assert time.monotonic() - began < 15
    assert len(answer) < 200_000
    assert b"Logged in" not in answer


async def test_errors_after_log_in_end_the_connection(drop: Drop) -> None:
    answer = await drop.inside(*["RETR 9"] * 2000)
    assert len(answer) < 1000
    assert drop.mails() == 2


async def test_guessing_ends_the_connection_and_gets_slow(drop: Drop) -> None:
    answer = await drop.say(b"".join(b"USER meier\r\nPASS wrong%d\r\n" % number for number in range(20)))
    assert answer.count(b"[AUTH]") == 5
    assert b"+OK Logged in" not in answer


async def test_pipelined_commands_are_answered_in_order(drop: Drop) -> None:
    answer = await drop.inside(*["STAT"] * 3000)
    assert len(answer) == 3001
    assert set(answer[:-1]) == {answer[0]}


async def test_a_client_that_does_not_read(drop: Drop) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", drop.port, limit=1024)
    writer.write(b"USER meier\r\nPASS geheim\r\n" + b"RETR 1\r\n" * 50_000)
    other = await drop.say(b"CAPA\r\nQUIT\r\n")
    assert other.endswith(b"+OK Bye\r\n")
    writer.transport.abort()
