"""inotify: which callback hears what, and what it hears when events are lost."""

import asyncio
import os

import pytest

from lanmail import watch


@pytest.fixture
def one():
    found = watch.Watch()
    yield found
    found.close()


def listener(into):
    return lambda events: into.append(events)


def test_a_file_that_is_closed_and_one_renamed_in_are_told_in_order(one, tmp_path):
    heard = []
    one.subscribe(tmp_path, listener(heard))
    (tmp_path / "a").write_text("x")
    os.rename(tmp_path / "a", tmp_path / "b")
    one.dispatch()
    assert heard == [[(watch.CLOSE_WRITE, "a"), (watch.MOVED_TO, "b")]]
    one.dispatch()
    assert len(heard) == 1


def test_a_file_renamed_in_while_open_is_told_again_when_it_is_closed(one, tmp_path):
    """The promise the spool stands on: rename, fsync, close."""
    heard = []
    (tmp_path / "tmp").mkdir()
    (tmp_path / "new").mkdir()
    one.subscribe(tmp_path / "new", listener(heard))
    with open(tmp_path / "tmp/a", "w") as file:
        os.rename(tmp_path / "tmp/a", tmp_path / "new/a")
        one.dispatch()
        assert heard == [[(watch.MOVED_TO, "a")]]
        file.write("x")
    one.dispatch()
    assert heard[1] == [(watch.CLOSE_WRITE, "a")]


def test_directories_and_subscribers_are_kept_apart(one, tmp_path):
    first, second, third = [], [], []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one.subscribe(tmp_path / "a", listener(first))
    shared = one.subscribe(tmp_path / "a", listener(second), watch.CHANGES)
    one.subscribe(tmp_path / "b", listener(third))
    (tmp_path / "a/x").write_text("")
    one.dispatch()
    assert first == [[(watch.CLOSE_WRITE, "x")]]
    assert second == [[(watch.CREATE, "x"), (watch.CLOSE_WRITE, "x")]]
    assert third == []
    shared.close()
    shared.close()
    (tmp_path / "a/x").unlink()
    (tmp_path / "a/y").write_text("")
    one.dispatch()
    assert first[1] == [(watch.CLOSE_WRITE, "y")]
    assert len(second) == 1


def test_odd_names_survive(one, tmp_path):
    heard = []
    one.subscribe(tmp_path, listener(heard))
    names = [b"new\nline", b"\xff\xfe", b"-rf", b"x" * 255, "ä".encode()]
    for name in names:
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    one.dispatch()
    assert [os.fsencode(name) for _, name in heard[0]] == names


def test_a_directory_that_goes_away_is_told_as_loss(one, tmp_path):
    heard = []
    (tmp_path / "a").mkdir()
    subscription = one.subscribe(tmp_path / "a", listener(heard))
    (tmp_path / "a").rmdir()
    one.dispatch()
    assert heard == [None]
    subscription.close()


def test_overflow_is_told_to_everybody(one, tmp_path, monkeypatch):
    first, second = [], []
    one.subscribe(tmp_path, listener(first))
    (tmp_path / "b").mkdir()
    one.subscribe(tmp_path / "b", listener(second))
    overflow = watch._HEADER.pack(-1, watch._Q_OVERFLOW, 0, 0)

    def readv(_descriptor, buffers):
        buffers[0][: len(overflow)] = overflow
        return len(overflow)

    monkeypatch.setattr(watch.os, "readv", readv)
    one.dispatch()
    assert first == second == [None]


def test_a_callback_that_fails_does_not_cost_the_others_their_events(one, tmp_path):
    heard = []

    def broken(_events):
        raise RuntimeError("bug")

    one.subscribe(tmp_path, broken)
    one.subscribe(tmp_path, listener(heard))
    (tmp_path / "a").write_text("")
    with pytest.raises(RuntimeError):
        one.dispatch()
    assert heard


def test_links_and_files_are_refused(one, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "missing"):
        with pytest.raises(OSError):
            one.subscribe(tmp_path / name, print)


async def test_the_loop_calls_back(one, tmp_path):
    heard = asyncio.Event()
    one.subscribe(tmp_path, lambda _events: heard.set())
    one.attach(asyncio.get_running_loop())
    (tmp_path / "a").write_text("")
    await asyncio.wait_for(heard.wait(), 20)
