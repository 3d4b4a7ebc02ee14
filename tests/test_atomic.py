"""Old or new, never half; and no open that a hostile file can turn against us."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lanmail import atomic


def test_write_replaces_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "a.toml"
    atomic.write(path, "old\n")
    atomic.write(path, "neu ä\n", mode=0o600)
    assert path.read_text() == "neu ä\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.toml"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    atomic.write(path, b"old")

    def broken(_fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        atomic.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_only_regular_files_are_opened(tmp_path):
    good = tmp_path / "good"
    good.write_bytes(b"x")
    (tmp_path / "link").symlink_to(good)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        for name in ("link", "dangling", "dir", "fifo", "socket"):
            with pytest.raises(atomic.NotRegular):
                atomic.read(tmp_path / name)
    with pytest.raises(atomic.NotRegular):
        atomic.read("/dev/null")
    assert atomic.read(good) == b"x"


def test_limit(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b"x" * 100)
    assert atomic.read(path, limit=100) == b"x" * 100
    with pytest.raises(atomic.TooLarge):
        atomic.read(path, limit=99)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("elsewhere", path)])
def test_write_renames_what_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "f")
    atomic.write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    (aside,) = (path for path in tmp_path.iterdir() if path.name != "f")
    assert aside.name.startswith("f.foreign.")
