"""`lanmail mailbox check` and `repair`: every kind of damage is told, mended where that is safe; no mail is lost."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.cli.mailbox import aside
from lanmail.folders import dotlock, folder, subscriptions, uidlist
from tests.mailboxes import Place, message

OLD = time.time() - 50 * 3600


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An account with three mails in INBOX and two in Sent, one with keywords; nothing is wrong."""
    made = Place(tmp_path, "meier")
    maildir.prepare(made.root())
    os.chmod(made.root(), 0o750)
    for number in range(3):
        made.put(message(f"mail {number}"))
    made.put(message("sent"), "Sent", flags=("\\Seen", "Wichtig"))
    made.put(message("sent again"), "Sent")
    return made


def kinds(place: Place, *more: str, code: int = 65) -> list[tuple[str, str, str]]:
    return [(one["level"], one["folder"], one["kind"]) for one in place.json("check", "meier", *more, code=code)]


def files(place: Place, name: str = "INBOX", sub: str = "cur") -> list[Path]:
    return sorted(Path(maildir.path_of(place.root(), name), sub).iterdir())


def test_a_sound_maildir(place: Place) -> None:
    assert kinds(place, code=0) == []
    assert place.call("check", "--all") == "ok    meier\n"
    assert place.call("repair", "meier") == "ok     meier\n"
    assert "name an account" in place.call("check", code=64)
    assert "no folder 'Nope'" in place.call("check", "meier", "Nope", code=66)
    assert place.json("check", "meier", "sent") == []


def without_cur(place: Place) -> None:
    os.rmdir(f"{place.root()}/.Drafts/cur")


def foreign_name(place: Place) -> None:
    os.rename(f"{place.root()}/.Junk", f"{place.root()}/.Entwürfe..alt")


def lost_subscription(place: Place) -> None:
    subscriptions.add(place.root(), "Weg", "Shared.Team")


def stale_tmp(place: Place) -> None:
    # its ctime cannot be set back: a program with a clock of tomorrow would see this
    path = Path(place.root(), "tmp", "1.old")
    path.write_bytes(b"half")
    os.utime(path, (OLD, OLD))


def left_lock(place: Place) -> None:
    path = Path(place.root(), "dovecot-uidlist.lock")
    path.write_text("1:another.host")
    os.utime(path, (OLD, OLD))


def torn_list(place: Place) -> None:
    path = Path(place.root(), uidlist.NAME)
    path.write_bytes(path.read_bytes() + b"4 :torn")


def doubled_uids(place: Place) -> None:
    path = Path(place.root(), uidlist.NAME)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], b"1" + lines[2][1:], *lines[3:]]))


def broken_header(place: Place) -> None:
    path = Path(place.root(), uidlist.NAME)
    head, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(head.replace(b"3 V", b"\0 V") + b"\n" + rest)


def no_header(place: Place) -> None:
    Path(place.root(), uidlist.NAME).write_bytes(b"\0" * 100)


def broken_keywords(place: Place) -> None:
    path = Path(place.root(), ".Sent", "dovecot-keywords")
    path.write_bytes(path.read_bytes() + b"nonsense\n")


def lost_keywords(place: Place) -> None:
    os.unlink(f"{place.root()}/.Sent/dovecot-keywords")


def a_directory(place: Place) -> None:
    os.mkdir(f"{place.root()}/cur/directory")
    os.symlink("/etc/passwd", f"{place.root()}/cur/link:2,S")


def no_name(place: Place) -> None:
    Path(place.root(), "cur", "1.a\nb:2,S").write_bytes(message("hidden"))


def empty(place: Place) -> None:
    path = Path(place.root(), "new", "1.empty")
    path.touch()
    os.utime(path, (OLD, OLD))


def zeros(place: Place) -> None:
    Path(place.root(), "new", "1.zero").write_bytes(b"\0" * 5000)


def torn(place: Place) -> None:
    with open(files(place)[0], "r+b") as stream:
        stream.truncate(30)


def lying_name(place: Place) -> None:
    path = files(place, "Sent")[0]
    path.rename(path.with_name(path.name.replace(",W=", ",W=9")))
    known = Path(place.root(), ".Sent", uidlist.NAME)
    base = maildir.base_of(path.name)
    known.write_text(known.read_text().replace(base, base.replace(",W=", ",W=9")))


def same_name(place: Place) -> None:
    path = files(place)[0]
    Path(place.root(), "new", maildir.base_of(path.name)).write_bytes(message("mail 9"))


def no_mail(place: Place) -> None:
    Path(place.root(), "cur", "1.x:2,").write_bytes(b"\x89PNG\r\n" * 20)


def packed(place: Place) -> None:
    Path(place.root(), "cur", "1.gz,S=9:2,SZ").write_bytes(b"\x1f\x8b\x08" + b"x" * 40)


def open_to_all(place: Place) -> None:
    os.chmod(place.root(), 0o755)


def read_only(place: Place) -> None:
    os.chmod(f"{place.root()}/.Trash/new", 0o500)


def broken_cache(place: Place) -> None:
    Path(place.root(), "lanmail-cache").write_bytes(b"\0" * 4096)


def linked_cache(place: Place) -> None:
    path = Path(place.root(), ".Sent", "lanmail-modseqs")
    path.unlink(missing_ok=True)
    path.symlink_to("/etc/passwd")


def broken_index(place: Place) -> None:
    place.paths.indexes.mkdir(parents=True)
    (place.paths.indexes / "meier.sqlite").write_bytes(b"no database " * 1000)


DAMAGES: dict[Callable[[Place], None], tuple[str, str, str]] = {
    without_cur: ("fail", "Drafts", "missing-directory"), foreign_name: ("fail", "", "impossible-name"),
    lost_subscription: ("warn", "", "subscribed-to-nothing"), left_lock: ("warn", "INBOX", "left-lock"),
    torn_list: ("warn", "INBOX", "uidlist-damaged"), doubled_uids: ("fail", "INBOX", "uidlist-damaged"),
    broken_header: ("fail", "INBOX", "uidlist-damaged"), no_header: ("fail", "INBOX", "uidlist-damaged"),
    broken_keywords: ("warn", "Sent", "keywords-damaged"), lost_keywords: ("warn", "Sent", "keywords-lost"),
    a_directory: ("warn", "INBOX", "no-file"), no_name: ("fail", "INBOX", "bad-name"),
    empty: ("fail", "INBOX", "empty"),
    zeros: ("fail", "INBOX", "zeros"), torn: ("fail", "INBOX", "torn"), lying_name: ("warn", "Sent", "wrong-size"),
    same_name: ("fail", "INBOX", "same-name"), no_mail: ("warn", "INBOX", "no-mail"),
    packed: ("warn", "INBOX", "packed"),
    broken_cache: ("warn", "INBOX", "cache-damaged"), linked_cache: ("warn", "Sent", "cache-damaged"),
    broken_index: ("warn", "", "index-damaged"),
    open_to_all: ("warn", "", "others-may-look"), read_only: ("fail", "Trash", "wrong-rights"),
}
BY_HAND = (lost_keywords, no_mail, packed)
NEW_UIDS = (no_header,)


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_damage_is_told_and_mended(place: Place, harm: Callable[[Place], None]) -> None:
    before = place.state()
    harm(place)
    tree = sorted((path, path.lstat().st_mtime_ns) for path in Path(place.root()).rglob("*"))
    found = [one for one in kinds(place) if one[0] != "note"]
    expected = DAMAGES[harm]
    # what lost the end of a list or its header lost UIDs, too; a folder that is hidden is subscribed to
    assert expected in found
    assert {kind for _, _, kind in found} <= {expected[2], "subscribed-to-nothing"}
    text = place.call("check", "meier", code=65)
    assert ("a person has to look" in text) == (harm in BY_HAND)
    dry = place.call("repair", "meier", "--dry-run", code=65)
    assert (harm in BY_HAND) or "would" in dry
    assert sorted((path, path.lstat().st_mtime_ns) for path in Path(place.root()).rglob("*")) == tree

    place.call("repair", "meier", code=65 if harm in BY_HAND else 0)
    left = [one for one in kinds(place, code=65 if harm in BY_HAND else 0) if one[0] != "note"]
    assert left == ([expected] if harm in BY_HAND else [])
    after = place.state()
    kept = [text for mails in after.values() for _, _, _, text in mails]
    for name, mails in before.items():
        if harm is torn and name == "INBOX":
            assert [one[0] for one in after[name]] == [1, 2, 3]
            continue
        for uid, flags, date, text in mails:
            assert text in kept
            if harm not in (*NEW_UIDS, doubled_uids, lost_keywords, foreign_name):
                assert (uid, flags, date, text) in after[name]


def test_uidvalidity_stays_when_it_can_be_read(place: Place) -> None:
    before = folder.Folder(place.root(), place.root()).sync()
    broken_header(place)
    place.call("repair", "meier")
    after = folder.Folder(place.root(), place.root()).sync()
    assert after.uidvalidity == before.uidvalidity
    assert [entry.uid for entry in after.entries] == [1, 2, 3]
    assert any("uidlist" in name for name in os.listdir(f"{place.root()}/{aside.NAME}"))


def test_what_goes_aside_says_where_it_was(place: Place) -> None:
    zeros(place)
    place.call("repair", "meier")
    kept = Path(place.root(), aside.NAME)
    assert (kept / "1.zero").read_bytes() == b"\0" * 5000
    assert (kept / "1.zero.why").read_text().startswith("was new/1.zero\nit is nothing but NUL")
    assert place.json("list", "meier")[0]["messages"] == 3


def test_a_renamed_folder_is_seen_and_subscribed(place: Place) -> None:
    foreign_name(place)
    place.call("repair", "meier")
    assert "Entwürfe.alt" in maildir.folders(place.root())
    assert "Entwürfe.alt" in subscriptions.load(place.root())


def test_true_sizes_keep_keywords_without_a_letter(place: Place) -> None:
    flags = tuple(f"k{number}" for number in range(30))
    uid = place.put(message("many"), "Sent", flags=flags)
    path = files(place, "Sent")[-1]
    with open(path, "ab") as stream:
        stream.write(b"more\n")
    assert ("warn", "Sent", "wrong-size") in kinds(place)
    place.call("repair", "meier")
    found = {one[0]: one for one in place.state()["Sent"]}[uid]
    assert found[1] == frozenset(flags)
    assert found[3].endswith(b"more\n")


def test_stale_files_in_tmp(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stale_tmp(place)
    assert kinds(place, code=0) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 40 * 3600)
    assert ("warn", "INBOX", "stale-tmp") in kinds(place)
    place.call("repair", "meier")
    assert files(place, sub="tmp") == []


def test_a_linked_cur_is_left_to_a_person(place: Place, tmp_path: Path) -> None:
    os.rename(f"{place.root()}/.Trash/cur", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{place.root()}/.Trash/cur")
    assert ("fail", "Trash", "no-directory") in kinds(place)
    assert "a person" in place.call("repair", "meier", code=65)
    assert os.path.islink(f"{place.root()}/.Trash/cur")


def test_repair_waits_for_a_program_that_works_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lying_name(place)
    monkeypatch.setattr(folder, "LOCK_WAIT", 0.05)
    with dotlock.held(f"{place.root()}/.Sent/{uidlist.NAME}"):
        assert "held by another process" in place.call("repair", "meier", code=65)
    place.call("repair", "meier")


def test_a_session_sees_the_same_messages_after_a_repair(place: Place) -> None:
    session = folder.Folder(maildir.path_of(place.root(), "Sent"), place.root())
    lying_name(place)
    before = session.sync()
    place.call("repair", "meier")
    after = session.sync()
    assert [(entry.uid, after.flags(entry)) for entry in after.entries] == [
        (entry.uid, before.flags(entry)) for entry in before.entries]
    assert session.read(after.entries[0]) == message("sent")


def test_quick_reads_no_message(place: Place) -> None:
    lying_name(place)
    assert kinds(place, code=65) == [("warn", "Sent", "wrong-size")]
    assert kinds(place, "--quick", code=0) == []
    torn(place)
    assert kinds(place, "--quick") == [("fail", "INBOX", "torn")]
