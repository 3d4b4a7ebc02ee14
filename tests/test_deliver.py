"""deliver: where mail goes, that it goes there once, and what happens when something is in the way."""

import asyncio
import email
import email.policy
import os
import tempfile
import time

import pytest
from click.testing import CliRunner

from lanmail import daemon, deliver, spool
from lanmail.delivery import attempt, desk, maildrop, office, progress
from tests.mailroot import Root, Running, dying, files, in_a_child, until

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def bounce_of(mail):
    message = email.message_from_bytes(mail, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    return message


# where it goes

@pytest.mark.parametrize(("to", "account"), [
    ("meier@office.lan", "meier"), ("Meier@OFFICE.lan", "meier"), ("meier+shop@office.lan", "meier"),
    ("sales@office.lan", "meier"), ("postmaster@office.lan", "chef"), ("abuse@office.lan", "chef"),
])
def test_one_local_recipient_is_one_rename(root, to, account):
    root.put(to)
    name = root.queue.names()[0]
    before = os.stat(root.queue.new / name).st_ino
    assert root.run() == 0
    landed = root.paths.maildirs / account / "new" / name
    assert landed.stat().st_ino == before
    assert root.waiting() == []
    assert not list((root.paths.state / "queue").iterdir())


def test_several_local_recipients_share_one_clean_copy(root):
    root.put("meier@office.lan", "schmidt@office.lan", "sales@office.lan")
    assert root.run() == 0
    names = {account: os.listdir(root.paths.maildirs / account / "new") for account in ("meier", "schmidt")}
    assert names["meier"] == names["schmidt"]
    assert root.inbox("meier") == root.inbox("schmidt") == [b"Return-Path: <a@far.example>\nSubject: hi\n\nbody\n"]
    found = (root.paths.maildirs / "meier" / "new" / names["meier"][0]).stat()
    assert found.st_nlink == 2
    parsed = spool.parse_name(names["meier"][0])
    assert parsed.size == found.st_size
    assert parsed.wire_size == found.st_size + 4
    assert root.waiting() == []
    assert os.listdir(root.queue.tmp) == []


def test_an_alias_for_two_reaches_both_and_names_nobody(root):
    root.put("info@office.lan")
    assert root.run() == 0
    assert b"X-Receiver" not in root.inbox("meier")[0] + root.inbox("schmidt")[0]


def test_external_mail_is_handed_on_as_it_is(root):
    root.put("a@far.example", "b@far.example", **OURS)
    name = root.queue.names()[0]
    data = (root.queue.new / name).read_bytes()
    assert root.run() == 0
    assert (root.paths.outbound / "new" / name).read_bytes() == data


def test_mixed_mail_is_split_and_nobody_learns_of_the_others(root):
    root.put("meier@office.lan", "b@far.example", "schmidt@office.lan", **OURS)
    assert root.run() == 0
    assert b"X-Receiver" not in root.inbox("meier")[0] + root.inbox("schmidt")[0]
    (outside,) = files(root.paths.outbound / "new")
    assert outside.startswith(b"X-Sender: <meier@office.lan>\nX-Receiver: <b@far.example>\n"
                              b"X-Origin: submission account=meier\nReturn-Path: <meier@office.lan>\n")
    assert b"office.lan" not in outside.split(b"Return-Path")[0].replace(b"<meier@office.lan>", b"")
    assert not list((root.paths.state / "queue").iterdir())


def test_what_an_alias_sends_outside_carries_delivered_to(root):
    root.put("both@office.lan", "z@far.example", **OURS)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    copies = sorted(files(root.paths.outbound / "new"))
    assert len(copies) == 2
    through = next(one for one in copies if b"y@far.example" in one)
    assert b"Return-Path: <meier@office.lan>\nDelivered-To: both@office.lan\nSubject" in through
    assert not any(b"both@office.lan" in one for one in copies if one is not through)


# nobody there

def test_our_own_sender_is_told_and_the_postmaster_too(root):
    entry_id = root.put("nobody@office.lan", "meier@office.lan", **OURS)
    assert root.run() == 0
    mails = root.inbox("meier")
    assert len(mails) == 2
    bounce = bounce_of(next(mail for mail in mails if b"delivery-status" in mail))
    assert entry_id in bounce.as_string()
    assert b"delivery-status" in root.inbox("chef")[0]
    assert root.waiting() == []


def test_strangers_are_not_told_but_the_postmaster_gets_the_mail(root):
    root.put("nobody@office.lan")
    assert root.run() == 0
    assert b"X-Receiver: <nobody@office.lan>" in root.inbox("chef")[0]
    assert root.inbox("chef")[0].endswith(b"\nbody\n")
    assert files(root.paths.outbound / "new") == []


@pytest.mark.parametrize("sent", [
    {"sender": None, "kind": "local"},
    {"sender": "meier@office.lan", "kind": "submission", "params": (("NOTIFY", "NEVER"),)},
    {**OURS, "message": b"Return-Path: <meier@office.lan>\nAuto-Submitted: auto-replied\n\nx\n"},
    {**OURS, "message": b"Return-Path: <meier@office.lan>\nPrecedence: bulk\n\nx\n"},
])
def test_no_bounce_for_null_sender_automatic_mail_and_notify_never(root, sent):
    root.put("nobody@office.lan", **sent)
    assert root.run() == 0
    assert root.inbox("meier") == []
    assert len(root.inbox("chef")) == 1


def test_without_a_postmaster_nothing_is_lost(tmp_path):
    root = Root(tmp_path, postmaster=False)
    unknown = root.put("nobody@office.lan")
    nobody = root.put("postmaster@office.lan")
    partly = root.put("nobody@office.lan", "meier@office.lan")
    assert root.run() == 0
    held = root.held()
    assert set(held) == {unknown, nobody, f"{partly}-1"}
    assert "There is no nobody here" in held[unknown]
    assert "no account is postmaster" in held[nobody]
    assert len(root.inbox("meier")) == 1
    copy = next(data for data in files(root.paths.hold / "new") if data.count(b"X-Receiver") == 1
                and b"nobody" in data)
    assert b"<meier@office.lan>" not in copy


def test_unknown_names_go_to_the_postmaster_when_so_set(tmp_path):
    root = Root(tmp_path, settings='[deliver]\nunknown_local = "postmaster"\n')
    root.put("nobody@office.lan", **OURS)
    assert root.run() == 0
    assert b"X-Receiver: <nobody@office.lan>" in root.inbox("chef")[0]
    assert root.inbox("meier") == []


def test_success_is_told_when_asked_for(root):
    root.put("schmidt@office.lan", params=(("NOTIFY", "SUCCESS"),), **OURS)
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    status = list(bounce_of(root.inbox("meier")[0]).iter_parts())[1].get_payload()[1]
    assert (status["Action"], status["Status"]) == ("delivered", "2.1.5")


# loops

@pytest.mark.parametrize("kind", ["fetch", "other"])
def test_too_many_hops_go_to_hold_with_one_note(root, kind):
    entry_id = root.put("meier@office.lan", kind=kind, message=b"Return-Path: <>\n" + b"Received: x\n" * 51 + b"\nx\n")
    root.put("meier@office.lan", kind=kind, message=b"Return-Path: <>\n" + b"Received: x\n" * 50 + b"\nx\n")
    assert root.run() == 0
    assert list(root.held()) == [entry_id]
    assert "51 Received" in root.held()[entry_id]
    (note,) = root.inbox("chef")
    assert b"Subject: Mail loop stopped" in note
    assert len(root.inbox("meier")) == 1


def test_a_mail_that_comes_back_to_a_way_out_stops(root):
    entry_id = root.put("away@office.lan", "meier@office.lan",
                        message=b"Return-Path: <a@far.example>\nDelivered-To: away@office.lan\n\nx\n")
    assert root.run() == 0
    assert list(root.held()) == [f"{entry_id}-1"]
    assert "mail loop" in root.held()[f"{entry_id}-1"]
    assert len(root.inbox("meier")) == 1
    assert files(root.paths.outbound / "new") == []
    assert len(root.inbox("chef")) == 1


# what is no entry

def write(root, name, data):
    (root.queue.new / name).write_bytes(data)
    return name


def test_torn_and_foreign_entries_go_to_hold_with_the_reason(root):
    head = b"X-Sender: <a@far.example>\nX-Receiver: <meier@office.lan>\n"
    cases = {
        write(root, "1.torn,S=4000,W=4100", head + b"\nx\n"): "torn",
        write(root, "2.empty", b""): "empty",
        write(root, "3.empty,S=99", b""): "torn",
        write(root, "4.plain", b"Subject: x\n\nno envelope\n"): "no envelope",
        write(root, "5.nobody", b"X-Sender: <a@far.example>\n\nx\n"): "no recipients",
        write(root, "6.broken", b"X-Sender: <a@far.example>\nX-Receiver: <<>>\n\nx\n"): "malformed envelope",
        write(root, "7.binary", bytes(range(256)) * 100): "no envelope",
        write(root, "8.line\nend", head + b"\nx\n"): "its name",
        write(root, "9.\udcff\udcfe", head + b"\nx\n"): "its name",
    }
    assert root.run() == 0
    held = root.held()
    assert set(held) == {spool.parse_name(name).id for name in cases}
    for name, why in cases.items():
        assert why in held[spool.parse_name(name).id]
    assert root.waiting() == []


def test_a_name_too_long_for_a_reason_beside_it(root):
    write(root, "x" * 255, b"no entry")
    assert root.run() == 0
    (why,) = root.held().values()
    assert "200 bytes" in why
    assert b"no entry" in files(root.paths.hold / "new")


def test_things_that_are_no_files_stay_and_are_told_once(root, capfd):
    os.mkfifo(root.queue.new / "fifo")
    (root.queue.new / "link").symlink_to("/etc/passwd")
    (root.queue.new / "directory").mkdir()
    (root.queue.new / ".hidden").write_text("x")
    root.put("meier@office.lan")

    async def work():
        async with Running(root) as running:
            await running.settled()
            for _ in range(3):
                running.desk.sweep()
                await running.settled()

    asyncio.run(work())
    assert len(root.inbox("meier")) == 1
    assert sorted(root.waiting()) == [".hidden", "directory", "fifo", "link"]
    told = capfd.readouterr().err.count("left-alone")
    assert told == 3


def test_a_recipient_list_longer_than_the_first_block(root):
    root.put(*[f"user{number}@far.example" for number in range(3000)], "meier@office.lan", **OURS)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    (outside,) = files(root.paths.outbound / "new")
    assert outside.count(b"X-Receiver") == 3000


# again and again

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
    root.run()
    assert len(root.inbox("schmidt")) == 1
    assert [spool.parse_name(name).id for name in root.waiting()] == [bad]
    monkeypatch.undo()
    root.run()
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
        assert root.run() == 0
        assert len(root.inbox("meier")) == 2
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


# the program

def test_the_second_deliver_refuses(root):
    lock = office.lock(root.paths)
    with pytest.raises(daemon.Refused, match="another lanmail-deliver") as refused:
        root.run()
    assert refused.value.code == os.EX_TEMPFAIL
    os.close(lock)
    assert root.run() == 0


@pytest.mark.parametrize("where", ["queue", "queue/new", "hold/new", "outbound", "pickup", "pickup/new", "pickup/cur"])
def test_a_spool_that_everybody_may_write_to_is_refused(root, where):
    root.run()
    (root.paths.spool / where).chmod(0o777)
    with pytest.raises(daemon.Refused, match=r"written by everybody.*chmod"):
        root.run()
    if where in ("pickup", "pickup/new"):
        (root.paths.spool / where).chmod(0o1777)
        assert root.run() == 0


def test_a_link_in_place_of_a_spool_is_refused(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.queue.new.rmdir()
    root.queue.new.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(daemon.Refused, match="not a directory of its own"):
        root.run()


async def test_mail_that_arrives_is_delivered_at_once(root):
    async with Running(root) as running:
        root.put("meier@office.lan")
        await until(lambda: root.inbox("meier"))
        # renamed in by hand, as `queue release` does
        entry = root.paths.hold / "new" / "17.renamed"
        entry.write_bytes(b"X-Sender: <>\nX-Receiver: <schmidt@office.lan>\n\nx\n")
        os.rename(entry, root.queue.new / "17.renamed")
        await until(lambda: root.inbox("schmidt"))
        assert running.desk.moved == {}


async def test_an_entry_that_is_still_open_waits_for_its_close(root):
    head = b"X-Sender: <>\nX-Receiver: <meier@office.lan>\n\nbody\n"
    async with Running(root) as running:
        with open(root.queue.tmp / "17.slow", "wb") as file:
            file.write(head)
            file.flush()
            os.rename(root.queue.tmp / "17.slow", root.queue.new / "17.slow")
            await asyncio.sleep(0.1)
            running.desk._moved()
            running.desk.sweep()
            await running.settled()
            assert root.inbox("meier") == []
        await until(lambda: root.inbox("meier"))


async def test_a_lost_event_is_found_by_the_sweep(root):
    async with Running(root) as running:
        root.put("meier@office.lan")
        running.deliver.watch.close()
        running.desk.arrived(None)
        await until(lambda: root.inbox("meier"))


async def test_a_burst_is_delivered_while_other_events_get_their_turn(root):
    async with Running(root):
        for _ in range(300):
            root.put("meier@office.lan")
        turns = 0
        while len(os.listdir(root.paths.maildirs / "meier/new") if root.inbox("meier") else []) < 300:
            await asyncio.sleep(0.001)
            turns += 1
            assert turns < 5000
    assert root.waiting() == []


def test_the_manual_is_the_help(monkeypatch):
    shown = CliRunner().invoke(deliver.main, ["--help"])
    assert shown.exit_code == 0
    assert shown.output.count("Writes: maildirs/") == 1
    assert "spool/hold, with the reason" in shown.output


def test_the_delay_is_never_negative_whatever_the_clock_does(root, monkeypatch):
    root.put("meier@office.lan")
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert root.run() == 0
    (lines,) = root.paths.log.iterdir()
    assert "delay=0.000" in lines.read_text()
