"""Clients and messages that mean harm: imapd answers each as the RFCs say, soon, and with bounded memory."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import atomic, log
from lanmail.mime import tree
from tests import hostile_mail, imapserver, imapsyntax
from tests.imapserver import PASSWORD, message, running
from tests.mailroot import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    """Whatever the test does, nothing may crash."""
    async with running(tmp_path) as one:
        log.setup("test", one.paths.log)
        yield one
        said = "".join(path.read_text() for path in one.paths.log.glob("*.log"))
        assert "internal-error" not in said, said[-3000:]


# --- before log-in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"a LOGIN {9223372036854775808}\r\n",
        b"a LOGIN {2000}\r\n",
        b"a LOGIN {99999999+}\r\n",
        b"a LOGIN {2000+}\r\n",
    ],
)
async def test_large_literals_before_log_in(server: imapserver.Server, text: bytes) -> None:
    client = await server.client(None)
    client.send(text)
    lines = [await client.line()]
    if b"+}" in text:
        assert lines[0].startswith(b"* BYE [TOOBIG]")
        assert await client.closed()
    else:
        assert lines[0].startswith(b"a BAD [TOOBIG]")


@pytest.mark.parametrize(
    "text",
    [
        b"a LOGIN {}\r\n",
        b"a LOGIN {-1}\r\n",
        b"a LOGIN {1e3}\r\n",
        b"a LOGIN {5 }\r\n",
        b"a LOGIN meier\0 geheim\r\n",
        b'a LOGIN "mei\0er" geheim\r\n',
        b"a LOGIN {6+}\r\nmeier\0 {6+}\r\ngeheim\r\n",
        b"a LOGIN meier geheim x\r\n",
    ],
)
async def test_bad_log_ins(server: imapserver.Server, text: bytes) -> None:
    client = await server.client(None)
    client.send(text)
    assert (await client.line()).startswith(b"a BAD")


async def test_a_flood_before_log_in_ends_soon(server: imapserver.Server) -> None:
    for flood in (
        b"x" * 100_000,
        b"a NOOP " * 20_000,
        b"a b\r\n" * 20_000,
        b"\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n" * 100,
        b"a LOGIN {1000+}\r\n" * 1000,
        b"\0" * 50_000 + b"\r\n",
    ):
        client = await server.client(None)
        client.send(flood)
        assert await client.closed()


async def test_guessing_on_one_connection_ends(server: imapserver.Server) -> None:
    client = await server.client(None)
    for number in range(5):
        assert (await client.fails(f"LOGIN meier wrong{number}")).startswith(b"[AUTHENTICATIONFAILED]")
    assert await client.closed()


# --- grammar ---------------------------------------------------------------------------------------------------------


async def test_sets_and_nesting(server: imapserver.Server) -> None:
    for number in range(3):
        server.deliver(message(f"Nummer {number}"))
    client = await server.client(select="INBOX")
    began = time.process_time()
    for text in (
        "1:4294967295," * 4000 + "1",
        "*," * 20_000 + "1:2",
        "1:3," * 15_000 + "1",
        "4294967295:1," * 4000 + "*:*",
    ):
        assert len(await client.ok(f"UID FETCH {text} UID")) == 3
        assert await client.ok(f"SEARCH UID {text}") == [b"SEARCH 1 2 3"]
    for text in (
        "0",
        "1:0",
        "4294967296",
        "1:4294967296",
        "-1",
        "1,,2",
        ",1",
        "1:",
        "1::2",
        "99999999999999999999",
        "1;2",
        "$1",
    ):
        await client.fails(f"FETCH {text} UID", "BAD")
    for text in ("(" * 30_000, "NOT " * 15_000 + "ALL", "OR " * 15_000 + "ALL", "(" * 65 + "ALL" + ")" * 65):
        await client.fails(f"SEARCH {text}", "BAD")
    assert await client.ok("SEARCH " + "(" * 60 + "ALL" + ")" * 60) == [b"SEARCH 1 2 3"]
    assert time.process_time() - began < 20


async def test_patterns_of_list_cannot_backtrack(server: imapserver.Server) -> None:
    client = await server.client()
    await client.ok("CREATE " + "a" * 100 + ".b")
    for pattern in ("*a" * 1000 + "c", "%a" * 1000 + "c", "*%" * 2000, "%*.%*" * 500, "&" * 4000, "*" * 30_000):
        began = time.process_time()
        await client.ok(f'LIST "" "{pattern}"')
        assert time.process_time() - began < 2


NAMES = [
    b"../x",
    b"../../etc",
    b"x/../y",
    b"/etc/passwd",
    b"a/b",
    b"..",
    b".",
    b".x",
    b"a..b",
    b"&AC4ALgAv-x",
    b"&AC8-",
    b"&",
    b"&x",
    b"&AAAA-",
    b"&AA0ACg-",
    b"&2AA-",
    b"&AOQ",
    b"&AGE-",
    b"x" * 256,
    b"x" * 5000,
    b".".join([b"l"] * 17),
    b"\xff\xfe",
    b"\xc3\xa4",
    b"{3+}\r\na\r\n",
    b"{3+}\r\na\0b",
    b'"a\\"b/"',
    b"&IBQAAQ-",
    b"&AIU-",
    b"&ICg-",
    b"~root/x/",
    b"x\x7f",
    b"*",
    b"%",
    b"a*b",
    b"a%b",
    b"INBOX",
    b"&AAE-",
    b"&ZeVnLA",
    b"&ZeVnLA--x/",
    b"&&-",
    b"a&-b&",
    b"&AC4ALgAvAC4ALg-/",
]


def _kept(root: Path) -> set[Path]:
    """What is there but for what a server writes by itself at any moment: log, counters, caches."""
    return {path for path in root.rglob("*") if not {"log", "index", "metrics"} & set(path.parts)}


@pytest.mark.parametrize("name", NAMES)
async def test_folder_names_that_cannot_be(server: imapserver.Server, tmp_path: Path, name: bytes) -> None:
    client = await server.client()
    before = _kept(tmp_path)
    for command in (b"CREATE ", b"SELECT ", b"DELETE ", b"RENAME Sent ", b"SUBSCRIBE ", b"STATUS "):
        if (name, command) in ((b"INBOX", b"SELECT "), (b"INBOX", b"SUBSCRIBE "), (b"INBOX", b"STATUS ")):
            continue
        more = b" (MESSAGES)" if command == b"STATUS " else b""
        lines = await client.command(command + name + more)
        assert lines[-1].split(b" ")[1] in (b"NO", b"BAD"), (command, name, lines)
    after = _kept(tmp_path)
    assert not after - before


@pytest.mark.parametrize(
    "name",
    [
        b"cur",
        b"new",
        b"tmp",
        b"dovecot-uidlist",
        b"subscriptions",
        b"con",
        b"-rf",
        b"&AOQ-",
        b"a&-b",
        b'"a b"',
        b'"$(reboot)"',
        b"x" * 200,
        b".".join([b"l"] * 16),
        b"a'b",
        b"a;b|c",
    ],
)
async def test_odd_folder_names_that_can_be(server: imapserver.Server, name: bytes) -> None:
    client = await server.client()
    await client.ok(b"CREATE " + name)
    assert (await client.append(b"a: b\r\n", name.decode())) == []
    await client.ok(b"SELECT " + name)
    assert len(await client.ok("FETCH 1 UID")) == 1
    assert len(await client.ok("SELECT INBOX")) > 3
    await client.ok(b"DELETE " + name)


async def test_ten_thousand_keywords(server: imapserver.Server) -> None:
    server.deliver(message())
    client = await server.client(select="INBOX")
    refused = b""
    for start in range(0, 10_000, 1000):
        lines = await client.command(
            "STORE 1 +FLAGS.SILENT (" + " ".join(f"k{n}" for n in range(start, start + 1000)) + ")"
        )
        refused = lines[-1]
    assert b" NO [LIMIT]" in refused
    assert len((await client.ok("FETCH 1 FLAGS"))[0]) < 20_000


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_hostile_messages_are_served_in_right_grammar(server: imapserver.Server) -> None:
    mails = [data for data in hostile_mail.scaled(60_000).values() if data]
    for data in mails:
        server.deliver(data)
    client = await server.client(select="INBOX")
    for number in range(1, len(mails) + 1):
        began = time.process_time()
        (answer,) = await client.ok(
            f"FETCH {number} (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE "
            "BODY.PEEK[HEADER.FIELDS (TO SUBJECT)] BODY.PEEK[1] BODY.PEEK[1.1.MIME] BODY.PEEK[]<5.9>)"
        )
        assert time.process_time() - began < 5
        imapsyntax.fetched(answer)
    assert len(await client.ok("SEARCH TEXT xyzzy")) == 1
    assert await client.ok("SEARCH FROM klingon SUBJECT x") == [b"SEARCH"]


async def test_a_client_that_does_not_read_holds_little_memory(server: imapserver.Server) -> None:
    server.deliver(b"a: b\n\n" + b"x" * 500_000 + b"\n")
    client = await server.client(select="INBOX")
    reader = client.reader
    client.send(b"".join(b"f%d FETCH 1 BODY.PEEK[]\r\n" % number for number in range(200)))
    other = await server.client(select="INBOX")
    await until(lambda: any(one.connection.full for one in server.worker._sessions))
    for _ in range(20):
        await other.ok("NOOP")
        await asyncio.sleep(0.01)
    (session,) = (one for one in server.worker._sessions if one.connection.full)
    transport = session.connection._transport
    assert transport is not None
    assert transport.get_write_buffer_size() + session.connection._output_size < 3_000_000
    assert len(session.connection._input) <= 2 * 262_144
    reader.feed_eof()
    client.writer.transport.abort()  # else the server waits for it to read


async def test_two_hundred_idle_sessions(server: imapserver.Server) -> None:
    async with running(
        Path(server.paths.root) / "more", max_connections_per_user=300, max_connections_per_client=300
    ) as many:
        clients = [await many.client() for _ in range(200)]
        before = resident()
        for client in clients:
            await client.ok("SELECT INBOX")
            client.send("i IDLE\r\n")
            assert (await client.line()).startswith(b"+")
        assert resident() - before < 60 << 20
        many.deliver(message())
        for client in clients:
            while not (await client.line()).endswith(b"1 EXISTS"):
                pass


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- connections -----------------------------------------------------------------------------------------------------


async def test_connections_that_do_not_log_in_are_limited_by_address(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections_per_client=3) as server:
        waiting = [await server.client(None) for _ in range(3)]
        assert (await server.client(None)).greeting.startswith(b"* BYE [LIMIT]")
        await waiting[0].ok(f"LOGIN meier {PASSWORD}")  # who is let in does not count any more
        await waiting[1].ok("LOGOUT")
        assert await waiting[1].closed()
        for _ in range(2):
            assert (await server.client(None)).greeting.startswith(b"* OK")
        assert (await server.client(None)).greeting.startswith(b"* BYE")
        await waiting[0].ok("LOGOUT")
        assert await waiting[0].closed()
        assert (await server.client(None)).greeting.startswith(b"* BYE")
        assert server.worker._fresh_ones["127.0.0.1"] == 3
        assert not server.worker._users


# --- a message that was refused is never taken for commands ----------------------------------------------------------

EVIL = b"a: b\r\n\r\nx DELETE Sent\r\ny LOGOUT\r\n"


@pytest.mark.parametrize(
    "before",
    [
        "APPEND INBOX (\\Bad\\Flag) ",
        'APPEND INBOX "yesterday" ',
        "APPEND nowhere ",
        "APPEND INBOX FOO ",
        "APPEND  INBOX ",
        "APPEND INBOX (\\Seen ",
        "REPLACE 1 INBOX ",
        "APPEND ../x ",
        "APPEND INBOX UTF8 (",
    ],
)
async def test_a_refused_message_is_not_executed(server: imapserver.Server, before: str) -> None:
    client = await server.client()
    client.send(f"a {before}{{{len(EVIL)}+}}\r\n".encode() + EVIL + b"\r\nb NOOP\r\n")
    lines = await client.until("b")
    answers = [line.split(b" ")[:2] for line in lines]
    assert answers in ([[b"a", b"BAD"], [b"b", b"OK"]], [[b"a", b"NO"], [b"b", b"OK"]])
    assert len(await client.ok('LIST "" Sent')) == 1


@pytest.mark.parametrize("plus", ["+", ""])
async def test_a_message_for_which_there_is_no_room_is_not_executed(
    server: imapserver.Server, monkeypatch: pytest.MonkeyPatch, plus: str
) -> None:
    client = await server.client()
    write_all = atomic.write_all

    def full(descriptor: int, data: bytes) -> None:
        if b"DELETE" in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, data)

    monkeypatch.setattr(atomic, "write_all", full)
    for following in ("", f" {{{len(EVIL)}+}}\r\n" + EVIL.decode()):
        client.send(f"a APPEND INBOX {{{len(EVIL)}{plus}}}\r\n")
        if not plus:
            assert (await client.line()).startswith(b"+ ")
        client.send(EVIL + following.encode() + b"\r\nb NOOP\r\n")
        lines = await client.until("b")
        assert [line.split(b" ")[:2] for line in lines] == [[b"a", b"NO"], [b"b", b"OK"]], lines
    monkeypatch.undo()
    assert len(await client.ok('LIST "" Sent')) == 1
    assert (await client.append(EVIL)) == []


async def test_limits_of_the_settings_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_DEPTH", tree.MAX_DEPTH)  # put back afterwards
    monkeypatch.setattr(tree, "MAX_PARTS", tree.MAX_PARTS)
    async with running(tmp_path, max_folder_depth=2, max_folder_name=10, max_mime_depth=3, max_mime_parts=5) as server:
        server.deliver(hostile_mail.deep(20))
        server.deliver(hostile_mail.scaled(300)["many parts"])
        client = await server.client(select="INBOX")
        for name in ("a.b.c", "x" * 11, "&AOQA5ADkAOQ-", "a." + "x" * 11):
            assert (await client.fails(f"CREATE {name}")).startswith(b"[LIMIT]")
            assert (await client.fails(f"RENAME Sent {name}")).startswith(b"[LIMIT]")
        await client.ok("CREATE a." + "x" * 10)
        deep, many = await client.ok("FETCH 1:* BODYSTRUCTURE")
        assert b"(((" in deep
        assert b"((((" not in deep
        assert many.count(b'"TEXT"') + many.count(b'"text"') < 8
