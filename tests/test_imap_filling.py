"""What our own sessions store, copy and move is listed without being opened."""

import asyncio
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import summaries
from lanmail.imap import worker
from tests import imapserver

ITEMS = "(ENVELOPE INTERNALDATE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject From)])"


async def learned(path: str, count: int) -> None:
    """Wait until the cache of a folder has so many records."""
    cache = summaries.Cache(path)
    async with asyncio.timeout(30):
        while True:
            with cache.reading() as kept:
                bases = [name.partition(":")[0] for name in maildir.list_names(f"{path}/cur")]
                if sum(kept.get(base) is not None for base in bases) >= count:
                    return
            await asyncio.sleep(0.01)


async def test_append_copy_move(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        client = await server.client(select="INBOX")
        await client.append(imapserver.message("eins"))
        assert not summaries.exists(server.root()), "nobody asked for this folder yet"
        first = await client.ok(f"FETCH 1 {ITEMS}")
        await learned(server.root(), 1)
        await client.append(imapserver.message("zwei"))
        await learned(server.root(), 2)
        await client.ok("COPY 1:2 Sent")
        await learned(f"{server.root()}/.Sent", 2)
        await client.ok("MOVE 2 Trash")
        await learned(f"{server.root()}/.Trash", 1)
        for path in Path(server.root()).rglob("cur/*"):
            path.write_bytes(path.read_bytes().replace(b"Subject", b"Ssubject"))  # would be told if it were opened
        await client.ok("SELECT Sent")
        copies = await client.ok(f"FETCH 1:2 {ITEMS}")
        assert copies[0] == first[0]
        assert b'"zwei"' in copies[1]
        await client.ok("SELECT Trash")
        assert b'"zwei"' in (await client.ok(f"FETCH 1 {ITEMS}"))[0]


async def test_what_is_gone_is_taken_out_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what went while nobody looked: at the latest when the folder has been in use for so long."""
    monkeypatch.setattr(worker, "SWEEP", 0.05)
    monkeypatch.setattr(worker, "GONE_KEPT", 0.3)
    async with imapserver.running(tmp_path) as server:
        sweeping = asyncio.create_task(server.worker.sweep())
        for subject in ("bleibt", "geheimnis", "auch geheim"):
            server.deliver(imapserver.message(subject))
        client = await server.client(select="INBOX")
        await client.ok(f"FETCH 1:3 {ITEMS}")
        await learned(server.root(), 3)
        file = Path(server.root(), summaries.NAME)
        assert b"geheimnis" in file.read_bytes()
        await client.ok("STORE 2:3 +FLAGS (\\Deleted)")
        await client.ok("EXPUNGE")
        async with asyncio.timeout(30):
            while b"geheim" in file.read_bytes():
                await asyncio.sleep(0.02)
        assert b"bleibt" in file.read_bytes()
        untouched = file.stat().st_ino
        await asyncio.sleep(0.5)
        assert file.stat().st_ino == untouched, "nothing is gone, nothing is written"
        sweeping.cancel()
