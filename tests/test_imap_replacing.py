"""REPLACE (RFC 8508)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import imapserver
from tests.imapserver import message

NEW = message("Entwurf 2").replace(b"\n", b"\r\n")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with imapserver.running(tmp_path) as one:
        for number in range(1, 4):
            one.deliver(message(f"Entwurf {number}"))
        yield one


async def replace(client: imapserver.Client, before: str, new: bytes = NEW) -> list[bytes]:
    return await client.command(f"{before} {{{len(new)}+}}\r\n".encode() + new)


async def test_the_new_one_is_told_before_the_old_one_goes(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    said = await replace(client, 'REPLACE 2 INBOX (\\Draft \\Seen) " 1-Jan-2020 00:00:00 +0000"')
    assert said[0].startswith(b"* OK [APPENDUID ")
    assert b" 4] " in said[0]
    assert said.index(b"* 2 EXPUNGE") < len(said) - 1
    assert said[-1].endswith(b"OK REPLACE completed.")
    assert await client.ok("SEARCH UNDELETED") == [b"SEARCH 1 2 3"]
    assert b"FLAGS (\\Draft \\Seen" in (await client.ok("UID FETCH 4 FLAGS"))[0]
    assert await client.ok("UID FETCH 2 FLAGS") == []


async def test_by_uid_and_into_another_mailbox(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    said = await replace(client, "UID REPLACE 1 Sent (\\Seen)")
    assert b"* 1 EXPUNGE" in said
    assert not [line for line in said if line.endswith(b"EXISTS")]
    assert await client.ok("STATUS Sent (MESSAGES)") == [b"STATUS Sent (MESSAGES 1)"]
    assert await client.ok("SEARCH ALL") == [b"SEARCH 1 2"]


async def test_what_cannot_be_replaced_stays_and_nothing_is_stored(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    for command, kind in (("UID REPLACE 99 INBOX", "NO"), ("REPLACE 9 INBOX", "BAD"), ("REPLACE 1:2 INBOX", "BAD"),
                          ("REPLACE 1 Nowhere", "NO [TRYCREATE]"), ("REPLACE $ INBOX", "NO")):
        assert f" {kind} ".encode() in (await replace(client, command))[-1], command
    # several messages are for APPEND only, an empty one for nobody
    assert b" NO " in (await client.command(b"REPLACE 1 INBOX {3+}\r\nA:\n {3+}\r\nB:\n"))[-1]
    assert b" NO " in (await client.command(b"REPLACE 1 INBOX {0+}\r\n"))[-1]
    assert await client.ok("UID SEARCH ALL") == [b"SEARCH 1 2 3"]
    await client.ok("EXAMINE INBOX")
    assert b" NO [READ-ONLY]" in (await replace(client, "REPLACE 1 INBOX"))[-1]
    assert await client.ok("UID SEARCH ALL") == [b"SEARCH 1 2 3"]


async def test_with_consent_and_a_name_as_literal(server: imapserver.Server) -> None:
    client = await server.client(select="INBOX")
    client.send(b"x REPLACE 3 {5}\r\n")
    assert (await client.line()).startswith(b"+ ")
    client.send(b"INBOX {%d}\r\n" % len(NEW))
    assert (await client.line()).startswith(b"+ ")
    client.send(NEW + b"\r\n")
    assert (await client.until("x"))[-1] == b"x OK REPLACE completed."
    assert await client.ok("UID SEARCH ALL") == [b"SEARCH 1 2 4"]
