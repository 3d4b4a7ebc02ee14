"""sources/imap.py: everything comes once, byte by byte; here from our own imapd."""

import asyncio
import calendar
import contextlib
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import spool
from lanmail.clients import imapclient
from lanmail.clients.smtplogin import Refused
from lanmail.errors import Temporary
from lanmail.folders import changes
from lanmail.sources import imapfolder, push, removal
from tests import imapserver
from tests.imapsource import Office
from tests.mailboxes import Place, message


@contextlib.asynccontextmanager
async def elsewhere(tmp_path: Path, **source: Any) -> AsyncIterator[tuple[Place, Office]]:
    """A server with the mailbox eva, and a source for it."""
    async with imapserver.running(tmp_path / "there", accounts=("eva",)) as server:
        there = Place.__new__(Place)
        there.paths, there.base = server.paths, tmp_path / "there"
        there.put(message("one", "x\n", "1@x"), account="eva")
        there.put(message("two", "y\n" * 1000, "2@x"), account="eva", flags=("\\Seen",))
        office = Office(tmp_path / "here", server.port, **source)
        try:
            yield there, office
        finally:
            await office.driver.close()


async def test_everything_comes_once_and_stays_as_it_was(tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (there, office):
        before = there.state("eva")
        done = await office.fetch()
        assert (done.fetched, done.kept, done.waiting, done.deleted) == (2, 2, 0, 0)
        assert sorted(office.mails()) == sorted([message("one", "x\n", "1@x"), message("two", "y\n" * 1000, "2@x")])
        assert (await office.fetch()).fetched == 0
        there.put(message("three"), account="eva")
        assert (await office.fetch()).fetched == 1
        office.set()
        assert (await office.fetch()).fetched == 0
        assert office.subjects() == ["one", "three", "two"]
        assert there.state("eva")["INBOX"][:2] == before["INBOX"]


async def test_deleted_is_what_was_fetched_and_nothing_else(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, delete=True) as (there, office):
        there.put(b"Subject: " + b"z" * 5000 + b"\n\n", account="eva", flags=("\\Deleted",))
        office.set(max_size=5000)
        done = await office.fetch()
        assert (done.fetched, done.deleted, done.large, done.kept) == (2, 2, 1, 1)
        assert [one[1] for one in there.state("eva")["INBOX"]] == [frozenset({"\\Deleted"})]
        assert (await office.fetch()).deleted == 0


async def test_without_uidplus_marks_of_others_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_can", lambda _client, _what: False)
    async with elsewhere(tmp_path, delete=True, max_size=6000) as (there, office):
        there.put(b"Subject: big\n\n" + b"z\n" * 5000, account="eva", flags=("\\Deleted", "\\Flagged"))
        assert (await office.fetch()).deleted == 2
        assert [one[1] for one in there.state("eva")["INBOX"]] == [frozenset({"\\Deleted", "\\Flagged"})]


@pytest.mark.parametrize("able", [True, False], ids=["MOVE", "COPY"])
async def test_moved_mail_does_not_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, able: bool) -> None:
    if not able:
        monkeypatch.setattr(removal, "_can", lambda _client, _what: False)
    async with elsewhere(tmp_path, move_to="Geholt/Büro", folders=["*"]) as (there, office):
        assert (await office.fetch()).fetched == 2
        state = there.state("eva")
        assert state["INBOX"] == []
        assert len(state["Geholt.Büro"]) == 2
        there.put(message("three"), account="eva")
        assert (await office.fetch()).fetched == 1
        assert len(there.state("eva")["Geholt.Büro"]) == 3
        assert office.subjects() == ["one", "three", "two"]


async def test_fetched_mail_is_marked_as_read_only_if_wished(tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (there, office):
        await office.fetch()
        assert [one[1] for one in there.state("eva")["INBOX"]] == [frozenset(), frozenset({"\\Seen"})]
        there.put(message("three"), account="eva")
        office.set(mark_seen=True)
        await office.fetch()
        assert [one[1] for one in there.state("eva")["INBOX"]] == [frozenset(), *[frozenset({"\\Seen"})] * 2]


async def test_copies_are_deleted_so_long_after_they_were_fetched(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, delete_after="3d") as (there, office):
        assert (await office.fetch()).deleted == 0
        log, = (office.paths.state / "fetched/meier/gmx").glob("*.uids")
        (at, *_), second = (line.split(" ") for line in log.read_text().splitlines())
        log.write_text(f"{int(at) - 3 * 86400} 1\n{' '.join(second)}\n")
        office.set()
        assert (await office.fetch()).deleted == 1
        assert [one[0] for one in there.state("eva")["INBOX"]] == [2]


async def test_copies_are_deleted_by_their_date(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, delete_older="30d") as (there, office):
        there.put(message("old"), account="eva", date=1_600_000_000)
        there.put(b"Subject: large\n\n" + b"z\n" * 5000, account="eva", date=1_600_000_000)
        office.set(max_size=5000)
        done = await office.fetch()
        assert (done.fetched, done.deleted) == (3, 1)
        assert [one[0] for one in there.state("eva")["INBOX"]] == [1, 2, 4]


async def test_no_copy_goes_too_early_whatever_the_zone_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """An INTERNALDATE is searched by its day, as the server shows it; some zones are 12 hours behind."""
    asked: list[str] = []

    async def search(_client: object, what: str) -> set[int]:
        asked.append(what)
        return set()

    monkeypatch.setattr(removal, "_search", search)
    for second in (43_199, 43_200):
        await removal._older(None, [1, 2], calendar.timegm((2026, 11, 22, 0, 0, second)))  # type: ignore[arg-type]
    assert asked == ["UID 1:2 BEFORE 21-Nov-2026", "UID 1:2 BEFORE 22-Nov-2026"]


async def test_mail_of_that_size_or_more_stays_and_is_told_once(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, folders=["Neu"]) as (there, office):
        for size in (999, 1000, 1001):
            start = f"Subject: =?utf-8?q?gr=C3=B6=C3=9Fe_{size}?=\r\n\r\n".encode()
            there.put((start + b"x" * (size - len(start))).replace(b"\r\n", b"\n"), "Neu", "eva")
        office.set(max_size=1000)
        done = await office.fetch()
        assert (done.fetched, done.large, done.waiting) == (1, 2, 0)
        assert (await office.fetch()).large == 2
        office.set()
        assert (await office.fetch()).large == 2
        note, _mail = ((office.queue.new / name).read_bytes() for name in office.queue.names())
        assert "größe 1001".encode() in note
        assert b"Auto-Submitted: auto-generated" in note
        office.set(max_size=1001)
        assert (await office.fetch()).fetched == 1


async def test_small_mail_comes_first_and_only_so_many_at_a_time(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imapfolder, "SMALL", 1000)
    async with elsewhere(tmp_path, mails_per_pass=2) as (there, office):
        for subject in ("three", "four"):
            there.put(message(subject), account="eva")
        done = await office.fetch()
        assert (done.fetched, done.waiting) == (2, 2)
        assert office.subjects() == ["one", "three"]
        done = await office.fetch()
        assert (done.fetched, done.waiting) == (2, 0)
        assert office.subjects() == ["four", "one", "three", "two"]
        assert (await office.fetch()).fetched == 0


async def test_new_uidvalidity_brings_no_second_copy_of_what_can_be_proved(tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (there, office):
        there.put(message("twice", "z\n", "3@x"), account="eva")
        there.put(message("no id"), account="eva")
        assert (await office.fetch()).fetched == 4
        before = next((office.paths.state / "fetched/meier/gmx").glob("*.uids")).read_text()
        mails = [one[3] for one in there.state("eva")["INBOX"]]
        root = there.root("eva")
        for name in ("cur", "new"):
            for file in (Path(root) / name).iterdir():
                file.unlink()
        (Path(root) / "dovecot-uidlist").rename(tmp_path / "old")  # the new one must not get its inode
        for text in [message("twice", "z\n", "3@x"), *reversed(mails), message("new", "x\n", "5@x")]:
            there.put(text, account="eva")
        assert (await office.fetch()).fetched == 3
        assert office.subjects() == ["new", "no id", "no id", "one", "twice", "twice", "two"]
        logs = list((office.paths.state / "fetched/meier/gmx").glob("*.uids"))
        assert len(logs) == 1
        assert {line.split(" ")[0] for line in before.splitlines()} & {
            line.split(" ")[0] for line in logs[0].read_text().splitlines()}
        office.set()
        assert (await office.fetch()).fetched == 0


async def test_folders_with_umlauts_and_without_those_that_nobody_wants(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, folders=["*"]) as (there, office):
        for name in ("Kunden.Müller & Söhne", "Gelöscht", "Gelöscht.Alt", "Junk", "Sent", "Kalender"):
            there.put(message(name), name, "eva")
        assert (await office.fetch()).fetched == 3
        office.set(folders=["kunden/müller & söhne", "GELÖSCHT"])
        assert (await office.fetch()).fetched == 1
        assert office.subjects() == ["Gelöscht", "Kunden.Müller & Söhne", "one", "two"]


async def test_what_others_expunge_meanwhile_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with elsewhere(tmp_path) as (there, office):
        real = imapfolder.Folder._sizes

        async def sizes(self: imapfolder.Folder, uids: list[int]) -> list[Any]:
            rows = await real(self, uids)
            own = there.folder(account="eva")
            changes.store(own, [uids[0]], "+", ["\\Deleted"])
            changes.expunge(own, [uids[0]])
            return rows

        monkeypatch.setattr(imapfolder.Folder, "_sizes", sizes)
        assert (await office.fetch()).fetched == 1
        assert office.subjects() == ["two"]


async def test_a_full_disk_remembers_and_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with elsewhere(tmp_path, delete=True) as (there, office):
        def full(_self: spool.Draft, **_options: bool) -> str:
            raise OSError(errno.ENOSPC, "no space")

        with monkeypatch.context() as patch:
            patch.setattr(spool.Draft, "seal", full)
            with pytest.raises(OSError, match="no space"):
                await office.fetch()
        assert len(there.state("eva")["INBOX"]) == 2
        assert list(office.queue.tmp.iterdir()) == []
        assert (await office.fetch()).deleted == 2
        assert office.subjects() == ["one", "two"]


async def test_what_an_earlier_visit_could_not_delete_is_deleted_later(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with elsewhere(tmp_path, delete=True) as (there, office):
        with monkeypatch.context() as patch:
            patch.setattr(removal.Way, "remove", refuse)
            with pytest.raises(Temporary, match="INBOX: not now"):
                await office.fetch()
        assert len(there.state("eva")["INBOX"]) == 2
        done = await office.fetch()
        assert (done.fetched, done.deleted) == (0, 2)


async def refuse(*_: object) -> None:
    raise imapclient.Denied("not now")


async def test_wrong_password_is_refused_and_said(tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (_, office):
        (office.paths.conf / "secrets/eva").write_text("falsch\n")
        with pytest.raises(Refused, match="log-in as eva refused"):
            await office.fetch()


async def test_probe_changes_nothing_and_tells_what_is_there(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, folders=["*"], move_to="Geholt") as (there, office):
        there.put(b"Date: Sun, 22 Nov 2026 05:00:00 +0000\n\n", "Kunden", "eva")
        said: list[str] = []
        before = there.state("eva")
        found = await office.driver.probe(office.visit(), said.append)
        assert (found.messages, found.folders, found.tls) == (3, ("INBOX", "Kunden"), "")
        assert found.octets == sum(len(one[3].replace(b"\n", b"\r\n")) for name in ("INBOX", "Kunden")
                                   for one in before[name])
        assert "IMAP4REV1" in found.capabilities
        assert found.login in ("PLAIN", "LOGIN")
        assert {name: mails for name, mails in there.state("eva").items() if mails} == before
        assert "Geholt" not in there.state("eva")
        assert said[-1] == "looking into Kunden"
        assert office.queue.names() == []


@pytest.mark.parametrize("able", [True, False], ids=["IDLE", "NOOP"])
async def test_push_returns_when_there_is_new_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *,
                                                   able: bool) -> None:
    monkeypatch.setattr(push, "NOOP", 0.1)
    async with elsewhere(tmp_path, push=True) as (there, office):
        assert (await office.fetch()).fetched == 2
        client = office.driver._seats["eva"].client
        assert client is not None
        client.capabilities -= set() if able else {"IDLE"}
        waiting = asyncio.create_task(office.driver.wait(office.visit()))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        there.put(message("three"), account="eva")
        await asyncio.wait_for(waiting, 30)
        assert (await office.fetch()).fetched == 1
        assert office.driver._seats["eva"].client is client
        there.put(message("four"), account="eva")
        assert (await office.fetch()).fetched == 1
        waiting = asyncio.create_task(office.driver.wait(office.visit()))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        there.put(message("five"), account="eva")
        assert (await office.fetch()).fetched == 1
        assert office.driver._seats["eva"].client is client


@pytest.mark.parametrize(("folders", "expected"), [(["INBOX"], ["one", "team", "two"]),
                                                   (["*"], ["kunden", "one", "team", "two"])], ids=str)
async def test_a_shared_mailbox_as_folders_of_our_log_in(
        tmp_path: Path, folders: list[str], expected: list[str]) -> None:
    async with elsewhere(tmp_path, shared="info@firma.example", folders=folders) as (there, office):
        with pytest.raises(Temporary, match="no mailbox info"):
            await office.fetch()
        (there.paths.accounts / "info.toml").write_text('shared = true\nmembers = ["eva"]\n')
        there.put(message("team"), account="info")
        there.put(message("kunden"), "Kunden", "info")
        there.put(message("spam"), "Junk", "info")
        fetched = 0
        async with asyncio.timeout(30):  # the server there may still take the account for one that is not shared
            while fetched < len(expected):
                with contextlib.suppress(Temporary):
                    fetched += (await office.fetch()).fetched
        assert office.subjects() == expected


async def test_a_large_folder_is_listed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imapfolder, "LISTING", 2)
    async with elsewhere(tmp_path, mails_per_pass=3) as (there, office):
        for number in range(5):
            there.put(message(str(number)), account="eva")
        assert [(await office.fetch()).fetched for _ in range(4)] == [3, 3, 1, 0]
        assert office.subjects() == ["0", "1", "2", "3", "4", "one", "two"]
