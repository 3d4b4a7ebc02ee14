"""What deliver puts into a mailbox that somebody lists is in its cache soon after; nothing waits for that."""

import os
import threading
from pathlib import Path

import pytest

from lanmail.delivery import desk, filling
from lanmail.folders import summaries
from lanmail.mime import summary
from tests import imapserver, mailroot
from tests.mailroot import Root, Running, until

MAIL = b"Return-Path: <a@far.example>\nFrom: Anna <a@far.example>\nSubject: Angebot\n\nGuten Tag\n"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "REST", 0.001)


def inbox(root: Root, account: str, *, listed: bool = True) -> str:
    path = root.paths.maildirs / account
    for name in ("tmp", "new", "cur"):
        (path / name).mkdir(parents=True, exist_ok=True)
    if listed:
        summaries.Cache(str(path)).write([summaries.make("another", 0)])
    return str(path)


def kept(path: str) -> list[bytes | None]:
    """The envelopes in the cache of a folder, by the names of the files there."""
    with summaries.Cache(path).reading() as reader:
        found = [reader.get(name.partition(":")[0]) for sub in ("new", "cur") for name in os.listdir(f"{path}/{sub}")]
    return [record.envelope for record in found if record is not None]


async def test_one_recipient_and_several(root: Root) -> None:
    meier, schmidt = inbox(root, "meier"), inbox(root, "schmidt")
    async with Running(root):
        root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(kept(meier)) == 1)
        root.put("info@office.lan", message=MAIL)
        await until(lambda: len(kept(meier)) == 2 and len(kept(schmidt)) == 1)
    assert all(b'"Angebot"' in (envelope or b"") for envelope in kept(meier) + kept(schmidt))


async def test_imap_tells_it_without_opening_the_message(root: Root, tmp_path: Path) -> None:
    path = inbox(root, "meier")
    async with Running(root):
        root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(kept(path)) == 1)
    async with imapserver.running(tmp_path) as server:
        client = await server.client(select="INBOX")
        for file in Path(path).glob("cur/*"):
            file.write_bytes(file.read_bytes().replace(b"Subject", b"Ssubject"))  # would be told if it were opened
        assert b'"Angebot"' in (await client.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE)"))[0]


async def test_where_nobody_listed_there_is_no_cache(root: Root) -> None:
    path = inbox(root, "meier", listed=False)
    async with Running(root) as running:
        root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(os.listdir(f"{path}/new")) == 1)
        await until(lambda: not running.deliver.office.filling.left)
    assert not summaries.exists(path)


async def test_mail_comes_first(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the filling stands still."""
    path, still = inbox(root, "meier"), threading.Event()
    plain = summary.of_files
    monkeypatch.setattr(summary, "of_files", lambda *given, **named: still.wait(20) and plain(*given, **named))
    async with Running(root):
        root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(os.listdir(f"{path}/new")) == 1)
        for _ in range(20):
            root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(os.listdir(f"{path}/new")) == 21)
        assert kept(path) == []
        still.set()
        await until(lambda: len(kept(path)) == 21)


async def test_trouble_costs_the_record_and_nothing_else(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    path = inbox(root, "meier")

    def fail(*_given: object, **_named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(summary, "of", fail)
    async with Running(root) as running:
        root.put("meier@office.lan", message=MAIL)
        await until(lambda: len(os.listdir(f"{path}/new")) == 1)
        await until(lambda: not running.deliver.office.filling.left)
    assert mailroot.files(Path(path) / "new")
    assert kept(path) == []


def test_notes_are_bounded_and_odd_ones_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "MOST", 6)
    monkeypatch.setattr(filling, "LARGEST", len(MAIL))
    path = tmp_path / "meier"
    for name in ("tmp", "new", "cur"):
        (path / name).mkdir(parents=True)
    cache = summaries.Cache(str(path))
    cache.write([summaries.make(f"5,S={len(MAIL)}", 0)])  # a session was faster
    (path / f"new/1,S={len(MAIL)}").write_bytes(MAIL)
    (path / f"cur/2,S={len(MAIL)}:2,").write_bytes(MAIL)
    (path / f"new/3,S={len(MAIL) + 1}").write_bytes(MAIL + b"\n")
    os.mkfifo(path / "new/4,S=5")
    (path / f"new/5,S={len(MAIL)}").write_bytes(MAIL)
    notes = filling.Filling(tmp_path)
    for name in (*os.listdir(path / "new"), f"2,S={len(MAIL)}", "gone,S=5", "one too many"):
        notes.note("meier", name)
    assert notes.left == 6
    before = os.stat(cache.path).st_size
    notes.fill()
    assert notes.left == 0
    with cache.reading() as reader:
        assert [number for number in "12345" if reader.get(f"{number},S={len(MAIL)}")] == ["1", "2", "5"]
    written = os.stat(cache.path).st_size - before
    os.rename(path / f"new/5,S={len(MAIL)}", path / f"new/6,S={len(MAIL)}")
    notes.note("meier", f"6,S={len(MAIL)}")
    notes.fill()
    assert os.stat(cache.path).st_size - before == pytest.approx(written * 3 / 2), "1 and 2 were written, 5 was not"
