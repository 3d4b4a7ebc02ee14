"""SORT and THREAD in a session."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from tests import imapserver


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with imapserver.running(tmp_path) as one:
        yield one


async def filled(server: imapserver.Server, *headers: str, date: float = 1_000_000.0) -> imapserver.Client:
    """INBOX with a message for each header, arriving a minute after the other."""
    maildir.prepare(server.root())
    for number, header in enumerate(headers):
        maildir.put(server.root(), f"{header}\n\n{'x' * number}\n".encode(), date=date + 60 * number)
    return await server.client(select="INBOX")


async def sort(client: imapserver.Client, text: str) -> str:
    return (await client.ok(f"SORT {text}"))[0].removeprefix(b"SORT").strip().decode()


async def test_sort_by_subject(server: imapserver.Server) -> None:
    client = await filled(server, "Subject: b", "Subject: Re: [list] a", "Subject: =?utf-8?q?=C3=A4?=", "X: y",
                          "Subject: _", "Subject: A (fwd)", "Subject: B")
    assert await sort(client, "(SUBJECT) UTF-8 ALL") == "4 2 6 3 1 7 5"
    assert await sort(client, "(REVERSE SUBJECT) UTF-8 ALL") == "5 1 7 3 2 6 4"  # what is alike is not turned round
    assert await sort(client, "(SUBJECT REVERSE SIZE) UTF-8 ALL") == "4 2 6 3 7 1 5"


async def test_sort_by_dates(server: imapserver.Server) -> None:
    client = await filled(server, "Date: Mon, 1 Jan 2001 00:00:00 +0000", "Date: 1 Jan 2001 00:30:00 +0100",
                          "X: arrived in 1970", "Date: tomorrow", "Date: 31 Dec 2000 20:00:00 -0430")
    assert await sort(client, "(DATE) US-ASCII ALL") == "3 4 2 1 5"
    assert await sort(client, "(REVERSE ARRIVAL) US-ASCII ALL") == "5 4 3 2 1"


async def test_within_one_second_the_order_of_the_mailbox_counts(server: imapserver.Server) -> None:
    client = await filled(server, "A: 1", "A: 2")
    for name, part in zip(sorted(maildir.list_names(f"{server.root()}/cur")), (0.9, 0.1), strict=True):
        os.utime(f"{server.root()}/cur/{name}", (5 + part, 5 + part))
    assert await sort(client, "(ARRIVAL) US-ASCII ALL") == "1 2"
    assert await sort(client, "(DATE) US-ASCII ALL") == "1 2"


async def test_sort_by_addresses(server: imapserver.Server) -> None:
    client = await filled(
        server, "From: user2@domain2.org\nTo: foo bar <user2@d2>\nCc: user2@d2 (foo bar)",
        "From: User2@domain1.org\nTo: user2@d1\nCc: user2: blah@d1;", "From: user1@d1\nTo: user1@d1\nCc: user1@d1",
        "Subject: nobody")
    for key in ("FROM", "TO", "CC"):
        assert await sort(client, f"({key}) UTF-8 ALL") == "4 3 1 2"
        assert await sort(client, f"({key} REVERSE ARRIVAL) UTF-8 ALL") == "4 3 2 1"


async def test_sort_by_shown_names(server: imapserver.Server) -> None:
    client = await filled(server, "From: foo bar <a@b.c>", "From: b@c.d", "From: d",
                          "From: =?iso-8859-1?q?foo_aar?= <e@f.g>", 'From: "foo car" <f@g.h>\nTo: x <y@z>')
    assert await sort(client, "(DISPLAYFROM) UTF-8 ALL") == "2 3 4 1 5"
    assert await sort(client, "(REVERSE DISPLAYFROM) UTF-8 ALL") == "5 1 4 3 2"
    assert await sort(client, "(REVERSE DISPLAYTO) UTF-8 ALL") == "5 1 2 3 4"


async def test_only_what_the_search_finds_by_uid_or_number(server: imapserver.Server) -> None:
    client = await filled(server, "Subject: c", "Subject: b", "Subject: a")
    await client.ok("STORE 1 +FLAGS (\\Deleted)")
    await client.ok("EXPUNGE")
    assert await sort(client, "(SUBJECT) UTF-8 SUBJECT a SUBJECT A") == "2"
    assert await client.ok("UID SORT (SUBJECT) UTF-8 ALL") == [b"SORT 3 2"]
    assert await client.ok("UID SORT (SUBJECT) UTF-8 FROM nobody") == [b"SORT"]
    assert await client.ok("UID THREAD ORDEREDSUBJECT UTF-8 ALL") == [b"THREAD (2)(3)"]
    assert await client.ok("THREAD REFERENCES UTF-8 FROM nobody") == [b"THREAD"]


@pytest.mark.parametrize("text", [
    "SORT () UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL", "SORT (COLOUR) UTF-8 ALL", "SORT SUBJECT UTF-8 ALL",
    "SORT (SUBJECT) UTF-8", "SORT (SUBJECT)", "THREAD GUESS UTF-8 ALL", "THREAD REFERENCES UTF-8",
    f"SORT ({'SIZE ' * 20}SIZE) UTF-8 ALL",
])
async def test_mistakes(server: imapserver.Server, text: str) -> None:
    client = await filled(server, "Subject: x")
    await client.fails(text, "BAD")


async def test_an_unknown_charset(server: imapserver.Server) -> None:
    client = await filled(server, "Subject: x")
    for text in ("SORT (SUBJECT)", "THREAD REFERENCES"):
        assert (await client.fails(f"{text} KLINGON ALL")).startswith(b"[BADCHARSET (")


async def test_threads_follow_what_is_expunged(server: imapserver.Server) -> None:
    client = await filled(server, "Message-Id: <b@x>\nIn-Reply-To: <a@x>", "Message-Id: <c@x>\nReferences: <a@x> <b@x>",
                          "Message-Id: <a@x>", "Message-Id: <d@x>\nReferences: none\nIn-Reply-To: <c@x> <a@x>")
    assert await client.ok("THREAD REFERENCES UTF-8 ALL") == [b"THREAD (3 1 2 4)"]
    await client.ok("STORE 1 +FLAGS (\\Deleted)")
    await client.ok("EXPUNGE")
    assert await client.ok("THREAD REFERENCES UTF-8 ALL") == [b"THREAD (2 1 3)"]
    assert await client.ok("THREAD REFS UTF-8 ALL") == [b"THREAD (2 1 3)"]


async def test_a_header_without_end(server: imapserver.Server) -> None:
    client = await filled(server, "Message-Id: <a@x>", "References: " + "<r@x> " * 400_000 + "<a@x>", "Subject: x")
    assert await client.ok("THREAD REFERENCES UTF-8 ALL") == [b"THREAD (1 2)(3)"]
    assert await sort(client, "(SUBJECT SIZE) UTF-8 ALL") == "1 2 3"
