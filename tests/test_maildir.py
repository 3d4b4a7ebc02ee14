"""Maildir names and Maildir++ folders."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import maildir
from lanmail.folders import subscriptions


@pytest.fixture
def root(tmp_path: Path) -> str:
    maildir.prepare(str(tmp_path / "meier"))
    return str(tmp_path / "meier")


def test_a_new_maildir_has_the_special_folders(root: str) -> None:
    assert maildir.folders(root) == ["INBOX", "Drafts", "Junk", "Sent", "Trash"]
    assert subscriptions.load(root) == ["INBOX", "Sent", "Drafts", "Trash", "Junk"]
    assert os.path.exists(f"{root}/.Sent/maildirfolder")
    assert not os.path.exists(f"{root}/maildirfolder")


def test_a_special_folder_that_was_deleted_stays_deleted(root: str) -> None:
    maildir.delete(root, "Junk")
    maildir.prepare(root)
    assert "Junk" not in maildir.folders(root)


def test_another_servers_folders_are_found_in_any_case(tmp_path: Path) -> None:
    root = str(tmp_path)
    for sub in ("cur", ".SENT/cur", ".Entw&APw-rfe/cur"):
        os.makedirs(f"{root}/{sub}")
    maildir.prepare(root)
    assert maildir.specials(root, maildir.folders(root)) == {
        "\\Sent": "SENT", "\\Drafts": "Entwürfe", "\\Trash": "Trash", "\\Junk": "Junk"}
    assert "Sent" not in maildir.folders(root)


def test_couriers_subscriptions_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    (tmp_path / "courierimapsubscribed").write_text("INBOX\nINBOX.Sent\nINBOX.Entw&APw-rfe\n")
    maildir.prepare(str(tmp_path))
    assert subscriptions.load(str(tmp_path)) == ["INBOX", "Sent", "Entwürfe"]


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "a.", "a/b", "../x", "a\0b", "a\nb", "INBOX.x", "inbox.x",
                                  "a\x85b", "a\u2028b", "x" * 300, "ü" * 120, ".".join("a" * 17), "\ud800"])
def test_names_that_cannot_be_folders(root: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"name|nest|INBOX"):
        maildir.path_of(root, name)


def test_create_rename_delete(root: str) -> None:
    maildir.create(root, "Projekte.2026")
    maildir.create(root, "Projekte")
    with pytest.raises(FileExistsError):
        maildir.create(root, "Projekte")
    with pytest.raises(ValueError, match="below itself"):
        maildir.rename(root, "Projekte", "Projekte.alt")
    with pytest.raises(FileExistsError):
        maildir.rename(root, "Projekte", "Sent")
    assert maildir.rename(root, "Projekte", "Büro") == [("Projekte", "Büro"), ("Projekte.2026", "Büro.2026")]
    maildir.delete(root, "Büro")
    assert maildir.exists(root, "Büro.2026")
    assert not maildir.exists(root, "Büro")
    with pytest.raises(FileNotFoundError):
        maildir.delete(root, "Büro")
    with pytest.raises(FileNotFoundError):
        maildir.rename(root, "Nichts", "Etwas")
    assert not [name for name in os.listdir(root) if name.startswith("..")]


def test_only_real_directories_with_canonical_names_are_folders(root: str, tmp_path: Path) -> None:
    for name in (".Büro", ".&AGE-", "..x", ".a/b", "noDot", ".INBOX"):
        os.makedirs(f"{root}/{name}/cur")
    os.makedirs(f"{root}/.empty")
    (tmp_path / "elsewhere" / "cur").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", f"{root}/.Link")
    assert maildir.folders(root) == ["INBOX", "Drafts", "Junk", "Sent", "Trash"]
    assert not maildir.exists(root, "Link")


@given(st.text(min_size=1, max_size=60))
def test_a_folder_name_is_never_a_way_out(name: str) -> None:
    try:
        path = maildir.path_of("/m", name)
    except ValueError:
        return
    assert path == "/m" or (path.startswith("/m/.") and path.count("/") == 2 and not path.startswith("/m/.."))
    assert name.upper() == "INBOX" or maildir.name_of(path[3:]) == name


@pytest.mark.parametrize(("name", "letters", "result"), [
    ("a,S=1", "SF", "a,S=1:2,FS"),
    ("a:2,S", "", "a:2,"),
    ("a:2,S,xyz", "F", "a:2,F,xyz"),
    ("a:1,foo", "F", "a:2,F"),
    ("a:", "", "a:2,"),
])
def test_flag_letters_in_names(name: str, letters: str, result: str) -> None:
    assert maildir.with_letters(name, letters) == result
    assert maildir.base_of(result) == maildir.base_of(name)


@pytest.mark.parametrize(("base", "sizes"), [
    ("1.M2P3.h,S=10,W=12", (10, 12)),
    ("1.M2P3.h,W=12,S=10", (10, 12)),
    ("1.M2P3.h,S=10x,W=12", (None, 12)),
    ("1.M2P3.h", (None, None)),
    ("1.M2P3.h,S=-1,W=٣", (None, None)),
    ("x,S=" + "9" * 40, (None, None)),
])
def test_sizes_in_names(base: str, sizes: tuple[int | None, int | None]) -> None:
    assert maildir.sizes_of(base) == sizes


def test_order_of_arrival_is_dovecots() -> None:
    names = ["1000000000.M0", "11_1", "10.M10P2", "x", "9.M5", "10.M10P1", "999999999.M1", "10.M9P1"]
    assert sorted(names, key=maildir.arrival) == [
        "x", "9.M5", "10.M9P1", "10.M10P1", "10.M10P2", "11_1", "999999999.M1", "1000000000.M0"]


def test_put(root: str) -> None:
    name = maildir.put(root, b"a\nb\r\nc\n")
    assert name.endswith(",S=7,W=9")
    assert Path(root, "new", name).read_bytes() == b"a\nb\r\nc\n"
    name = maildir.put(root, b"x\n", "S", date=1_000_000_000)
    assert name.endswith(":2,S")
    assert Path(root, "cur", name).stat().st_mtime == 1_000_000_000
    assert os.listdir(f"{root}/tmp") == []


def test_sweep_removes_only_what_is_old(root: str) -> None:
    for name in ("old", "young"):
        Path(root, "tmp", name).touch()
    os.utime(f"{root}/tmp/old", (0, 0))
    maildir.sweep(root)
    # the ctime of both is of now: nothing tells that the program is dead
    assert sorted(os.listdir(f"{root}/tmp")) == ["old", "young"]


def test_names_that_are_listed(root: str) -> None:
    cur = Path(root, "cur")
    good = ["1.a:2,S", "quote\"'", "-dash", "x" * 250, os.fsdecode(b"\xff\xfe"), "blank  :2,", "ü"]
    for name in good:
        (cur / name).write_bytes(b"x")
    for name in (".hidden", "new\nline", "tab\tbed", ":2,S", "del\x7f"):
        (cur / name).write_bytes(b"x")
    os.mkfifo(cur / "fifo")
    (cur / "dir").mkdir()
    (cur / "link").symlink_to("/etc/passwd")
    (cur / "dangling").symlink_to("/nowhere")
    assert set(maildir.list_names(str(cur))) == set(good)
    (Path(root) / "link").symlink_to(cur)
    with pytest.raises(NotADirectoryError):
        maildir.list_names(f"{root}/link")


@pytest.mark.parametrize("content", [
    b"V\t2\n\nINBOX\nProjekte\t2026\nEntw&APw-rfe\n",
    b"INBOX\nProjekte.2026\nEntw&APw-rfe\n",
])
def test_subscriptions_keep_their_version(tmp_path: Path, content: bytes) -> None:
    root = str(tmp_path)
    (tmp_path / "subscriptions").write_bytes(content)
    assert subscriptions.load(root) == ["INBOX", "Projekte.2026", "Entwürfe"]
    assert subscriptions.add(root, "Büro.x", "INBOX")
    assert not subscriptions.add(root, "Büro.x")
    assert subscriptions.remove(root, "Projekte.2026")
    assert not subscriptions.remove(root, "Projekte.2026")
    expected = content.replace(b"Projekte\t2026\n", b"").replace(b"Projekte.2026\n", b"")
    last = b"B&APw-ro\tx\n" if content.startswith(b"V") else b"B&APw-ro.x\n"
    assert (tmp_path / "subscriptions").read_bytes() == expected + last


def test_unreadable_subscriptions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "subscriptions").write_bytes(b"V\t2\n\n&bad\n\xff\n")
    assert subscriptions.load(str(tmp_path)) == []
    subscriptions.add(str(tmp_path), "x")
    assert (tmp_path / "subscriptions").read_bytes() == b"V\t2\n\n&bad\n\xff\nx\n"


def test_time_is_not_needed_for_unique_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
    assert len({maildir.name_for(1, 1) for _ in range(100)}) == 100


@pytest.mark.parametrize("names", [
    ["17.M9P1.h", "17.M10P1.h", "17.M9P0.h", "9.M1.h", "x", "", "17", "0017.M009.h", "17.Mx", "1" * 19 + ".M1"],
    ["1700000002.M1.h", "1700000001.M9.h", "1700000001.M10.h", "1700000001.x", "1700000000.M7", "1700000001.M9.g"],
    ["1700000001.M9.h", "1700000001.M10.h", "999999999.M1.h.x", "17000000010.M1.h"],
    ["1700000001.M9.h", "1700000001_M10.h", "170000.001.M1.h"],
    ["1700000001.M9.h", "\N{ARABIC-INDIC DIGIT ONE}700000001.M10.h"],
    ["1700000001.M9.h", "\udcff700000001.M10.h"],
    [],
])
def test_many_names_are_sorted_as_they_arrived(names: list[str]) -> None:
    assert maildir.by_arrival(names) == sorted(names, key=maildir.arrival)
