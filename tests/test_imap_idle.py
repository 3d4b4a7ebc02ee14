"""IDLE: what happens is said at once, whenever it happens."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.folders import changes, folder
from lanmail.imap import box
from tests import imapserver
from tests.imapserver import message, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with running(tmp_path) as one:
        yield one


async def test_idle_hears_of_what_happens_while_it_looks(
        server: imapserver.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    heard, look = threading.Event(), changes.take_recent
    happened = box.Box._happened
    monkeypatch.setattr(box.Box, "_happened", lambda *arguments: (happened(*arguments), heard.set()))
    client = await server.client(select="INBOX")

    def slow_look(inbox: folder.Folder) -> object:
        found = look(inbox)
        if len(found[0]) == 1:
            heard.clear()
            server.deliver(message("second"))
            assert heard.wait(20)
        return found

    monkeypatch.setattr(changes, "take_recent", slow_look)
    client.send("i IDLE\r\n")
    assert await client.line() == b"+ idling"
    server.deliver(message("first"))
    assert await client.line() == b"* 1 EXISTS"
    assert await client.line() == b"* 1 RECENT"
    assert await client.line() == b"* 2 EXISTS"  # by the event: no sweep runs here
