"""APPEND that fails: whatever the reason, the lines of the message are never taken for commands."""

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import imapserver
from tests.imapserver import running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with running(tmp_path) as one:
        yield one


@pytest.mark.parametrize("before", [
    b"APPEND INBOX (\\Klingon)", b"APPEND INBOX nonsense", b"APPEND", b"APPEND INBOX UTF8 (", b"UID REPLACE 1 INBOX",
    b"REPLACE x INBOX", b'APPEND INBOX "no date"'])
async def test_the_lines_of_a_refused_message_are_no_commands(server: imapserver.Server, before: bytes) -> None:
    client = await server.client()
    letter = b"x CREATE Falle\r\ny LOGOUT\r\n"
    client.send(b"a %b {%d+}\r\n%b\r\n" % (before, len(letter), letter))
    assert (await client.line()).split(b" ")[:2] == [b"a", b"BAD"]
    assert await client.ok("LIST \"\" Falle") == []


async def test_a_full_disk_does_not_make_commands_of_a_message(
    server: imapserver.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    client = await server.client()
    monkeypatch.setattr("lanmail.atomic.write_all", full)
    letter = b"x CREATE Falle\r\n" * 50_000
    for tilde in (b"", b"~"):
        client.send(b"a APPEND INBOX %b{%d+}\r\n%b\r\n" % (tilde, len(letter), letter))
        assert (await client.line()).startswith(b"a NO [OVERQUOTA]")
        assert len(await client.command("LIST \"\" Falle")) == 1
