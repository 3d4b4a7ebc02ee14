"""quota.py: how much lies in a Maildir, without looking at it more often than needed; and `maildirsize`."""

import os
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import quota
from lanmail.folders.quota import Limits, Usage


@pytest.fixture
def root(tmp_path: Path) -> str:
    maildir.prepare(str(tmp_path))
    return str(tmp_path)


def put(root: str, name: str, octets: int = 0, folder: str = "INBOX", sub: str = "cur") -> Path:
    path = Path(maildir.path_of(root, folder), sub, name)
    path.write_bytes(b"x" * octets)
    return path


def test_all_folders_count(root: str) -> None:
    put(root, "1.a,S=100,W=101:2,S")
    put(root, "2.b,S=20", sub="new")
    put(root, "3.c,W=8,S=7:2,", folder="Trash")
    put(root, "4.d:2,", 5, folder="Sent")  # no size in its name: asked for
    put(root, ".hidden,S=1000")
    os.mkfifo(Path(root, "cur", "5.fifo"))
    Path(root, "tmp", "6.e,S=1000").touch()
    assert quota.Meter().of(root) == Usage(132, 4)
    assert quota.below(root, "Sent") == Usage(5, 1)


def test_no_maildir_is_empty(tmp_path: Path) -> None:
    assert quota.Meter().of(str(tmp_path / "none")) == Usage()


def test_in_between_counts_what_was_told(root: str) -> None:
    meter = quota.Meter()
    assert meter.known(root) is None
    assert meter.of(root) == Usage()
    put(root, "1.a,S=100")
    assert meter.of(root) == Usage()  # a moment ago it was looked at
    meter.add(root, 100, 1)
    assert meter.known(root) == Usage(100, 1)
    put(root, "2.b,S=7")
    assert meter.of(root, exact=True) == Usage(107, 2)
    os.unlink(Path(root, "cur", "1.a,S=100"))
    assert meter.of(root, exact=True) == Usage(7, 1)


def test_only_directories_that_changed_are_read(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.a,S=100")
    for folder in maildir.folders(root):
        for sub in ("new", "cur"):
            os.utime(Path(maildir.path_of(root, folder), sub), (1e9, 1e9))
    meter, read = quota.Meter(), []
    names = maildir.list_names
    monkeypatch.setattr(maildir, "list_names", lambda path: read.append(path) or names(path))
    assert meter.of(root) == Usage(100, 1)
    assert len(read) == 10
    read.clear()
    put(root, "2.b,S=1", folder="Sent")
    assert meter.of(root, exact=True) == Usage(101, 2)
    assert read == [maildir.path_of(root, "Sent") + "/cur"]


@pytest.mark.parametrize(("limits", "usage", "holds", "full", "percent"), [
    (Limits(0, 0), Usage(10**12, 10**6), True, False, 0),
    (Limits(100, 0), Usage(99, 5), True, False, 99),
    (Limits(100, 0), Usage(100, 5), True, True, 100),
    (Limits(100, 0), Usage(101, 5), False, True, 101),
    (Limits(100, 10), Usage(50, 9), True, False, 90),
    (Limits(0, 10), Usage(50, 11), False, True, 110),
])
def test_limits(limits: Limits, usage: Usage, holds: bool, full: bool, percent: int) -> None:
    assert (limits.holds(usage), limits.full(usage), limits.percent(usage)) == (holds, full, percent)


def test_maildirsize_is_kept_in_step_where_it_is(root: str) -> None:
    quota.note(root, 5, 1)
    assert not Path(root, quota.MAILDIRSIZE).exists()
    file = Path(root, quota.MAILDIRSIZE)
    file.write_text("1000000S,10C\n0 0\n")
    put(root, "1.a,S=100")
    quota.note(root, 100, 1)
    assert file.read_text() == "1000000S,10C\n0 0\n100 1\n"
    inode = file.stat().st_ino
    meter = quota.Meter()
    meter.of(root)
    assert file.stat().st_ino == inode  # it says the truth: left alone
    put(root, "2.b,S=50")
    meter.of(root, exact=True)
    assert file.read_text() == "1000000S,10C\n150 2\n"
    file.write_text("nonsense\nand more\n")
    meter.of(root, exact=True)
    assert file.read_text() == "nonsense\n150 2\n"
    file.unlink()
    os.mkfifo(file)
    quota.note(root, 1, 1)
    meter.of(root, exact=True)
