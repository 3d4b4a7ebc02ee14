"""The working loop over the queue: what it takes, what it leaves, and when."""

import asyncio
import os

import pytest

from lanmail import spool
from tests.mailroot import Root, Running, files, until

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


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


# arrivals

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
            assert turns < 50_000
    assert root.waiting() == []
