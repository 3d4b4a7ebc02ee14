"""Lasting ids (RFC 8474) and save dates (RFC 8514), as file names tell them and as clients see them."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import objectids
from tests import imapserver


def test_an_id_is_made_of_the_base_name_or_handed_down() -> None:
    first = objectids.of_message("1700000000.M1P2.host,S=3,W=4")
    assert re.fullmatch("M[0-9a-f]{24}", first)
    assert first != objectids.of_message("1700000000.M1P3.host,S=3,W=4")
    copy = "1800000000.M1P2.host,S=3,W=4" + objectids.mark("1700000000.M1P2.host,S=3,W=4")
    again = "1900000000.M1P2.host,S=3,W=4" + objectids.mark(copy)
    assert objectids.of_message(copy) == objectids.of_message(again) == first
    assert maildir.sizes_of(copy) == (3, 4)
    assert objectids.of_message("a,E=zz") != objectids.of_message("a")


def test_when_it_was_saved() -> None:
    assert objectids.saved("1700000000.M1P2.host,S=3") == 1700000000
    assert objectids.saved("1700000000.x") == 1700000000
    for name in ("msg.1", "12.x", "1700000000", "", "170000000000000.x"):
        assert objectids.saved(name) is None


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with imapserver.running(tmp_path) as one:
        yield one


def ids(lines: list[bytes]) -> list[bytes]:
    return [found[1] for line in lines if (found := re.search(rb"EMAILID \((M\w+)\)", line))]


async def test_copies_and_what_is_moved_keep_the_id(server: imapserver.Server) -> None:
    for _ in range(2):
        server.deliver(imapserver.message())
    client = await server.client(select="INBOX")
    first, second = ids(await client.ok("FETCH 1:2 (EMAILID THREADID)"))
    assert first != second
    await client.ok("COPY 1:2 Trash")
    await client.ok("STORE 1 +FLAGS (\\Flagged $Forwarded)")
    await client.ok("MOVE 2 Junk")
    assert ids(await client.ok("FETCH 1 EMAILID")) == [first]
    await client.ok("SELECT Trash")
    assert ids(await client.ok("FETCH 1:* (EMAILID)")) == [first, second]
    await client.ok("COPY 1 Junk")
    await client.ok("SELECT Junk")
    assert ids(await client.ok("UID FETCH 1:* EMAILID")) == [second, first]
    assert await client.ok(b"UID SEARCH EMAILID " + first) == [b"SEARCH 2"]
    assert await client.ok(b"SEARCH NOT EMAILID " + first) == [b"SEARCH 1"]
    assert await client.ok("SEARCH THREADID T1") == [b"SEARCH"]
    assert await client.ok("FETCH 1 THREADID") == [b"1 FETCH (THREADID NIL)"]
    await client.fails("SEARCH EMAILID a.b", "BAD")


async def test_mailboxes_keep_theirs_when_they_are_renamed(server: imapserver.Server) -> None:
    client = await server.client()
    made = (await client.command("CREATE Alt"))[-1]
    (own,) = re.findall(rb"OK \[MAILBOXID \((F\w+)\)\]", made)
    assert await client.ok("STATUS Alt (MAILBOXID)") == [b"STATUS Alt (MAILBOXID (%b))" % own]
    await client.ok("RENAME Alt Neu")
    assert b"OK [MAILBOXID (%b)] Lasting id." % own in await client.ok("SELECT Neu")
    await client.ok("DELETE Neu")
    assert own not in (await client.command("CREATE Neu"))[-1]
    assert b"MAILBOXID (F" in (await client.ok("STATUS INBOX (MAILBOXID)"))[0]


async def test_the_save_date_is_that_of_the_folder_and_flags_do_not_change_it(server: imapserver.Server) -> None:
    server.deliver(imapserver.message())
    root = server.root()
    (name,) = os.listdir(f"{root}/new")
    os.rename(f"{root}/new/{name}", f"{root}/cur/1000000000.M1P1.host:2,")  # 9 September 2001
    os.utime(f"{root}/cur/1000000000.M1P1.host:2,", (500_000_000, 500_000_000))  # 5 November 1985
    client = await server.client(select="INBOX")
    said = (await client.ok("FETCH 1 (SAVEDATE INTERNALDATE)"))[0]
    assert b'SAVEDATE " 9-Sep-2001' in said
    assert b'INTERNALDATE " 5-Nov-1985' in said
    await client.ok("STORE 1 +FLAGS (\\Seen)")
    assert b'SAVEDATE " 9-Sep-2001' in (await client.ok("FETCH 1 SAVEDATE"))[0]
    for key, found in (("SAVEDON 9-Sep-2001", b" 1"), ("SAVEDBEFORE 9-Sep-2001", b""), ("SAVEDSINCE 9-Sep-2001", b" 1"),
                       ("SAVEDBEFORE 10-Sep-2001", b" 1"), ("ON 9-Sep-2001", b""), ("SAVEDATESUPPORTED", b" 1")):
        assert await client.ok(f"SEARCH {key}") == [b"SEARCH" + found], key
    await client.ok("COPY 1 Trash")
    await client.ok("SELECT Trash")
    said = (await client.ok("FETCH 1 (SAVEDATE INTERNALDATE)"))[0]
    assert b"2001" not in said
    assert b'INTERNALDATE " 5-Nov-1985' in said


async def test_without_a_save_date_the_day_of_arrival_counts(server: imapserver.Server) -> None:
    server.deliver(imapserver.message())
    root = server.root()
    (name,) = os.listdir(f"{root}/new")
    os.rename(f"{root}/new/{name}", f"{root}/cur/odd-name:2,")
    os.utime(f"{root}/cur/odd-name:2,", (500_000_000, 500_000_000))
    client = await server.client(select="INBOX")
    assert await client.ok("FETCH 1 SAVEDATE") == [b"1 FETCH (SAVEDATE NIL)"]
    assert await client.ok("SEARCH SAVEDON 5-Nov-1985") == [b"SEARCH 1"]
