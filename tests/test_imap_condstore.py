"""CONDSTORE and QRESYNC (RFC 7162) where golden dialogs do not reach: several at once, other programs, limits."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import changes, folder
from tests import imapserver
from tests.imapserver import message, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with running(tmp_path) as one:
        yield one


def code(lines: list[bytes], name: str) -> int:
    """The number in a response code."""
    (found,) = [int(value) for line in lines for value in re.findall(rf"\[{name} (\d+)\]".encode(), line)]
    return found


def elsewhere(server: imapserver.Server) -> folder.Folder:
    """The INBOX as another process has it."""
    made = folder.Folder(server.root(), server.root())
    made.number()
    return made


ENABLING = (
    "SELECT INBOX (CONDSTORE)", "EXAMINE INBOX (CONDSTORE)", "STATUS Trash (HIGHESTMODSEQ)", "FETCH 1 (MODSEQ)",
    "UID FETCH 1 (MODSEQ)", "FETCH 1 FLAGS (CHANGEDSINCE 1)", "SEARCH MODSEQ 1", "UID SEARCH NOT MODSEQ 1",
    "SEARCH OR MODSEQ 1 SEEN", "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()", "ENABLE CONDSTORE", "ENABLE QRESYNC",
    "LIST \"\" INBOX RETURN (STATUS (HIGHESTMODSEQ))",
)


@pytest.mark.parametrize("command", ["NOOP", "STATUS Trash (UIDNEXT)", "SEARCH ALL", *ENABLING])
async def test_who_wants_mod_sequences_gets_them(server: imapserver.Server, command: str) -> None:
    server.deliver(message())
    client, other = await server.client(select="INBOX"), await server.client(select="INBOX")
    await client.ok(command)
    await other.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    told = [line for line in await client.ok("NOOP") if b"FETCH" in line]
    assert len(told) == 1
    assert (b"MODSEQ" in told[0]) == (command in ENABLING)


async def test_enabling_while_selected_tells_the_number(server: imapserver.Server) -> None:
    server.deliver(message())
    client = await server.client()
    number = code(await client.ok("SELECT INBOX"), "HIGHESTMODSEQ")
    assert await client.ok("ENABLE CONDSTORE") == [b"OK [HIGHESTMODSEQ %d] Highest." % number, b"ENABLED CONDSTORE"]
    assert await client.ok("ENABLE CONDSTORE QRESYNC") == [b"ENABLED QRESYNC"]


async def test_an_empty_mailbox_has_a_number_too(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok("CREATE Leer")
    number = code(await client.ok("SELECT Leer (CONDSTORE)"), "HIGHESTMODSEQ")
    assert number > 0
    assert await client.ok("UID FETCH 1:* FLAGS (CHANGEDSINCE 1)") == []
    assert await client.ok("SEARCH MODSEQ 1") == [b"SEARCH"]
    assert await client.ok("STATUS Leer (HIGHESTMODSEQ)") == [b"STATUS Leer (HIGHESTMODSEQ %d)" % number]


@pytest.mark.parametrize("command", [
    "SELECT INBOX ()", "SELECT INBOX (CONDSTORE CONDSTORE)", "SELECT INBOX (X)", "SELECT INBOX (QRESYNC)",
    "SELECT INBOX (QRESYNC (1 9223372036854775808))", "SELECT INBOX (QRESYNC (1 2 $))",
    "SELECT INBOX (QRESYNC (1 2 1:2 (1 1:*)))", "SELECT INBOX (QRESYNC (1 2 1:2 (1)))", "SELECT INBOX (CONDSTORE",
    "FETCH 1 FLAGS ()", "FETCH 1 FLAGS (CHANGEDSINCE)", "FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 1)",
    "FETCH 1 FLAGS (CHANGEDSINCE x)", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED VANISHED)",
    "STORE 1 (UNCHANGEDSINCE) FLAGS ()", "STORE 1 (X 1) FLAGS ()", "STORE 1 (UNCHANGEDSINCE 1)FLAGS ()",
    "SEARCH MODSEQ", 'SEARCH MODSEQ "/flags/x" 1', 'SEARCH MODSEQ "/flags/x" none 1', "STATUS INBOX (MODSEQ)",
])
async def test_grammar(server: imapserver.Server, command: str) -> None:
    server.deliver(message())
    client = await server.client(select="INBOX")
    await client.ok("ENABLE QRESYNC")
    await client.fails(command, "BAD")
    assert len(await client.ok("FETCH 1 (FLAGS)")) == 1  # still selected


async def test_flags_of_other_programs_have_a_number(server: imapserver.Server) -> None:
    name = server.deliver(message())
    client = await server.client()
    before = code(await client.ok("SELECT INBOX (CONDSTORE)"), "HIGHESTMODSEQ")
    os.rename(f"{server.root()}/cur/{name}:2,", f"{server.root()}/cur/{name}:2,F")
    (told,) = await client.ok("NOOP")
    number = int(re.findall(rb"MODSEQ \((\d+)\)", told)[0])
    assert number > before
    assert elsewhere(server).sync().modseq == number
    assert (await client.command(f"STORE 1 (UNCHANGEDSINCE {before}) +FLAGS (\\Seen)"))[-1].split()[2] == b"[MODIFIED"
    assert b"MODIFIED" not in (await client.command(f"STORE 1 (UNCHANGEDSINCE {number}) +FLAGS (\\Seen)"))[-1]


async def test_a_change_nobody_has_seen_yet_stops_a_conditional_store(server: imapserver.Server) -> None:
    name = server.deliver(message())
    client = await server.client()
    before = code(await client.ok("SELECT INBOX (CONDSTORE)"), "HIGHESTMODSEQ")
    changes.store(elsewhere(server), [1], "+", ["\\Answered"])
    lines = await client.command(f"UID STORE 1 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Seen)")
    assert b"[MODIFIED 1]" in lines[-1]
    assert any(b"\\Answered" in line and b"\\Seen" not in line for line in lines)
    assert Path(server.root(), "cur", f"{name}:2,R").exists()


async def test_silent_does_not_hide_what_others_did(server: imapserver.Server) -> None:
    server.deliver(message())
    client, other = await server.client(select="INBOX"), await server.client(select="INBOX")
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    assert await client.ok("STORE 1 +FLAGS.SILENT (\\Seen)") == [b"1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))"]
    changes.store(elsewhere(server), [1], "+", ["\\Answered"])  # another process: known only under the lock
    told = await client.ok("STORE 1 +FLAGS.SILENT (\\Draft)")
    assert told == [b"1 FETCH (UID 1 FLAGS (\\Draft \\Flagged \\Answered \\Seen \\Recent))"]
    assert await client.ok("STORE 1 -FLAGS.SILENT (\\Seen)") == []


async def test_who_was_away_learns_what_happened_while_no_server_ran(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        names = [server.deliver(message(str(number))) for number in range(5)]
        client = await server.client(select="INBOX")
        lines = await client.ok("SELECT INBOX")
        uidvalidity, modseq = code(lines, "UIDVALIDITY"), code(lines, "HIGHESTMODSEQ")
        cur = Path(server.root(), "cur")
    os.unlink(cur / f"{names[1]}:2,")
    os.rename(cur / f"{names[3]}:2,", cur / f"{names[3]}:2,S")
    maildir.put(str(cur.parent), message("new"))
    async with running(tmp_path) as server:
        client = await server.client()
        await client.ok("ENABLE QRESYNC")
        lines = await client.ok(f"SELECT INBOX (QRESYNC ({uidvalidity} {modseq} 1:5))")
        assert b"VANISHED (EARLIER) 2" in lines
        assert [line[:31] for line in lines if b"FETCH" in line] == [b"3 FETCH (UID 4 FLAGS (\\Seen) MO"]
        assert code(lines, "HIGHESTMODSEQ") > modseq


async def test_vanished_waits_and_the_number_waits_with_it(server: imapserver.Server) -> None:
    for number in range(4):
        server.deliver(message(str(number)))
    client, other = await server.client(), await server.client(select="INBOX")
    await client.ok("ENABLE QRESYNC")
    await other.ok("STORE 2:3 +FLAGS.SILENT (\\Deleted)")
    known = code(await client.ok("SELECT INBOX"), "HIGHESTMODSEQ")
    await other.ok("EXPUNGE")
    await other.ok("STORE 2 +FLAGS.SILENT (\\Seen)")
    lines = await client.ok("FETCH 1 (FLAGS)")
    assert lines[-1] == b"OK [HIGHESTMODSEQ %d] Highest." % known
    assert not any(b"VANISHED" in line for line in lines)
    assert await client.ok("NOOP") == [b"VANISHED 2:3"]
    assert await client.ok("FETCH 2 (UID)") == [b"2 FETCH (UID 4)"]


async def test_close_tells_the_number_only_when_all_was_told(server: imapserver.Server) -> None:
    for number in range(3):
        server.deliver(message(str(number)))
    client = await server.client(select="INBOX (CONDSTORE)")
    await client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    number = code((await client.command("CLOSE"))[-1:], "HIGHESTMODSEQ")
    assert code(await client.ok("SELECT INBOX"), "HIGHESTMODSEQ") == number
    assert b"HIGHESTMODSEQ" not in (await client.command("CLOSE"))[-1]


async def test_seen_by_fetch_tells_its_number(server: imapserver.Server) -> None:
    server.deliver(message())
    client = await server.client(select="INBOX (CONDSTORE)")
    assert b"MODSEQ (" in (await client.ok("FETCH 1 BODY[TEXT]"))[0]
    assert b"MODSEQ (" not in (await client.ok("FETCH 1 BODY[TEXT]"))[0]
    await client.ok("STORE 1 FLAGS ()")
    assert re.search(rb"FLAGS .*MODSEQ \(", (await client.ok("FETCH 1 (FLAGS BODY[TEXT])"))[0], re.DOTALL)


@pytest.mark.parametrize("known", ["1:4294967295", "1,2,3,4294967295", "4294967295:1"])
async def test_huge_sets_cost_nothing(server: imapserver.Server, known: str) -> None:
    for number in range(3):
        server.deliver(message(str(number)))
    client = await server.client()
    await client.ok("ENABLE QRESYNC")
    validity = code(await client.ok("SELECT INBOX"), "UIDVALIDITY")
    await client.ok("UID STORE 2 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    lines = await client.ok(f"SELECT INBOX (QRESYNC ({validity} 1 {known} ({known} {known})))")
    assert b"VANISHED (EARLIER) 2" in lines
    assert (await client.ok(f"UID FETCH {known} UID (CHANGEDSINCE 1 VANISHED)"))[0] == b"VANISHED (EARLIER) 2"
