"""`lanmail mailbox list` as people type it."""

import os
import shutil
from pathlib import Path

import pytest

from lanmail import maildir
from tests.mailboxes import Place, message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_list_tells_of_all_accounts(place: Place) -> None:
    maildir.prepare(place.root())
    maildir.put(place.root(), message())
    place.put(message(body="x\n" * 1000), "Sent", flags=("\\Seen",), date=1_000_000_000)
    shutil.copytree(place.root(), place.paths.maildirs / "gone")
    meier, schmidt = [one for one in place.json("list") if one["account"] != "gone"]
    size = len(message()) + message().count(b"\n") + len(message(body="x\n" * 1000)) + 1004
    assert (meier["messages"], meier["unseen"], meier["folders"], meier["size"]) == (2, 1, 5, size)
    assert (schmidt["messages"], schmidt["folders"], schmidt["newest"]) == (0, 0, None)
    text = place.call("list")
    assert "its mail is still there" in text.splitlines()[1]
    assert text.splitlines()[2].split()[:5] == ["meier", "2", "1", "3.1KB", "5"]


def test_list_tells_of_the_folders_of_one(place: Place) -> None:
    maildir.prepare(place.root())
    place.put(message(), "Entwürfe.2026", flags=("\\Seen",), date=1_000_000_000)
    found = {one["folder"]: one for one in place.json("list", "Meier")}
    assert next(iter(found)) == "INBOX"
    one = found["Entwürfe.2026"]
    assert (one["messages"], one["unseen"], one["newest"]) == (1, 0, 1_000_000_000)
    assert one["uidvalidity"] > 1_000_000
    assert found["Sent"]["special_use"] == "\\Sent"
    assert "1 message, " in place.call("list", "meier")
    assert "INBOX" not in place.call("list", "schmidt")
    assert "there is no account 'nobody'" in place.call("list", "nobody", code=67)
    place.call("list", "../meier", code=67)


def test_list_changes_nothing_and_reads_no_message(place: Place) -> None:
    root = place.root()
    for name, size in (("1.a", 7), ("2.b,S=5", 9)):
        Path(root, "new", name).write_bytes(b"x" * size)
    Path(root, "cur", "3.c,S=8,W=10:2,S").write_bytes(b"")
    Path(root, "cur", "1.a:2,S").write_bytes(b"x" * 7)  # moved while we looked
    os.mkfifo(Path(root, "cur", "4.fifo"))
    before = sorted(Path(root).rglob("*"))
    (one,) = place.json("list", "meier")
    assert (one["messages"], one["unseen"], one["size"], one["uidvalidity"]) == (3, 1, 7 + 5 + 10, None)
    assert sorted(Path(root).rglob("*")) == before


def test_quota_tells_what_is_used_and_allowed(place: Place) -> None:
    place.put(message(body="x\n" * 1000), "Sent")
    place.put(message())
    (place.paths.accounts / "meier.toml").write_text('quota = "1KB"\nquota_messages = 10\n')
    size = len(message()) + len(message(body="x\n" * 1000))
    meier, schmidt = place.json("quota")
    assert (meier["octets"], meier["messages"], meier["limit_octets"], meier["limit_messages"]) == (size, 2, 1024, 10)
    assert meier["percent"] > 100
    assert (schmidt["octets"], schmidt["limit_octets"], schmidt["percent"]) == (0, None, None)
    assert "full: nothing more comes in" in place.call("quota").splitlines()[1]
    folders = place.json("quota", "meier")
    assert {one["folder"]: one["messages"] for one in folders} == {"INBOX": 1, "Sent": 1}
    assert place.call("quota", "meier").splitlines()[1].startswith("Sent")
