"""lanmail queue: what an administrator sees and does at night."""

import fcntl
import json
import os
import time

import pytest
from click.testing import CliRunner

from lanmail import admin, spool
from lanmail.administration import backlog
from lanmail.delivery import maildrop
from tests.mailroot import Root, Running, files, until

OURS = {"sender": "meier@office.lan", "kind": "submission", "account": "meier"}


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def call(root, *arguments, code=0, typed=None):
    result = CliRunner().invoke(admin.cli, ["queue", *arguments, "--root", str(root.paths.root)], input=typed)
    assert result.exit_code == code, result.output
    return result.output


def listed(root, *more):
    return json.loads(call(root, "list", "--json", *more))


def defer(root, monkeypatch, *to, **more):
    """A mail that waits for its next try; its id."""
    def full(*_arguments):
        raise OSError(28, "No space left on device", "meier")

    entry_id = root.put(*to, **more)
    with monkeypatch.context() as patch:
        patch.setattr(maildrop.Maildrop, "rename", full)
        patch.setattr(maildrop.Maildrop, "link", full)
        assert root.run() == os.EX_TEMPFAIL
    return entry_id


def test_the_list_says_where_why_and_how_long(root, monkeypatch):
    assert call(root, "list") == "nothing is waiting\n"
    deferred = defer(root, monkeypatch, "meier@office.lan", **OURS)
    outside = root.put("x@far.example", "y@far.example", **OURS)
    root.drop("bad.eml", b"Subject: nobody\n\n")
    root.run()
    waiting = root.put("schmidt@office.lan", sender=None)
    # the retried one was delivered by the second run
    before = time.time()
    deferred = defer(root, monkeypatch, "meier@office.lan", **OURS)
    found = {item["id"]: item for item in listed(root)}
    assert found[outside]["spool"] == "outbound"
    assert found[outside]["recipients"] == ["x@far.example", "y@far.example"]
    one = found[deferred]
    assert (one["state"], one["tries"], one["sender"]) == ("deferred", 1, "meier@office.lan")
    assert "No space left" in one["reason"]
    assert before < one["next"] < time.time() + 2
    held = next(item for item in found.values() if item["spool"] == "hold")
    assert held["sender"] is None
    assert held["reason"].startswith("no recipients")
    assert waiting in found
    text = call(root, "list")
    assert "x@far.example +1" in text
    assert [item["spool"] for item in listed(root, "--spool", "hold")] == ["hold"]


def test_show_tells_everything_and_sends_nothing_to_the_terminal(root):
    entry_id = root.put("x@far.example", **OURS,
                        message=b"Return-Path: <>\nSubject: \x1b[31mred\x07\n\n\xff" + b"long\n" * 20_000)
    text = call(root, "show", entry_id[:20])
    assert f"id:       {entry_id}" in text
    assert "X-Receiver: <x@far.example>" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "more" in text.splitlines()[-1]
    data = json.loads(call(root, "show", entry_id, "--json"))
    assert data["cut"] is True
    assert data["message"].startswith("X-Sender: <meier@office.lan>\n")


def test_ids_are_found_by_a_beginning_that_is_theirs_alone(root):
    first, second = root.put("x@far.example", **OURS), root.put("y@far.example", **OURS)
    start = first[:9]
    assert second.startswith(start)
    assert "write more of it" in call(root, "show", start, code=66)
    assert "no entry" in call(root, "show", "nonsense", code=66)
    name = next(name for name in root.queue.names() if name.startswith(second))
    assert "y@far.example" in call(root, "show", f"spool/queue/new/{name}")


async def test_retry_comes_at_once(root, monkeypatch):
    failing = [True]
    real = maildrop.Maildrop.link

    def link(self, *arguments):
        if failing:
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    monkeypatch.setattr(maildrop.Maildrop, "link", link)
    async with Running(root) as running:
        entry_id = root.put("info@office.lan")
        await until(lambda: running.desk.due)
        running.desk.due.clear()
        failing.clear()
        assert "will be tried now" in call(root, "retry", entry_id)
        await until(lambda: root.inbox("meier") and root.inbox("schmidt"))
    assert call(root, "retry", "--all") == "nothing is deferred\n"


def test_hold_and_release_bring_nothing_twice(root, monkeypatch):
    real = maildrop.Maildrop.link

    def link(self, account, *rest):
        if account == "schmidt":
            raise OSError(28, "No space left on device")
        real(self, account, *rest)

    entry_id = root.put("info@office.lan", "x@far.example", **OURS)
    with monkeypatch.context() as patch:
        patch.setattr(maildrop.Maildrop, "link", link)
        assert root.run() == os.EX_TEMPFAIL
    assert "held" in call(root, "hold", entry_id, "--why", "strange mail")
    assert root.held() == {entry_id: "strange mail\n"}
    assert root.run() == 0
    assert root.inbox("schmidt") == []
    for name in os.listdir(root.paths.maildirs / "meier/new"):  # read and deleted meanwhile
        os.unlink(root.paths.maildirs / "meier/new" / name)
    assert "released" in call(root, "release", entry_id)
    assert root.run() == 0
    assert len(root.inbox("schmidt")) == 1
    assert root.inbox("meier") == []
    assert len(files(root.paths.outbound / "new")) == 1
    assert root.held() == {}
    for name in ("hold", "queue"):
        assert list((root.paths.state / name).iterdir()) == []


def test_what_was_held_on_its_way_out_goes_back_there(root):
    entry_id = root.put("x@far.example", **OURS)
    root.run()
    call(root, "hold", entry_id)
    assert files(root.paths.outbound / "new") == []
    call(root, "release", entry_id)
    assert len(files(root.paths.outbound / "new")) == 1


@pytest.mark.parametrize("sent", [
    {"to": "away@office.lan", "message": b"Return-Path: <>\nDelivered-To: away@office.lan\n\nx\n", "kind": "mx"},
    {"to": "away@office.lan", "message": b"Return-Path: <>\n" + b"Received: x\n" * 60 + b"\nx\n", "kind": "fetch"},
])
def test_a_released_loop_goes_on_its_way(root, sent):
    entry_id = root.put(sent["to"], kind=sent["kind"], message=sent["message"])
    root.run()
    assert list(root.held()) == [entry_id]
    call(root, "release", entry_id)
    assert root.run() == 0
    assert root.held() == {}
    assert len(files(root.paths.outbound / "new")) == 1


def test_a_mended_pickup_file_is_released_into_pickup(root):
    root.drop("a.eml", b"Subject: nobody\n\nx\n")
    root.run()
    (entry_id,) = root.held()
    held = root.paths.hold / "new" / entry_id
    held.write_bytes(b"To: meier\n" + held.read_bytes())
    call(root, "release", entry_id)
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert root.held() == {}


def test_remove_asks_first_and_is_logged(root):
    entry_id = root.put("x@far.example", **OURS)
    assert "Remove" in call(root, "remove", entry_id, typed="n\n", code=130)
    assert len(root.queue.names()) == 1
    call(root, "remove", entry_id, "--yes")
    assert root.queue.names() == []
    (day,) = root.paths.log.iterdir()
    assert f"removed id={entry_id} spool=queue by_hand=yes from=meier@office.lan to=x@far.example" in day.read_text()


def test_an_entry_that_is_worked_on_is_left_alone(root, monkeypatch):
    entry_id = defer(root, monkeypatch, "meier@office.lan")
    (name,) = root.queue.names(spool.CUR)
    with open(root.queue.cur / name, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for action in ("retry", "hold"):
            assert "being worked on" in call(root, action, entry_id, code=os.EX_TEMPFAIL)
        assert "being worked on" in call(root, "remove", "--yes", entry_id, code=os.EX_TEMPFAIL)
    assert root.queue.names(spool.CUR) == [name]
    call(root, "hold", entry_id)


def test_wrong_wishes_are_explained(root, monkeypatch):
    entry_id = defer(root, monkeypatch, "meier@office.lan")
    assert "is not held" in call(root, "release", entry_id, code=65)
    call(root, "hold", entry_id)
    assert "release it" in call(root, "retry", entry_id, code=65)
    assert "lies in hold" in call(root, "hold", entry_id, code=65)
    assert "--all" in call(root, "retry", code=64)


def test_an_entry_that_went_on_meanwhile_is_no_error_of_ours(root, monkeypatch):
    entry_id = root.put("meier@office.lan")
    item = backlog.find(root.paths, entry_id)
    root.run()
    monkeypatch.setattr(backlog, "find", lambda *_arguments: item)
    assert "went on its way" in call(root, "hold", entry_id, code=66)
    assert len(root.inbox("meier")) == 1


def test_hostile_files_in_the_spools_do_not_stop_the_list(root):
    root.run()
    new = root.paths.hold / "new"
    os.mkfifo(new / "fifo")
    (new / "link").symlink_to("/etc/passwd")
    (new / "1.bad").write_bytes(b"X-Sender: <<<\n")
    (new / "2.\x1b[31m").write_bytes(b"")
    (root.paths.state / "hold" / "1.bad.json").write_text('{"tries": "many", "next": []}')
    assert {item["id"] for item in listed(root)} == {"1.bad", "2.\x1b[31m"}
    assert "\x1b" not in call(root, "list")
