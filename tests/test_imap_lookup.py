"""SEARCH BODY and TEXT with the full-text index: the same answers as without, from fewer files."""

import asyncio
import base64
import contextlib
import os
import quopri
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanmail import maildir
from lanmail.folders import folderpool
from lanmail.imap import indexer, indexing, lookup, search, searchkeys, section, waiting
from lanmail.mime import casemap, textsearch
from lanmail.textindex import fulltext, indexes
from tests import imapserver, odd_messages

GERMAN = ("Die Prüfung der Maßnahmen in der Königstraße ergab: „Überweisungen“ sind größtenteils erledigt.\n"
          "Schöne Grüße aus der Buchhaltung, DAMPFSCHIFFFAHRT und Donau-Auen; 17.11.2026 um 14:30 Uhr.\n"
          "Viele\u0308 Gru\u0308ße; ﬁnden Sie İstanbul, ΣΊΣΥΦΟΣ, 日本語テキスト und e\u0301ine Übersicht\n")
CHARSETS = ("utf-8", "iso-8859-1", "cp1252", "utf-16", "utf-7", "iso-8859-15", "us-ascii", "x-unknown")


def mail(text: str, charset: str, encoding: str, subject: str) -> bytes:
    octets = text.encode(charset if charset != "x-unknown" else "utf-8", "replace")
    body = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(octets)
    words = base64.b64encode(subject.encode()).decode()
    head = (f"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nSubject: =?utf-8?b?{words}?=\n "
            f"und weiter\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n")
    return head.encode() + body


pieces = st.builds(lambda start, size: GERMAN[start : start + size],
                   st.integers(0, len(GERMAN) - 1), st.integers(1, 120))
mails = odd_messages.messages | st.builds(
    mail, pieces, st.sampled_from(CHARSETS), st.sampled_from(("base64", "quoted-printable", "8bit")), pieces)


def filled(path: Path, messages: list[bytes]) -> None:
    with fulltext.Writer(path, indexing.STAMP) as index:
        index.begin("INBOX", "1")
        for uid, data in enumerate(messages, 1):
            index.add(uid, indexing.texts_of(section.Source(data)))
        index.commit(len(messages))


class Mail:
    """As much of a message as these searches ask for."""

    def __init__(self, uid: int, data: bytes) -> None:
        self.uid, self.data = uid, data

    def header_source(self) -> section.Source:
        return self.source()

    def source(self) -> section.Source:
        return section.Source(self.data)


@given(st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_result_with_the_index_is_that_without(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    messages = data.draw(st.lists(mails, min_size=1, max_size=5))
    path = tmp_path_factory.mktemp("index") / "a.sqlite"
    filled(path, messages)
    sources = [textsearch.texts(section.Source(one)) for one in messages]
    haystacks = [text for bodies, heads in sources for text in (*bodies, *heads) if text] + [GERMAN]
    for _ in range(8):
        whole = data.draw(st.sampled_from(haystacks))
        start = data.draw(st.integers(0, len(whole) - 1))
        needle = whole[start : start + data.draw(st.integers(1, 60))]
        body, text = searchkeys.Body(needle), searchkeys.Text(needle)
        fuzzy = searchkeys.Fuzzy(data.draw(st.sampled_from((body, text))))
        _, known = lookup._look_up(path, "INBOX", "1", [body, text, fuzzy])
        for key in (body, text, fuzzy, searchkeys.Not(body), searchkeys.Or((text, searchkeys.Not(text))),
                    searchkeys.And((searchkeys.Or((body, searchkeys.Uids(((1, 1),)))), searchkeys.Not(text)))):
            with_index, without = search.compile(key, known), search.compile(key)
            for uid, one in enumerate(messages, 1):
                assert with_index(Mail(uid, one)) == without(Mail(uid, one)), (key, one)  # type: ignore[arg-type]
        scores = {key: verdict.scores for key, verdict in known.items()}
        for uid, one in enumerate(messages, 1):
            if search.compile(fuzzy.key)(Mail(uid, one)):  # type: ignore[arg-type]
                assert search.compile(fuzzy)(Mail(uid, one))  # type: ignore[arg-type]
            if search.compile(fuzzy)(Mail(uid, one)):  # type: ignore[arg-type]
                relevancies = [search.relevancy(fuzzy, given)(Mail(uid, one)) for given in (scores, {})]  # type: ignore[arg-type]
                assert relevancies[0] == relevancies[1] > 0
        for key, verdict in known.items():
            matching = [uid for uid, one in enumerate(messages, 1) if search.compile(key)(Mail(uid, one))]  # type: ignore[arg-type]
            assert set(matching) <= set(verdict.candidates(list(range(1, len(messages) + 1))))


@given(mails, st.data())
@settings(max_examples=150)
def test_the_texts_for_the_index_are_those_that_are_searched(one: bytes, data: st.DataObject) -> None:
    bodies, heads = textsearch.texts(section.Source(one))
    text = data.draw(st.sampled_from([*bodies, *heads, GERMAN]))
    start = data.draw(st.integers(0, max(0, len(text) - 1)))
    needle = textsearch.Needle(text[start : start + 20])
    if needle.text:
        assert textsearch.in_body(section.Source(one), needle) == any(needle.text in text for text in bodies)
        assert textsearch.in_text(section.Source(one), needle) == any(needle.text in text for text in bodies + heads)


# --- in the server ---------------------------------------------------------------------------------------------

@contextlib.asynccontextmanager
async def office(tmp_path: Path, count: int, **imapd: Any) -> AsyncIterator[imapserver.Server]:
    """A server with some mails in INBOX, and small limits."""
    async with imapserver.running(tmp_path, **imapd) as server:
        for number in range(count):
            body = f"Rechnungsnummer {number:04d}, Größe {number % 7}\n"
            server.deliver(imapserver.message(f"Betreff {number}", body))
        yield server


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "FEW", 2)
    monkeypatch.setattr(lookup, "MANY", 5)


def fill(server: imapserver.Server, root: str | None = None) -> None:
    """What the process in the background does."""
    server.worker.indexes.directory.mkdir(parents=True, exist_ok=True)
    indexing.Filling(server.worker.indexes, indexes.Job(root or server.root())).run()


async def found(client: imapserver.Client, keys: str) -> list[int]:
    answer = await client.ok(f"UID SEARCH {keys}")
    return [int(word) for word in next(line for line in answer if line.startswith(b"SEARCH")).split()[1:]]


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The searches that look into a message, from now on."""
    calls: list[str] = []
    for name in ("in_body", "in_text"):
        monkeypatch.setattr(textsearch, name, counted(calls, name))
    return calls


def counted(calls: list[str], name: str) -> Callable[..., bool]:
    plain = getattr(textsearch, name)

    def count(*given: Any) -> bool:
        calls.append(name)
        return bool(plain(*given))

    return count


ALL = list(range(1, 13))
SEARCHES = {
    "BODY rechnungsnummer": ALL, "TEXT betreff": ALL, "BODY betreff": [], "TEXT fehlt": [],
    "BODY 0003": [4], "NOT BODY 0003 UID 1:5": [1, 2, 3, 5], 'OR BODY 0001 SUBJECT "Betreff 5"': [2, 6],
    'CHARSET UTF-8 BODY "GRÖSSE" BODY 0002': [3], 'CHARSET UTF-8 TEXT "gro\u0308ße 2"': [3, 10],
    'BODY "0002, g"': [3], 'BODY "r 000"': list(range(1, 11)), 'BODY ", "': ALL, "UNSEEN BODY 000": list(range(1, 11)),
    'BODY ""': ALL, 'FUZZY BODY "o, 3"': [4, 11], "FUZZY BODY rechnungsnummern": ALL,
    'FUZZY TEXT "0003 betreffs"': [4], "FUZZY SUBJECT 3": [4],
}


async def test_searches_through_the_index(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, 12) as server:
        client = await server.client(select="INBOX")
        for keys, expected in SEARCHES.items():
            assert await found(client, keys) == expected, keys
        server.worker.indexer.stop()
        fill(server)
        calls = opened(monkeypatch)
        for keys, expected in SEARCHES.items():
            assert await found(client, keys) == expected, keys
        calls.clear()
        assert await found(client, "BODY nummer") == list(range(1, 13))
        assert await found(client, "NOT TEXT betreff") == []
        assert not calls
        assert await found(client, 'BODY "0002, gr"') == [3]
        assert calls == ["in_body"]


async def test_new_mail_is_found_before_it_is_in_the_index(tmp_path: Path, small: None,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, 6) as server:
        client = await server.client(select="INBOX")
        fill(server)
        server.deliver(imapserver.message("neu", "auch eine Rechnungsnummer\n"))
        calls = opened(monkeypatch)
        assert await found(client, "BODY rechnungsnummer") == [1, 2, 3, 4, 5, 6, 7]
        assert len(calls) == 1
        await client.ok("UID STORE 2 +FLAGS (\\Deleted)")
        await client.ok("EXPUNGE")
        await client.ok("UID MOVE 3 Sent")
        assert await found(client, "BODY rechnungsnummer") == [1, 4, 5, 6, 7]
        fill(server)
        assert await found(client, "BODY auch") == [7]
        await client.ok("SELECT Sent")
        assert await found(client, "BODY 0002") == [1]


async def test_a_renamed_folder_keeps_its_index_and_a_new_one_is_another(tmp_path: Path, small: None) -> None:
    async with office(tmp_path, 6) as server:
        client = await server.client(select="INBOX")
        await client.ok("CREATE Alt")
        await client.ok("COPY 1:6 Alt")
        fill(server)
        await client.ok("RENAME Alt Neu")
        await client.ok("CREATE Alt")
        fill(server)
        root = server.root()
        with fulltext.Reader(server.worker.indexes.path("meier"), indexing.STAMP) as index:
            for name, upto in (("Neu", 6), ("Alt", 0), ("INBOX", 6)):
                path = maildir.path_of(root, name)
                version = indexing.version_of(folderpool.get(path, root).sync())
                part = index.collection(indexing.name_of(path, root), version)
                assert (part.upto if part else 0) == upto
        await client.ok("SELECT Neu")
        assert await found(client, "BODY 0003") == [4]


async def test_a_damaged_index_changes_nothing_and_is_made_anew(tmp_path: Path, small: None,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, 6) as server:
        client = await server.client(select="INBOX")
        fill(server)
        wishes: list[indexes.Job] = []
        monkeypatch.setattr(server.worker.indexer, "wish", wishes.append)
        assert await found(client, "BODY 0003") == [4]
        assert not wishes
        path = server.worker.indexes.path("meier")
        path.write_bytes(b"SQLite format 3\0" + os.urandom(50_000))
        assert await found(client, "BODY 0003") == [4]
        assert [job.anew for job in wishes] == [True]
        path.unlink()
        assert await found(client, "BODY 0003") == [4]
        assert [job.anew for job in wishes] == [True, False]


async def test_a_long_search_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, 4) as server:
        client = await server.client(select="INBOX")
        monkeypatch.setattr(waiting, "EVERY", 0.0)
        answer = await client.command("SEARCH BODY 0003")
        tag = answer[-1].split()[0].decode()
        assert answer[2] == f'* OK [INPROGRESS ("{tag}" 2 4)] 50 % of the messages are looked at.'.encode()
        assert answer[4] == b"* SEARCH 4"
        assert len(await client.command("SORT (DATE) UTF-8 ALL")) == 4 + 2


async def test_switched_off(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path, 6, search_index=False) as server:
        client = await server.client(select="INBOX")
        fill(server)
        calls = opened(monkeypatch)
        assert await found(client, "BODY 0003") == [4]
        assert len(calls) == 6
        assert server.worker.indexes.filling() is None


async def test_what_is_not_all_there_or_too_large_is_always_looked_through(tmp_path: Path, small: None,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "LARGE", 5000)
    async with office(tmp_path, 6) as server:
        server.deliver(imapserver.message("lang", "wort\n" * 2000 + "spät\n"))
        whole = imapserver.message("halb", "angefangen\n")
        (Path(server.root()) / f"new/1.half,S={len(whole)}").write_bytes(whole[:-5])
        client = await server.client(select="INBOX")
        fill(server)
        (Path(server.root()) / f"cur/1.half,S={len(whole)}:2,").write_bytes(whole)
        assert await found(client, 'CHARSET UTF-8 BODY "spät"') == [8]
        assert await found(client, "BODY angefangen") == [1]


# --- the process in the background -----------------------------------------------------------------------------

@pytest.mark.slow
async def test_the_first_search_has_the_index_made(tmp_path: Path, small: None) -> None:
    async with office(tmp_path, 12) as server:
        client = await server.client(select="INBOX")
        assert await found(client, "BODY 0003") == [4]
        deadline = time.monotonic() + 90
        while not ((done := server.worker.indexes.progress("meier")) and done.finished):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert (done.done, done.total) == (12, 12)
        assert server.worker.indexes.path("meier").stat().st_mode & 0o777 == 0o600
        assert await found(client, "BODY 0003") == [4]
        while server.worker.indexes.filling():
            await asyncio.sleep(0.05)
        server.worker.indexer.tend()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [True, False])
def test_a_filler_that_ends_early_leaves_an_index_that_is_right(tmp_path: Path, kill: bool) -> None:
    root = str(tmp_path / "maildirs/meier")
    maildir.prepare(root)
    for number in range(300):
        maildir.put(root, imapserver.message(f"Betreff {number}", f"Rechnungsnummer {number:04d}\n" * 20))
    own = indexes.Indexes(tmp_path / "state/index")
    process = own.start(indexes.Job(root, share=1))
    assert process is not None
    assert own.start(indexes.Job(root)) is None
    while not own.path("meier").exists():
        time.sleep(0.01)
    if kill:
        process.stop()
    else:  # as when whoever started it is killed
        process._close()
        assert process.ended(30) == 0
    assert own.filling() is None
    indexing.Filling(own, indexes.Job(root)).run()
    with fulltext.Reader(own.path("meier"), indexing.STAMP) as index:
        part = index.collection("INBOX", indexing.version_of(folderpool.get(root, root).sync()))
        assert part is not None
        finding = index.lookup(part, (fulltext.BODY,), casemap.fold("Rechnungsnummer"))
        assert finding == fulltext.Finding(frozenset(range(1, 301)), frozenset(range(1, 301)))


@pytest.mark.slow
def test_the_wishes_of_several_workers_are_met_one_after_the_other(tmp_path: Path) -> None:
    own = indexes.Indexes(tmp_path / "state/index")
    jobs = []
    for name in ("meier", "schmidt"):
        root = str(tmp_path / name)
        maildir.prepare(root)
        maildir.put(root, imapserver.message())
        jobs.append(indexes.Job(root))
    workers = [indexer.Indexer(own), indexer.Indexer(own)]
    for worker, job in zip(workers, jobs, strict=True):
        worker.wish(job)
    workers[1].wish(jobs[0])
    deadline = time.monotonic() + 90
    while not all((done := own.progress(name)) and done.finished for name in ("meier", "schmidt")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        for worker in workers:
            worker.tend()
    for worker in workers:
        worker.stop()
    assert own.filling() is None
