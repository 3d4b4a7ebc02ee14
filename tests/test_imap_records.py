"""What is answered from the cache is what the message would have said."""

import asyncio
from pathlib import Path

import hypothesis
import pytest

from lanmail.folders import summaries
from lanmail.imap import records, searchkeys, section
from lanmail.mime import structure, summary, textsearch
from tests import imapserver, odd_messages

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "mail-dev" / "messages"
LISTS = [
    # Thunderbird, Apple Mail, K-9, Roundcube, mutt, mbsync
    b"From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type "
    b"Reply-To Received",
    b"date subject from to cc message-id in-reply-to references content-type x-priority x-uniform-type-identifier "
    b"x-universally-unique-identifier list-id list-unsubscribe",
    b"date subject from content-type to cc reply-to message-id references in-reply-to list-unsubscribe sender "
    b"X-K9mail-Identity Chat-Version",
    b"DATE FROM TO SUBJECT CONTENT-TYPE CC REPLY-TO LIST-POST DISPOSITION-NOTIFICATION-TO X-PRIORITY "
    b"CONTENT-TRANSFER-ENCODING BCC IN-REPLY-TO MAIL-FOLLOWUP-TO MESSAGE-ID REFERENCES RESENT-BCC RETURN-PATH SENDER",
    b"DATE FROM SENDER SUBJECT TO CC MESSAGE-ID REFERENCES CONTENT-TYPE CONTENT-DESCRIPTION IN-REPLY-TO REPLY-TO LINES "
    b"LIST-POST LIST-SUBSCRIBE LIST-UNSUBSCRIBE X-LABEL X-ORIGINAL-TO",
    b"X-TUID MESSAGE-ID", b"Subject", b"x", b"X",
]
NEEDLES = ["", "a", "ä", "Ä", "A B", "a@b", "@b", "anna", "re", "=?", "\n", "a\n", "  ", ";", "ss", "<a@b>", "\x00"]


def same_answers(data: bytes) -> bool:
    """Compare all that a record tells with what the message tells; whether its header was kept."""
    record = summary.of(section.Source(data), "base", 1.5)
    told = structure.summary(data)
    assert (record.envelope, record.body, record.structure) == (told.envelope, told.body, told.bodystructure)
    assert record.date == 1
    partly = summary.of_header(section.Source(data), "base", 1.5)
    assert (partly.header, partly.text(0), partly.envelope) == (record.header, record.text(0), None)
    if record.header is not None:
        for names in LISTS:
            cut = section.Section((), "HEADER.FIELDS", tuple(names.split()))
            assert records.answers(cut)
            assert records.fields(record.header, cut.fields) == section.cut(section.Source(data), cut)
    for text in NEEDLES:
        needle = textsearch.Needle(text)
        for name in (b"subject", b"from", b"to", b"cc", b"bcc", b"received", b"dkim-signature"):
            expected = textsearch.in_field(section.Source(data), name, needle)
            field = records.kept_text(searchkeys.Header(name.decode(), text))
            if field and (folded := record.text(field[0])) is not None:
                assert (field[1] in folded) is expected, (text, name)
            if (kept := records.as_source(record)) is not None and summary.keeps(name):
                assert textsearch.in_field(kept, name, needle) is expected, (text, name)
    return record.header is not None


@hypothesis.given(odd_messages.messages)
@hypothesis.settings(max_examples=300, deadline=None)
def test_odd_messages(data: bytes) -> None:
    same_answers(data)


@hypothesis.given(odd_messages.values, odd_messages.values)
@hypothesis.settings(max_examples=200, deadline=None)
def test_odd_values(subject: bytes, sender: bytes) -> None:
    same_answers(b"Subject: %b\nFrom: %b\nTo: %b\n\nx\n" % (subject, sender, subject))


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of test mails in ../shared/corpus/mail-dev")
def test_corpus() -> None:
    kept = [same_answers(path.read_bytes()) for path in CORPUS.iterdir()]
    assert sum(kept) > len(kept) * 0.8


@pytest.mark.parametrize("header", [
    b"Subject: x", b"Subject: x\n", b"Subject: a\0b\n\n", b"Subject: a\rb\n\n", b"X: " + b"y" * 20_000 + b"\n\n", b"",
])
def test_headers_that_can_be_read_in_two_ways_are_not_kept(header: bytes) -> None:
    assert not same_answers(header)


@pytest.mark.parametrize("fields", [
    (b"DKIM-Signature",), (b"Subject", b"arc-seal"), (b" Subject",), (b"a:b",), (b"\xe4",),
])
def test_lists_that_need_the_message(fields: tuple[bytes, ...]) -> None:
    assert not records.answers(section.Section((), "HEADER.FIELDS", fields))
    assert not records.answers(section.Section((1,), "HEADER.FIELDS", (b"Subject",)))
    assert not records.answers(section.Section((), "HEADER.FIELDS.NOT", (b"Subject",)))
    assert not records.answers(None)


async def test_fetch_is_answered_from_the_cache_by_another_worker(tmp_path: Path) -> None:
    items = "(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER.FIELDS (Subject X-No)]<4.10>)"
    async with imapserver.running(tmp_path) as server:
        for number in range(3):
            server.deliver(imapserver.message(f"Nummer {number}"))
        client = await server.client(select="INBOX")
        first = await client.ok(f"FETCH 1:* {items}")
        assert b"ect: Numme" in first[2]
        cache = summaries.Cache(server.root())
        async with asyncio.timeout(30):
            while not cache.news():
                await asyncio.sleep(0.01)
        assert await client.ok(f"FETCH 1:* {items}") == first
    for path in Path(server.root(), "cur").iterdir():
        path.write_bytes(path.read_bytes().replace(b"Nummer", b"NUMMER"))  # nobody may: it shows where answers are from
    async with imapserver.running(tmp_path) as server:
        client = await server.client(select="INBOX")
        again = await client.ok(f"FETCH 1:* {items}")
        assert [line.replace(b" \\Recent", b"") for line in again] == [line.replace(b"\\Recent", b"") for line in first]
        Path(cache.path).unlink()
        assert b"NUMMER 1" in (await client.ok(f"FETCH 2 {items}"))[0]


async def test_what_may_still_grow_is_not_kept(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        server.deliver(b"Subject: half\n")
        cur = Path(server.root(), "new")
        (path,) = cur.iterdir()
        path.rename(cur / "1700000000.without-size")
        client = await server.client(select="INBOX")
        assert b"half" in (await client.ok("FETCH 1 ENVELOPE"))[0]
        await client.ok("FETCH 1 BODYSTRUCTURE")
        assert not summaries.exists(server.root())


async def test_search_and_sort_are_answered_from_the_cache(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        for number in range(5):
            server.deliver(imapserver.message(f"Größe {number}"))
        client = await server.client(select="INBOX")
        assert await client.ok('SEARCH CHARSET UTF-8 SUBJECT "GRÖSSE 3"') == [b"SEARCH 4"]
        cache = summaries.Cache(server.root())
        async with asyncio.timeout(30):
            while not cache.news():
                await asyncio.sleep(0.01)
        for path in Path(server.root(), "cur").iterdir():
            path.write_bytes(path.read_bytes().replace("Größe".encode(), b"nothing"))
        assert await client.ok('SEARCH CHARSET UTF-8 SUBJECT "größe" NOT SUBJECT "3" FROM anna') == [b"SEARCH 1 2 3 5"]
        assert await client.ok("SEARCH SUBJECT nothing") == [b"SEARCH"]
        assert await client.ok("SEARCH HEADER Subject 4 TO meier") == [b"SEARCH 5"]
        assert await client.ok("SEARCH HEADER DKIM-Signature x") == [b"SEARCH"]
        assert await client.ok("SORT (REVERSE SUBJECT) UTF-8 ALL") == [b"SORT 5 4 3 2 1"]
