"""The IMAP wire: pieces, limits, time-outs, flow control."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lanmail.imap import wire

Talk = Callable[[wire.Connection], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, list[wire.Connection]]]:
    """A server whose sessions are `talk`, and one client connected to it."""
    made: list[wire.Connection] = []

    async def run(connection: wire.Connection) -> None:
        made.append(connection)
        try:
            await talk(connection)
        except wire.Closed:
            pass
        finally:
            connection.close()

    server = await asyncio.get_running_loop().create_server(lambda: wire.Connection(run), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer, made
    finally:
        writer.close()
        server.close()
        await server.wait_closed()
        for connection in made:
            assert connection.task is not None
            await asyncio.wait({connection.task}, timeout=20)


async def test_lines_arrive_whole_however_they_are_cut() -> None:
    got: list[bytes] = []

    async def talk(connection: wire.Connection) -> None:
        for _ in range(3):
            got.append(await connection.line(100, 5))
        connection.write(b"done")

    async with served(talk) as (reader, writer, _):
        for piece in (b"on", b"e\r", b"\ntw", b"o\nthree\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert await reader.read() == b"done"
    assert got == [b"one", b"two", b"three"]


async def test_a_literal_is_acknowledged_at_once() -> None:
    """A client with Nagle's algorithm holds the end of its command back until it knows that the literal came."""
    async def talk(connection: wire.Connection) -> None:
        await connection.line(100, 5)
        connection.write(b"+ OK\r\n")
        await connection.exactly(5, 5)

    async with served(talk) as (reader, writer, made):
        writer.write(b"a APPEND x {5}\r\n")
        await reader.readline()
        assert made[0]._transport is not None
        line = made[0]._transport.get_extra_info("socket")
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
        writer.write(b"12345")


async def test_a_line_that_is_too_long_is_refused_and_can_be_skipped() -> None:
    async def talk(connection: wire.Connection) -> None:
        with pytest.raises(wire.TooLong) as refused:
            await connection.line(10, 5)
        assert refused.value.start == b"x" * 10
        await connection.skip_line(5)
        connection.write(await connection.line(10, 5))

    async with served(talk) as (reader, writer, _):
        writer.write(b"x" * 100_000)
        await asyncio.sleep(0.01)
        writer.write(b"x\r\nnext\r\n")
        assert await reader.read() == b"next"


async def test_a_flood_stays_in_the_kernel() -> None:
    flooded = asyncio.Event()

    async def talk(connection: wire.Connection) -> None:
        await flooded.wait()
        assert len(connection._input) <= 2 * wire.INPUT_HIGH + (1 << 18)
        await connection.skip(16 << 20, 5)
        connection.write(await connection.line(10, 5))

    async with served(talk) as (reader, writer, _):
        writer.write(b"\0" * (16 << 20) + b"end\r\n")
        await asyncio.sleep(0.05)
        flooded.set()
        assert await asyncio.wait_for(reader.read(), 20) == b"end"


async def test_a_client_that_does_not_read_costs_bounded_memory() -> None:
    written = 0

    async def talk(connection: wire.Connection) -> None:
        nonlocal written
        while True:
            connection.write(b"x" * 65536)
            written += 65536
            if connection.full:
                await connection.drain(0.2)
            await asyncio.sleep(0)

    async with served(talk) as (_, _writer, made):
        while not made:
            await asyncio.sleep(0.01)
        task = made[0].task
        assert task is not None
        await asyncio.wait_for(asyncio.shield(task), 20)
        assert made[0].lost or made[0].full
    assert written < 16 << 20  # what kernel and stream buffers take, and no more


async def test_silence_ends_in_a_time_out() -> None:
    outcome: list[str] = []

    async def talk(connection: wire.Connection) -> None:
        try:
            await connection.line(100, 0.05)
        except wire.TimedOut:
            outcome.append("timed out")

    async with served(talk) as (reader, _, _made):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    assert outcome == ["timed out"]


async def test_commands_before_a_half_close_are_answered() -> None:
    async def talk(connection: wire.Connection) -> None:
        while True:
            connection.write(b"<" + await connection.line(100, 5) + b">")

    async with served(talk) as (reader, writer, _):
        writer.write(b"a\r\nb\r\n")
        writer.write_eof()
        assert await reader.read() == b"<a><b>"


async def test_an_interrupt_waits_for_the_end_of_the_command() -> None:
    steps: list[str] = []

    async def talk(connection: wire.Connection) -> None:
        try:
            connection.interruptible = False
            steps.append((await connection.line(100, 5)).decode())
            connection.interruptible = True
            await connection.line(100, 5)
        except wire.Interrupted:
            steps.append("interrupted")

    async with served(talk) as (reader, writer, made):
        while not made:
            await asyncio.sleep(0.01)
        made[0].interrupt("later")
        writer.write(b"last\r\n")
        await asyncio.wait_for(reader.read(), 20)
    assert steps == ["last", "interrupted"]


async def test_wake_returns_from_activity() -> None:
    woken = asyncio.Event()

    async def talk(connection: wire.Connection) -> None:
        await connection.activity(5)
        woken.set()

    async with served(talk) as (_, _writer, made):
        while not made:
            await asyncio.sleep(0.01)
        made[0].wake()
        await asyncio.wait_for(woken.wait(), 20)
