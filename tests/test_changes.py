"""What sessions do to messages: taken in at once where nothing is in the way, else by a thread."""

import os
import threading
import time
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import changes, folder, listing, snapshot

MAIL = b"Subject: x\n\nhello\n"


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "meier")
    maildir.prepare(path)
    return path


@pytest.fixture
def inbox(root: str) -> folder.Folder:
    return folder.Folder(root, root)


def drop(root: str, name: str) -> None:
    Path(root, "new", name).write_bytes(MAIL)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every directory had been changed long ago."""
    ahead = time.time_ns() + 10**10
    monkeypatch.setattr(listing.time, "time_ns", lambda: ahead)


def names(now: snapshot.Snapshot) -> dict[str, int]:
    return {entry.name: entry.uid for entry in now.entries}


def stored(root: str, name: str) -> changes.Source:
    path = Path(root, "tmp", name)
    path.write_bytes(MAIL)
    return changes.Source(str(path), ("\\Seen",), (18, 21))


def test_taking_in_at_once_is_what_taking_in_is(root: str, inbox: folder.Folder, settled: None) -> None:
    inbox.number()
    drop(root, "1.a")
    inbox.sync()
    first, second = stored(root, "x"), stored(root, "y")
    found = changes.adopt_at_once(inbox, [first, second])
    assert found is not None
    now, given = found
    assert given == [2, 3]
    assert [now.flags(one) for one in now.entries[1:]] == [("\\Seen",)] * 2
    assert len({one.modseq for one in now.entries[1:]}) == 1
    assert inbox.peek() is now
    assert not os.listdir(f"{root}/tmp")
    assert names(folder.Folder(root, root).sync()) == names(now)
    other = folder.Folder(root, root)
    other.number()
    assert [one.modseq for one in other.sync().entries] == [one.modseq for one in now.entries]


@pytest.mark.parametrize("why", ["lock", "mutex", "arrived", "keyword", "list", "log", "many"])
def test_nothing_is_taken_in_at_once_where_that_would_wait(
        root: str, inbox: folder.Folder, settled: None, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    inbox.number()
    drop(root, "1.a")
    inbox.sync()
    source = stored(root, "x")
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with inbox._mutex:
            holding.set()
            done.wait(20)

    other = threading.Thread(target=hold)
    if why == "lock":
        Path(root, "dovecot-uidlist.lock").write_text("1:elsewhere")
    elif why == "mutex":
        other.start()
        assert holding.wait(20)
    elif why == "arrived":
        drop(root, "2.b")
    elif why == "keyword":
        source = changes.Source(source.path, ("Wichtig",), source.sizes)
    elif why == "list":
        monkeypatch.setattr(inbox, "_wasteful", lambda uids: True)
    elif why == "many":
        monkeypatch.setattr(changes, "FEW", 0)
    else:
        monkeypatch.setattr(inbox.number().log, "_appended", 5000)
    assert changes.adopt_at_once(inbox, [source]) is None
    assert os.path.exists(source.path)
    done.set()
    if why == "mutex":
        other.join()
    Path(root, "dovecot-uidlist.lock").unlink(missing_ok=True)
    monkeypatch.undo()
    assert len(changes.adopt(inbox, [source])[1]) == 1
