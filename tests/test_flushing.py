"""The flush of a uidlist: shared by all who wait, and never one that began before they came."""

import os
import threading
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import folder, uidlist

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


def test_a_flush_under_way_is_not_the_flush_of_who_came_since(
        root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions store in one folder: the second must not hear OK while the first still flushes, nor without."""
    begun, go, flushes = threading.Event(), threading.Event(), list[int]()

    def slow(path: str, *, made: bool = False) -> None:
        flushes.append(os.stat(path).st_size)
        begun.set()
        assert go.wait(20)

    drop(root, "1.a")
    inbox.sync(flush=False)
    monkeypatch.setattr(uidlist, "flush", slow)
    first = threading.Thread(target=inbox.flush)
    first.start()
    assert begun.wait(20)
    drop(root, "2.b")
    inbox.sync(flush=False)
    others = [threading.Thread(target=inbox.flush) for _ in range(3)]
    for one in others:
        one.start()
    others[0].join(0.2)
    assert others[0].is_alive()
    go.set()
    for one in (first, *others):
        one.join(20)
    assert flushes == [flushes[0], os.stat(f"{root}/dovecot-uidlist").st_size]
    assert flushes[0] < flushes[1]


def test_who_shares_a_flush_waits_for_it(root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    monkeypatch.setattr(uidlist, "flush", lambda path, made=False: (begun.set(), go.wait(20)))
    drop(root, "1.a")
    inbox.sync(flush=False)
    both = [threading.Thread(target=inbox.flush) for _ in range(2)]
    for one in both:
        one.start()
    assert begun.wait(20)
    for one in both:
        one.join(0.1)
    assert all(one.is_alive() for one in both)
    go.set()
    for one in both:
        one.join(20)
    assert not any(one.is_alive() for one in both)


def test_a_flush_that_failed_is_owed_again(root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.a")
    inbox.sync(flush=False)
    done, real = list[bool](), uidlist.flush

    def broken(path: str, *, made: bool = False) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(uidlist, "flush", broken)
    for _ in range(2):
        with pytest.raises(OSError, match="input"):
            inbox.flush()
    monkeypatch.setattr(uidlist, "flush", lambda path, made=False: (done.append(made), real(path, made=made)))
    inbox.flush(), inbox.flush()
    assert done == [True], "the list is new, and its directory still has to be flushed"
