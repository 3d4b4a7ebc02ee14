"""delivery/room.py: quotas at delivery, and what smtpd says of a full mailbox."""

import json
import os
import time
from pathlib import Path

import pytest

from lanmail.delivery import room
from lanmail.folders import quota
from tests.mailroot import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def limit(root: Root, name: str, keys: str) -> None:
    (root.paths.accounts / f"{name}.toml").write_text(f"{keys}\n")


def mails(root: Root, name: str) -> list[bytes]:
    return [data for data in root.inbox(name) if b"\nAuto-Submitted:" not in data]


def test_a_mailbox_that_has_reached_its_limit_gets_nothing_more(root: Root) -> None:
    limit(root, "meier", "quota_messages = 2")
    for _ in range(3):
        root.put("meier@office.lan")
    root.put("schmidt@office.lan")
    assert root.run() == os.EX_TEMPFAIL
    assert len(mails(root, "meier")) == 2
    assert len(mails(root, "schmidt")) == 1
    assert len(root.waiting()) == 1
    assert (root.paths.full / "meier").exists()
    assert "452 4.2.2 The mailbox of meier is full" in root.paths.log.joinpath(
        sorted(os.listdir(root.paths.log))[0]).read_text()
    for entry in (root.paths.maildirs / "meier" / "new").iterdir():
        entry.unlink()
    assert root.run() == 0  # there is room again: what waited comes
    assert len(mails(root, "meier")) == 1
    assert not root.waiting()


def wait_for(root: Root, seconds: float) -> None:
    """As if what waits had been tried that long ago for the first time."""
    for path in (root.paths.state / "queue").glob("*.json"):
        state = json.loads(path.read_text())
        path.write_text(json.dumps(state | {"since": state["since"] - seconds}))


def test_mail_for_a_mailbox_that_stays_full_comes_back(root: Root) -> None:
    limit(root, "meier", "quota_messages = 1")
    root.put("meier@office.lan")
    root.run()
    root.put("info@office.lan", sender="schmidt@office.lan", kind="submission", account="schmidt")  # both of them
    root.put("meier@office.lan", sender="stranger@example.org")
    assert root.run() == os.EX_TEMPFAIL
    wait_for(root, 4.9 * 86_400)
    assert root.run() == os.EX_TEMPFAIL
    assert len(mails(root, "schmidt")) == 1
    wait_for(root, 0.2 * 86_400)
    assert root.run() == 0
    assert not root.waiting()
    (bounce,) = [data for data in root.inbox("schmidt") if b"multipart/report" in data]
    assert b"Status: 5.2.2\n" in bounce
    assert b"Final-Recipient: rfc822; info@office.lan\n" in bounce
    assert b"The mailbox of meier is full" in bounce
    assert len(mails(root, "schmidt")) == 1, "one copy of the mail itself"
    assert len(mails(root, "meier")) == 1
    assert len([data for data in root.inbox("chef") if b"multipart/report" not in data]) == 1, "the stranger's mail"


def test_a_full_mailbox_may_be_waited_for_for_ever(tmp_path: Path) -> None:
    root = Root(tmp_path, settings='[deliver]\ngive_up = "0s"\n')
    limit(root, "meier", "quota_messages = 1")
    root.put("meier@office.lan")
    root.put("meier@office.lan", sender="schmidt@office.lan")
    root.run()
    wait_for(root, 1000 * 86_400)
    assert root.run() == os.EX_TEMPFAIL
    assert len(root.waiting()) == 1


def test_what_is_below_the_limit_takes_one_more_of_any_size(root: Root) -> None:
    limit(root, "meier", 'quota = "1KB"')
    root.put("meier@office.lan", message=b"Subject: x\n\n" + b"y" * 50_000 + b"\n")
    assert root.run() == 0
    assert len(mails(root, "meier")) == 1
    root.put("meier@office.lan")
    assert root.run() == os.EX_TEMPFAIL


def test_one_full_mailbox_does_not_keep_others_from_their_mail(root: Root) -> None:
    limit(root, "meier", "quota_messages = 1")
    root.put("meier@office.lan")
    root.run()
    root.put("info@office.lan")  # meier and schmidt
    assert root.run() == os.EX_TEMPFAIL
    assert (len(mails(root, "meier")), len(mails(root, "schmidt"))) == (1, 1)
    limit(root, "meier", "quota_messages = 5")
    assert root.run() == 0
    assert (len(mails(root, "meier")), len(mails(root, "schmidt"))) == (2, 1)


def test_a_broken_account_file_stops_no_mail(root: Root) -> None:
    limit(root, "meier", "quota_messages = nonsense")
    root.put("meier@office.lan")
    assert root.run() == 0
    assert len(mails(root, "meier")) == 1


def test_one_notice_a_day(root: Root) -> None:
    limit(root, "meier", "quota_messages = 10")
    for _ in range(9):
        root.put("meier@office.lan")
    root.run()
    (notice,) = [data for data in root.inbox("meier") if b"\nAuto-Submitted:" in data]
    assert b"Subject: Your mailbox is 90 % full\n" in notice
    assert b"To: meier@office.lan\n" in notice
    assert b"(10 messages)" in notice
    root.put("meier@office.lan")
    root.run()
    seen = root.paths.state / "quota" / "meier"
    assert sum(b"\nAuto-Submitted:" in data for data in root.inbox("meier")) == 1
    os.utime(seen, (time.time() - 90_000,) * 2)
    own = room.Room(root.paths, lambda: root.context().settings)
    own.notify("meier", quota.Limits(0, 10))
    assert sum(b"\nAuto-Submitted:" in data for data in root.inbox("meier")) == 2


def test_a_clock_that_once_went_wrong_does_not_end_the_notices(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(root, "meier", "quota_messages = 10")
    for _ in range(9):
        root.put("meier@office.lan")
    root.run()
    own, limits, now = room.Room(root.paths, lambda: root.context().settings), quota.Limits(0, 10), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3650 * room.DAY)
    own.notify("meier", limits)
    os.utime(root.paths.state / "quota" / "meier", (time.time(),) * 2)
    monkeypatch.undo()
    assert own.delivered("meier", limits, 1)
    own.notify("meier", limits)
    assert sum(b"\nAuto-Submitted:" in data for data in root.inbox("meier")) == 3


def test_the_mark_goes_when_there_is_room(root: Root) -> None:
    own = room.Room(root.paths, lambda: root.context().settings)
    (root.paths.maildirs / "meier" / "cur").mkdir(parents=True)
    (root.paths.maildirs / "meier" / "cur" / "1.a,S=10:2,").touch()
    limits = quota.Limits(5, 0)
    assert own.take("meier", limits, 1) is not None
    assert own.marked() == ["meier"]
    own.reconsider("meier", limits)
    assert own.marked() == ["meier"]
    (root.paths.maildirs / "meier" / "cur" / "1.a,S=10:2,").unlink()
    own.reconsider("meier", limits)
    assert own.marked() == []
    assert own.take("meier", quota.Limits(0, 0), 1) is None
    (root.paths.full / "gone").touch()
    own.reconsider("gone", None)
    assert own.marked() == []


def test_a_mail_counts_once_while_it_arrives(root: Root) -> None:
    own = room.Room(root.paths, lambda: root.context().settings)
    new = root.paths.maildirs / "meier" / "new"
    new.mkdir(parents=True)
    limits = quota.Limits(0, 3)
    assert own.take("meier", limits, 10) is None
    assert own.take("meier", limits, 10) is None
    with own.arriving("meier", limits, 10):
        (new / "1.a,S=10").touch()
    assert own.take("meier", limits, 10) is None  # one is there, one underway
    assert own.take("meier", limits, 10) is not None
    own.give_back("meier", 10)
    assert own.take("meier", limits, 10) is None


def test_maildirsize_hears_of_deliveries(root: Root) -> None:
    (root.paths.maildirs / "meier").mkdir(parents=True)
    file = root.paths.maildirs / "meier" / quota.MAILDIRSIZE
    file.write_text("0S\n0 0\n")
    root.put("meier@office.lan")
    root.put("info@office.lan")
    root.run()
    lines = [tuple(map(int, line.split())) for line in file.read_text().splitlines()[1:]]
    sizes = [entry.stat().st_size for entry in (root.paths.maildirs / "meier" / "new").iterdir()]
    assert (sum(one for one, _ in lines), sum(one for _, one in lines)) == (sum(sizes), 2)
