"""The dotlock: it excludes, and what the dead left behind does not hold for ever."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lanmail.folders import dotlock


def test_a_second_holder_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with dotlock.held(tmp_path / "f"):
            order.append("second")

    with dotlock.held(tmp_path / "f"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.02)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())


def test_busy_after_the_timeout(tmp_path: Path) -> None:
    (tmp_path / "f.lock").write_text(f"1:{socket.gethostname()}")
    with pytest.raises(dotlock.Busy), dotlock.held(tmp_path / "f", timeout=0.02):
        pass
    assert (tmp_path / "f.lock").exists()


@pytest.mark.parametrize("reused", [False, True])
def test_a_dead_process_is_taken_over_from(tmp_path: Path, reused: bool) -> None:
    pid = os.getpid() if reused else 4194303  # an earlier process with our number; nobody
    (tmp_path / "f.lock").write_text(f"{pid}:{socket.gethostname()}")
    with dotlock.held(tmp_path / "f", timeout=0.02):
        assert (tmp_path / "f.lock").read_text().startswith(str(os.getpid()))


@pytest.mark.parametrize("age", [200, -200])
def test_a_lock_from_elsewhere_is_forgotten_after_two_minutes(tmp_path: Path, age: int) -> None:
    lock = tmp_path / "f.lock"
    lock.write_text("1:another.host")
    with pytest.raises(dotlock.Busy), dotlock.held(tmp_path / "f", timeout=0.02):
        pass
    os.utime(lock, (time.time() - age, time.time() - age))
    with dotlock.held(tmp_path / "f", timeout=0.02):
        pass


def test_a_lock_never_stands_there_without_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was killed between making the lock and writing into it locked a mailbox for two minutes."""
    link, seen = os.link, []

    def watched(source: str, target: str) -> None:
        link(source, target)
        seen.append(Path(target).read_text())

    monkeypatch.setattr(os, "link", watched)
    with dotlock.held(tmp_path / "f"):
        pass
    assert seen == [f"{os.getpid()}:{socket.gethostname()}"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_lock_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_source: str, _target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with dotlock.held(tmp_path / "f"):
        assert (tmp_path / "f.lock").read_text().startswith(str(os.getpid()))
        with pytest.raises(dotlock.Busy), dotlock.held(tmp_path / "f", timeout=0.02):
            pass
    assert not list(tmp_path.iterdir())


def test_a_full_disk_does_not_keep_anybody_from_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nobody could delete mail to make room."""

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with dotlock.held(tmp_path / "f"):
        assert (tmp_path / "f.lock").read_text() == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_lock_is_put_aside(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "f.lock")
    with dotlock.held(tmp_path / "f", timeout=0.02):
        pass
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("f.lock.foreign.")


def test_a_lock_that_names_nobody_is_forgotten_sooner(tmp_path: Path) -> None:
    lock = tmp_path / "f.lock"
    for text in (b"", b"who knows", b"\0" * 5000):
        lock.write_bytes(text)
        with pytest.raises(dotlock.Busy), dotlock.held(tmp_path / "f", timeout=0.02):
            pass
        os.utime(lock, (time.time() - 60,) * 2)
        with dotlock.held(tmp_path / "f", timeout=0.02):
            pass
