"""The long way of a mail: journal, retries, kills at any step, odd file systems."""

import asyncio
import os
import tempfile

import pytest

from lanmail import spool
from lanmail.delivery import attempt, desk, maildrop, progress
from tests.mailroot import Root, Running, dying, files, in_a_child, until

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def test_trouble_of_our_own_is_tried_again_and_nothing_comes_twice(root, monkeypatch):
    entry_id = root.put("meier@office.lan", "schmidt@office.lan", "x@far.example", **OURS)
    real, failing = maildrop.Maildrop.link, {"schmidt"}

    def link(self, account, *rest):
        if account in failing:
            raise OSError(28, "No space left on device", account)
        real(self, account, *rest)

    monkeypatch.setattr(maildrop.Maildrop, "link", link)
    assert root.run() == os.EX_TEMPFAIL
    assert len(root.inbox("meier")) == 1
    assert len(files(root.paths.outbound / "new")) == 1
    state = progress.load(root.queue, entry_id)
    assert state.delivered == ["meier"]
    assert state.outbound == ["x@far.example"]
    assert state.tries == 1
    assert "No space left" in state.error
    # a client took the mail away meanwhile: what is done stays done
    for name in os.listdir(root.paths.maildirs / "meier/new"):
        os.unlink(root.paths.maildirs / "meier/new" / name)
    os.unlink(next((root.paths.outbound / "new").iterdir()))
    failing.clear()
    assert root.run() == 0
    assert root.inbox("meier") == []
    assert files(root.paths.outbound / "new") == []
    assert len(root.inbox("schmidt")) == 1
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())


async def test_a_retry_comes_by_itself(root, monkeypatch):
    monkeypatch.setattr(progress, "DELAYS", (0.02,))
    real, count = maildrop.Maildrop.rename, []

    def rename(self, account, *rest):
        count.append(account)
        if len(count) < 3:
            raise OSError(5, "Input/output error")
        real(self, account, *rest)

    monkeypatch.setattr(maildrop.Maildrop, "rename", rename)
    monkeypatch.setattr(maildrop.Maildrop, "link", rename)
    async with Running(root):
        root.put("meier@office.lan")
        await until(lambda: len(count) >= 2)
        real_link = maildrop.Maildrop.link
        monkeypatch.undo()
        assert real_link is not maildrop.Maildrop.link
        await until(lambda: root.inbox("meier"))
    assert root.waiting() == []


def test_a_broken_account_file_delays_only_its_own_mail(root):
    (root.paths.accounts / "schmidt.toml").write_text("nonsense = [\n")
    root.put("schmidt@office.lan", "meier@office.lan")
    root.put("meier@office.lan")
    code = root.run()
    assert len(root.inbox("meier")) == 2
    assert code in (os.EX_OK, os.EX_TEMPFAIL)
    assert len(root.inbox("schmidt")) + len(root.waiting()) == 1


def test_an_unclassified_error_delays_the_mail_and_stops_no_other(root, monkeypatch):
    bad, good = root.put("meier@office.lan"), root.put("schmidt@office.lan")
    real = desk.Desk._route

    def buggy(self, one, recheck):
        if one.id == bad:
            raise ZeroDivisionError("bug")
        return real(self, one, recheck)

    monkeypatch.setattr(desk.Desk, "_route", buggy)
    assert root.run() == os.EX_TEMPFAIL
    assert len(root.inbox("schmidt")) == 1
    assert [spool.parse_name(name).id for name in root.waiting()] == [bad]
    monkeypatch.undo()
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert good != bad


def test_a_full_disk_at_the_journal_leaves_everything_for_the_next_try(root, monkeypatch):
    root.put("nobody@office.lan", "x@far.example", "meier@office.lan", **OURS)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "save", full)
    assert root.run() == os.EX_TEMPFAIL
    assert files(root.paths.outbound / "new") == []
    assert len(root.inbox("meier")) == 1
    monkeypatch.undo()
    assert root.run() == 0
    assert len(files(root.paths.outbound / "new")) == 1
    assert len(root.inbox("meier")) == 2, "the mail once, and the bounce"


# one copy

def test_the_only_copy_is_the_entry_itself(root):
    (root.paths.accounts / "meier.toml").write_text("archive = true\n")
    root.put("meier@office.lan")
    (queued,) = (root.paths.queue / "new").iterdir()
    number = queued.stat().st_ino
    assert root.run() == 0
    (there,) = (root.paths.maildirs / "meier/new").iterdir()
    assert there.stat().st_ino == number
    assert len(files(root.paths.spool / "archive/new")) == 1
    assert not list((root.paths.state / "queue").iterdir())


@pytest.mark.parametrize("to", [["schmidt@office.lan"], ["meier@office.lan", "chef@office.lan"]])
def test_nobody_reads_in_his_copy_whom_else_the_envelope_names(root, to):
    (root.paths.accounts / "schmidt.toml").write_text('[forward]\nto = ["meier"]\n')
    (root.paths.accounts / "meier.toml").write_text("archive = true\n")
    root.put(*to)
    assert root.run() == 0
    assert not root.inbox("meier")[0].startswith(b"X-Sender")


def test_the_entry_stays_in_the_queue_until_the_mailbox_can_be_written(root, monkeypatch):
    (root.paths.accounts / "meier.toml").write_text("archive = true\n")
    real = maildrop.Maildrop.rename

    def full(*_rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maildrop.Maildrop, "rename", full)
    entry_id = root.put("meier@office.lan")
    assert root.run() == os.EX_TEMPFAIL
    assert progress.load(root.queue, entry_id).delivered == []
    monkeypatch.setattr(maildrop.Maildrop, "rename", real)
    assert root.run() == 0
    assert len(root.inbox("meier")) == len(files(root.paths.spool / "archive/new")) == 1
    assert root.waiting() == []


# odd surroundings

def test_without_the_order_of_ext4_directories_are_synced(root, monkeypatch):
    monkeypatch.setattr(spool, "one_fsync", lambda _directory: False)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    root.put("meier@office.lan")
    root.put("schmidt@office.lan", "x@far.example", **OURS)
    root.put("y@far.example", **OURS)
    assert root.run() == 0
    assert len(root.inbox("meier")) == len(root.inbox("schmidt")) == 1
    assert len(files(root.paths.outbound / "new")) == 2
    for where in ("maildirs/meier/new", "maildirs/schmidt/new", "spool/outbound/new", "spool/queue/tmp"):
        assert str(root.paths.root / where) in synced, where


@pytest.mark.skipif(os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev, reason="needs two file systems")
def test_maildirs_on_another_file_system_get_a_copy(root):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        root.paths.maildirs.symlink_to(elsewhere)
        root.put("meier@office.lan")
        root.put("meier@office.lan", "schmidt@office.lan")
        (root.paths.accounts / "chef.toml").write_text("postmaster = true\narchive = true\n")
        root.put("chef@office.lan")
        assert root.run() == 0
        assert len(root.inbox("meier")) == 2
        assert len(root.inbox("chef")) == 1
        assert len(root.inbox("schmidt")) == 1
        assert os.listdir(root.paths.maildirs / "meier/tmp") == []
    assert root.waiting() == []


async def test_a_spool_that_was_replaced_is_noticed(root):
    running = Running(root)
    assert not running.deliver.office.is_elsewhere()
    os.rename(root.paths.queue, root.paths.root / "old")
    assert running.deliver.office.is_elsewhere()
    (root.paths.queue / "new").mkdir(parents=True)
    assert running.deliver.office.is_elsewhere()
    running.deliver.close()


async def test_no_descriptors_left_is_trouble_that_passes(root, monkeypatch):
    real, count = desk.entry.read, []

    def read(*arguments):
        count.append(1)
        if len(count) < 3:
            raise OSError(24, "Too many open files")
        return real(*arguments)

    monkeypatch.setattr(progress, "DELAYS", (0.01,) * 8)
    monkeypatch.setattr(desk.entry, "read", read)
    async with Running(root):
        root.put("meier@office.lan")
        await until(lambda: root.inbox("meier"))


async def test_a_stopping_deliver_leaves_the_rest_for_the_next_one(root):
    running = Running(root)
    for _ in range(50):
        root.put("meier@office.lan")
    running.deliver.begin()
    running.deliver.close()
    await asyncio.sleep(0)
    assert len(root.inbox("meier")) + len(root.waiting()) == 50


# killed

@pytest.mark.parametrize("step", range(60))
def test_a_kill_at_any_step_loses_nothing_and_doubles_nothing(root, monkeypatch, step):
    """Several accounts, the outside, an alias that leads out and a bounce, cut at the n-th system call."""
    root.put("meier@office.lan", "schmidt@office.lan", "both@office.lan", "x@far.example", "nobody@office.lan", **OURS)

    async def first_life():
        running = Running(root)
        one = running.desk._read(running.deliver.office.queue.names()[0], spool.NEW, True)
        job = attempt.Attempt(running.deliver.office, one, running.desk._route(one, False), postmaster="chef",
                              recheck=False, say=lambda _text: None)
        with dying(step, monkeypatch):
            job.run()

    in_a_child(first_life)
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    mails = root.inbox("meier")
    assert sum(b"delivery-status" in mail for mail in mails) == 1
    assert sum(b"delivery-status" not in mail for mail in mails) == 1
    outside = files(root.paths.outbound / "new")
    assert sorted(b"x@far.example" in one for one in outside) == [False, True]
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())
