"""`lanmail mailbox import imap://…`: everything comes once, byte by byte, whatever breaks in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.cli.mailbox import copying, count, intake, journal, naming, progress, remote
from lanmail.clients import imapclient, smtplogin
from lanmail.folders import changes, folder
from lanmail.secret import Secret
from tests import imapserver
from tests.mailboxes import Place, message

WHEN = 1_600_000_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "here", "meier")


@contextlib.asynccontextmanager
async def elsewhere(tmp_path: Path, many: int = 5) -> AsyncIterator[tuple[imapserver.Server, Place]]:
    """Our own imapd as the other server, with a few folders."""
    async with imapserver.running(tmp_path / "there", accounts=("eva",)) as server:
        there = Place.__new__(Place)
        there.paths, there.base = server.paths, tmp_path / "there"
        maildir.prepare(there.root("eva"))
        for number in range(many):
            there.put(message(f"mail {number}", "x\n" * number, f"{number}@x"), account="eva", date=WHEN + number,
                      flags=("\\Flagged", "Wichtig") if number % 2 else ())
        there.put(b"Subject: long lines\n\n" + b"y" * 300_000 + b"\n\rcr\n", "Projekte.Entwürfe & Skizzen", "eva",
                  ("\\Seen",), WHEN)
        there.put(b"", "Sent", "eva", date=WHEN)
        yield server, there


def target(server: imapserver.Server, port: int = 0) -> imapclient.Target:
    who = smtplogin.Credentials("eva", Secret(imapserver.PASSWORD))
    return imapclient.Target("127.0.0.1", port or server.port, who, "none")


async def run(place: Place, at: imapclient.Target, wishes: copying.Wishes | None = None, *,
              dry_run: bool = False) -> dict[str, count.Count]:
    root = place.root()
    with journal.opened(place.paths.state, Path(root), dry_run=dry_run) as known:
        made = intake.Intake(root, known, dry_run=dry_run)
        work = copying.Copying(made, naming.Naming(root), wishes or copying.Wishes(), progress.Progress(shown=False))
        try:
            await remote.Remote(at, work, imapclient.Patience(5, 5)).run()
        finally:
            made.close()
    return {one.target: one for one in work.counts.values()}


def contents(place: Place, account: str = "meier") -> dict[str, list[tuple[frozenset[str], int, bytes]]]:
    return {name: [one[1:] for one in mails] for name, mails in place.state(account).items() if mails}


async def test_everything_comes_and_only_once(place: Place, tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (server, there):
        dry = await run(place, target(server), dry_run=True)
        assert dry["INBOX"].copied == 5
        assert contents(place) == {}
        first = await run(place, target(server))
        assert {name: one.copied for name, one in first.items() if one.copied} == {
            "INBOX": 5, "Projekte.Entwürfe & Skizzen": 1, "Sent": 1}
        assert contents(place) == contents(there, "eva")
        again = await run(place, target(server))
        assert sum(one.copied for one in again.values()) == 0
        assert sum(one.there for one in again.values()) == 7
        there.put(message("later"), account="eva")
        assert (await run(place, target(server)))["INBOX"].copied == 1
        assert contents(place) == contents(there, "eva")


async def test_what_is_deleted_here_stays_deleted(place: Place, tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (server, _):
        await run(place, target(server))
        changes.expunge(place.folder(), [1, 2])
        assert (await run(place, target(server)))["INBOX"].copied == 0
        assert len(contents(place)["INBOX"]) == 3


async def test_new_uids_at_the_server_bring_nothing_twice(place: Place, tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (server, there):
        await run(place, target(server))
        before = contents(place)
        await server.worker.close()
        for uids in Path(there.root("eva")).rglob("dovecot-uidlist"):
            uids.unlink()
    async with imapserver.running(tmp_path / "there", accounts=("eva",)) as server:
        again = await run(place, target(server))
    assert sum(one.copied for one in again.values()) == 0
    assert contents(place) == before


async def test_chosen_folders_and_days(place: Place, tmp_path: Path) -> None:
    import datetime
    async with elsewhere(tmp_path) as (server, there):
        there.put(message("new", identity="new@x"), account="eva", date=WHEN + 5 * 86400)
        day = datetime.date(2020, 9, 15)
        found = await run(place, target(server), copying.Wishes(since=day, excluded=("projekte",)))
        assert {name: one.copied for name, one in found.items() if one.copied} == {"INBOX": 1}
        found = await run(place, target(server), copying.Wishes(folders=("Projekte",)))
        assert set(found) == {"Projekte.Entwürfe & Skizzen"}


async def test_only_what_no_folder_has(place: Place, tmp_path: Path) -> None:
    async with elsewhere(tmp_path) as (server, there):
        await run(place, target(server), copying.Wishes(folders=("INBOX",)))
        for number in range(8):
            there.put(message(f"mail {number}", "x\n" * number, f"{number}@x"), "All Mail", "eva", date=WHEN)
        found = await run(place, target(server), copying.Wishes(folders=("All Mail",), unique=True))
        assert (found["All Mail"].copied, found["All Mail"].there) == (3, 5)
        found = await run(place, target(server), copying.Wishes(folders=("All Mail",), unique=True))
        assert (found["All Mail"].copied, found["All Mail"].there) == (0, 8)


@contextlib.asynccontextmanager
async def breaking(port: int, *limits: int) -> AsyncIterator[int]:
    """A line that is cut after so many octets from the server: each connection after the next limit."""
    left = list(limits)
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: float, ends: list) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                limit -= len(data)
                if limit < 0:
                    break
                writer.write(data)
                await writer.drain()
        for one in ends:
            one.transport.abort()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        limit = left.pop(0) if left else float("inf")
        ends = [writer, far_writer]
        for one in (pump(far_reader, writer, limit, ends), pump(reader, far_writer, float("inf"), ends)):
            task = asyncio.ensure_future(one)
            tasks.add(task)

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*tasks)


async def test_a_line_that_breaks_again_and_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    async def no_wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(remote, "pause", no_wait)
    monkeypatch.setattr(remote, "WINDOW", 7)
    monkeypatch.setattr(remote, "_BATCH", 3)
    monkeypatch.setattr(intake, "_MESSAGES", 5)
    async with elsewhere(tmp_path, 40) as (server, there):
        async with breaking(server.port, 100, 900, 3000, 9000, 20_000, 100_000) as port:
            found = await run(place, target(server, port))
        assert contents(place) == contents(there, "eva")
        assert found["INBOX"].copied == 40
    assert len(waited) >= 5
    assert not any(Path(place.root()).rglob("tmp/*"))


async def test_somebody_expunges_meanwhile(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WINDOW", 4)
    monkeypatch.setattr(remote, "AHEAD", 1)
    async with elsewhere(tmp_path, 20) as (server, there):
        real = intake.Intake.add
        done = []

        def add(self, *arguments, **more):  # type: ignore[no-untyped-def]
            if not done:
                done.append(changes.expunge(folder.Folder(there.root("eva"), there.root("eva")), [1, 2, 3, 10]))
            return real(self, *arguments, **more)

        monkeypatch.setattr(intake.Intake, "add", add)
        await run(place, target(server))
        here = {text for _, _, text in contents(place)["INBOX"]}
        assert {text for _, _, text in contents(there, "eva")["INBOX"]} <= here


def test_on_the_command_line(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not belong on the command line" in place.call("import", "meier", "imaps://eva:x@localhost/", code=64)
    assert "name the server" in place.call("import", "meier", "imaps://localhost/", "--password-stdin", code=64)
    assert "a password is needed" in place.call("import", "meier", "imaps://eva@localhost/", code=64)
    # nobody listens there
    said = place.call("import", "meier", "imap://eva@127.0.0.1:1/", "--password-stdin", stdin="x\n", code=69)
    assert "no connection to 127.0.0.1:1" in said


def test_moments() -> None:
    assert remote.moment(b"13-Sep-2020 14:26:40 +0200") == WHEN
    assert remote.moment(b" 3-sep-2020 12:26:40 +0000") == WHEN - 864_000
    assert remote.moment(b"nonsense") is None
    assert remote.moment(b"13-Foo-2020 14:26:40 +0200") is None
