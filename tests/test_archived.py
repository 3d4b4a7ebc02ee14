"""archived: from the spool into the archive, each once, whatever lies there and whatever goes wrong."""

import asyncio
import os
import time

import pytest

from lanmail import address, archived, daemon, envelope, spool
from lanmail.administration import backlog
from lanmail.archiving import intake, journal, reports, store
from tests.archivedroot import Archive
from tests.mailroot import dying, files, in_a_child, until

TEXT = b"Return-Path: <a@far.example>\nMessage-ID: <1@far.example>\n\nbody\n"


@pytest.fixture
def root(tmp_path):
    made = Archive(tmp_path)
    store.spool_of(made.paths).ensure()
    return made


def entry(root, mail_id=None, text=TEXT, *, form="accepted", receivers=("meier",)):
    """Queue an entry as deliver does; its file name."""
    known = store.Facts(mail_id or spool.new_id(), form, "", tuple(receivers), "mx")
    head = envelope.Envelope(address.parse("a@far.example"), [envelope.Recipient(address.parse("meier@office.lan"))],
                             origin=store.origin(known))
    return store.spool_of(root.paths).put(head, text)


def test_many_at_once_with_few_flushes(root, monkeypatch):
    count, flushed, real = 1200, [0], os.fsync
    ids = [spool.new_id() for _ in range(count)]
    for mail_id in ids:
        entry(root, mail_id)

    def fsync(descriptor):
        flushed[0] += 1
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert root.keep() == 0
    assert sorted(line["id"] for line in root.lines()) == sorted(ids)
    assert len(root.files()) == count
    assert root.entries() == []
    assert root.damage() == []
    assert flushed[0] < count / 20


def test_an_entry_that_is_there_already_is_not_kept_twice(root):
    entry(root, "17.M1.mail")
    assert root.keep() == 0
    entry(root, "17.M1.mail")
    assert root.keep() == 0
    assert len(root.lines()) == len(root.files()) == 1
    assert root.entries() == []


def test_an_entry_that_lies_there_twice_is_kept_once(root):
    entry(root, "17.M1.mail")
    entry(root, "17.M1.mail")
    assert root.keep() == 0
    assert len(root.lines()) == len(root.files()) == 1
    assert root.entries() == []


def test_two_forms_of_a_mail(root):
    entry(root, "17.M1.mail")
    entry(root, "17.M1.mail", b"Return-Path: <>\n\nsigned\n", form="sent")
    assert root.keep() == 0
    assert [line["form"] for line in root.lines()] == ["accepted", "sent"]


@pytest.mark.parametrize("step", range(40))
def test_killed_at_any_step_each_is_there_once(root, monkeypatch, step):
    for number in range(3):
        entry(root, f"17.M{number}.mail")

    async def life():
        with dying(step, monkeypatch):
            await archived.once(root.archived_context())

    in_a_child(life)
    entry(root, "17.M9.mail")
    assert root.keep() == 0
    assert sorted(line["id"] for line in root.lines()) == ["17.M0.mail", "17.M1.mail", "17.M2.mail", "17.M9.mail"]
    assert len(root.files()) == 4
    assert root.entries() == []
    assert root.damage() == []


def test_a_torn_line_after_the_name_is_in_the_store(root):
    """A power cut between the names and the journal: the entry is there, its line is half."""
    entry(root, "17.M0.mail")
    assert root.keep() == 0
    name = entry(root, "17.M1.mail")
    one = intake.Intake(root.paths)
    one.store.put(one.spool, name)
    one.close()
    with open(journal.path(root.paths), "ab") as file:
        file.write(b'{"seq":3,"file":"1970-01/cur/17.M1.mail')
    assert root.keep() == 0
    assert [line["id"] for line in root.lines()[-1:]] == ["17.M1.mail"]
    assert root.entries() == []


@pytest.mark.parametrize("text", [b"", b"no envelope\n\n", b"X-Sender: <>\n\nx\n",
                                  b"X-Sender: <a@b.example>\nX-Receiver: <c@d.example>\n\nx\n"])
def test_what_is_no_entry_for_the_archive_is_held_and_can_come_back(root, text):
    (root.paths.spool / "archive/new/17.M1.odd").write_bytes(text)
    entry(root, "17.M2.mail")
    assert root.keep() == 0
    assert len(root.lines()) == 1
    assert list(root.held()) == ["17.M1.odd"]
    item = backlog.find(root.paths, "17.M1.odd")
    assert backlog.release(root.paths, item) == "archive"  # never into the queue: it would be delivered again
    assert root.entries() == ["17.M1.odd"]


def test_a_torn_entry_is_held(root):
    name = entry(root)
    path = root.paths.spool / "archive/new" / name
    path.write_bytes(path.read_bytes()[:-3])
    assert root.keep() == 0
    assert "torn" in next(iter(root.held().values()))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)],
                         ids=["directory", "fifo", "link"])
def test_foreign_things_are_left_alone(root, make):
    make(root.paths.spool / "archive/new/17.odd")
    entry(root)
    assert root.keep() == 0
    assert root.entries() == ["17.odd"]
    assert len(root.lines()) == 1


def test_a_file_that_somebody_put_in_the_way_is_no_archived_mail(root):
    name = entry(root, "17.M1.mail")
    one = intake.Intake(root.paths)
    file = root.paths.archive / one.store.put(one.spool, name).body["file"]
    one.close()
    file.unlink()
    file.write_bytes(b"something else")
    assert root.keep() == 0
    assert root.lines() == []
    assert "not this file" in next(iter(root.held().values()))


def test_a_mail_that_was_changed_in_the_archive_and_comes_again_is_held(root):
    entry(root, "17.M1.mail")
    assert root.keep() == 0
    file, = root.files()
    file.chmod(0o600)
    file.write_bytes(b"changed")
    entry(root, "17.M1.mail")
    assert root.keep() == 0
    assert "as it was" in next(iter(root.held().values()))


def test_a_full_disk_keeps_everything_in_the_spool(root, monkeypatch):
    for number in range(3):
        entry(root, f"17.M{number}.mail")
    real = os.write

    def write(descriptor, data):
        if b'"kind":"mail"' in bytes(data):
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert root.keep() == 75
    assert len(root.entries()) == 3
    assert root.keep() == 0
    assert len(root.lines()) == len(root.files()) == 3
    assert root.damage() == []


async def test_it_takes_what_comes_while_it_runs(root):
    context = root.archived_context()
    serving = asyncio.create_task(archived.serve(context))
    try:
        await asyncio.to_thread(entry, root, "17.M1.mail")
        await until(lambda: len(root.lines()) == 1, 20)
        await asyncio.to_thread(entry, root, "17.M2.mail")
        await until(lambda: len(root.lines()) == 2, 20)
        await until(lambda: not root.entries(), 20)
        with pytest.raises(daemon.Refused, match="another lanmail-archived"):
            archived.Archived(context)
    finally:
        context.stopping.set()
        await serving


@pytest.mark.parametrize("name", ["archive", "spool/archive/new", "spool/archive"])
def test_directories_that_everybody_may_write_to_are_refused(root, name):
    (root.paths.root / name).mkdir(exist_ok=True)
    (root.paths.root / name).chmod(0o777)
    with pytest.raises(daemon.Refused, match="everybody"):
        root.keep()


def test_a_broken_journal_is_told_to_the_postmaster(root):
    for number in range(2):
        entry(root, f"17.M{number}.mail")
    assert root.keep() == 0
    path = journal.path(root.paths)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    entry(root, "17.M3.mail")
    assert root.keep() == 0
    assert len(root.lines("broken")) == 1
    assert root.run() == 0
    note, = root.inbox("chef")
    assert b"The journal of the mail archive is broken" in note
    assert b"line 3" in note


def test_the_end_of_the_journal_is_reported_once_a_day(root):
    root.paths.config_file.write_text(root.paths.config_file.read_text() + '[archived]\nreport = ["x@far.example"]\n')
    entry(root)
    assert root.keep() == 0
    book = journal.Journal(root.paths)
    settings = root.context().settings
    reports.daily(root.paths, settings, book)
    reports.daily(root.paths, settings, book)
    at = book.place()
    book.close()
    note, = files(root.paths.queue / "new")
    assert f"lanmail archive verify --head {at.seq}:{at.hash}".encode() in note
    assert b"X-Receiver: <x@far.example>" in note


@pytest.mark.parametrize(("hours", "reports_then"), [
    (-3650 * 24, 2),  # the first was written with a clock that went wrong
    (-1, 1),  # set back over midnight
    (24, 1), (25, 2),  # this day has 25 hours
])
def test_a_report_for_each_day_whatever_the_clock_did(root, monkeypatch, hours, reports_then):
    root.paths.config_file.write_text(root.paths.config_file.read_text() + '[archived]\nreport = ["x@far.example"]\n')
    settings, book = root.context().settings, journal.Journal(root.paths)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        midnight = time.mktime((2027, 10, 31, 0, 0, 0, 0, 0, -1))
        for moment in (midnight + 300, midnight + 900 + hours * 3600):
            patch.setattr(time, "time", lambda at=moment: at)
            reports.daily(root.paths, settings, book)
    time.tzset()
    book.close()
    assert len(files(root.paths.queue / "new")) == reports_then


@pytest.mark.slow
def test_ten_thousand(root):
    owner = store.spool_of(root.paths)
    head = envelope.Envelope(None, [envelope.Recipient(address.parse("meier@office.lan"))])
    for number in range(10_000):
        head.origin = store.origin(store.Facts(f"1763759701.M{number}.mail", "accepted", "", ("meier",), "mx"))
        raw = envelope.encode(head) + TEXT + b"x" * (number % 3000)
        name = f"1763759701.M{number}.mail,S={len(raw)},W={len(raw)}"
        (owner.new / name).write_bytes(raw)
    began = time.monotonic()
    assert root.keep() == 0
    print(f"{10_000 / (time.monotonic() - began):.0f} a second")
    assert len(root.lines()) == len(root.files()) == 10_000
    assert root.damage() == []
