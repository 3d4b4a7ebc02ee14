"""A message is read and parsed once for all the parts that a client asks for, one command after the other."""

import os
from pathlib import Path

import pytest

from lanmail.imap import held, section
from lanmail.mime import tree
from tests import imapserver

MIXED = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
         b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n")


async def test_parts_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[bytes] = []
    scan = tree.scan
    monkeypatch.setattr(tree, "scan", lambda data: scanned.append(data) or scan(data))
    async with imapserver.running(tmp_path) as server:
        client = await server.client(select="INBOX")
        await client.append(MIXED)
        await client.append(MIXED.replace(b"two", b"zwei"))
        for number, said in ((1, b"two"), (2, b"zwei")):
            assert b"{3}\r\none" in (await client.ok(f"FETCH {number} BODY[1]"))[0]
            assert said in (await client.ok(f"FETCH {number} BODY.PEEK[2]"))[0]
            assert b"Content-Type: multipart" in (await client.ok(f"FETCH {number} BODY.PEEK[HEADER]"))[0]
            assert b"{1}\r\nn" in (await client.ok(f"FETCH {number} BODY.PEEK[1]<1.1>"))[0]
        assert len(scanned) == 2


def test_a_file_that_changes_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "mail"
    path.write_bytes(b"a")
    before = held.key_of(path.stat())
    assert held.key_of(path.stat()) == before
    path.write_bytes(b"ab")
    assert held.key_of(path.stat()) != before
    grown = held.key_of(path.stat())
    os.utime(path, (1, 1))
    assert held.key_of(path.stat()) != grown


def test_room_is_bounded_and_the_one_not_used_for_the_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    room = held.Held(100)
    keys = [(1, inode, 1, 1) for inode in range(4)]
    for key in keys[:2]:
        room.put(key, section.Source(b"x"), 40)
    assert room.get(keys[0]) is not None
    room.put(keys[2], section.Source(b"x"), 40)
    assert [room.get(key) is not None for key in keys[:3]] == [True, False, True]
    room.put(keys[3], section.Source(b"x"), 51)
    assert room.get(keys[3]) is None, "more than half of it"
    monkeypatch.setattr(held, "SECONDS", -1.0)
    room.sweep()
    assert not any(room.get(key) for key in keys)
