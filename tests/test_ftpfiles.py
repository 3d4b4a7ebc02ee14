"""ftpfiles.py against servers that no real one is: those that keep us waiting."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from lanmail import outgoing
from lanmail.clients import ftpfiles
from lanmail.transports import Unreachable


def way(port: int, timeout: str = "1s") -> outgoing.Outgoing:
    return outgoing.Outgoing.model_validate({"webspace": {
        "upload": "ftp", "host": "127.0.0.1", "port": port, "user": "u", "timeout": timeout}})


async def _dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting that comes in too slowly for an end, and never too slowly for the next octet."""
    try:
        while True:
            writer.write(b"220-still here\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)
    except OSError:
        pass
    finally:
        writer.close()


async def _flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer):
        writer.write(b"220-more\r\n" * (2 * ftpfiles.MAX_LINES))
        await writer.drain()


@pytest.mark.parametrize(("server", "timeout", "words"), [
    (_dribble, "1s", "no end within 1 s"), (_flood, "20s", "an answer without end")])
async def test_a_greeting_has_an_end(tmp_path: Path, server, timeout: str, words: str) -> None:
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=words):
            async with ftpfiles.Ftp(way(listening.sockets[0].getsockname()[1], timeout), tmp_path):
                pass
        assert time.monotonic() - began < 15


async def test_servers_that_keep_us_waiting_leave_names_to_be_resolved(tmp_path: Path) -> None:
    async with await asyncio.start_server(_dribble, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]

        async def stuck() -> None:
            with pytest.raises(Unreachable):
                async with ftpfiles.Ftp(way(port, "4s"), tmp_path):
                    pass

        waiting = [asyncio.create_task(stuck()) for _ in range(40)]
        await asyncio.sleep(0.1)
        assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 25)
        assert await asyncio.to_thread(lambda: 5) == 5
        assert not any(one.done() for one in waiting), "it had to wait for them"
        await asyncio.gather(*waiting)
