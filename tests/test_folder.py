"""Folders: who gets which UID, what is noticed, and what other programs may have dropped there."""

import os
import threading
import time
from pathlib import Path

import pytest

from lanmail import atomic, maildir
from lanmail.folders import changes, folder, folderpool, listing, snapshot, uidlist

MAIL = b"Subject: x\n\nhello\n"


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "meier")
    maildir.prepare(path)
    return path


@pytest.fixture
def inbox(root: str) -> folder.Folder:
    return folder.Folder(root, root)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every directory had been changed long ago."""
    ahead = time.time_ns() + 10**10
    monkeypatch.setattr(listing.time, "time_ns", lambda: ahead)


def drop(root: str, name: str, data: bytes = MAIL, sub: str = "new") -> Path:
    path = Path(root, sub, name)
    path.write_bytes(data)
    return path


def uids(snapshot: snapshot.Snapshot) -> dict[str, int]:
    return {entry.base: entry.uid for entry in snapshot.entries}


def test_uids_in_order_of_arrival_and_for_ever(root: str, inbox: folder.Folder) -> None:
    drop(root, "20.M1.h"), drop(root, "10.M7.h:2,S", sub="cur"), drop(root, "10.M70.h")
    first = inbox.sync()
    assert uids(first) == {"10.M7.h": 1, "10.M70.h": 2, "20.M1.h": 3}
    assert (first.uidnext, [entry.recent for entry in first.entries]) == (4, [False, True, True])
    drop(root, "5.M1.h")
    assert uids(inbox.sync())["5.M1.h"] == 4
    assert uids(folder.Folder(root, root).sync()) == uids(inbox.sync())
    assert Path(root, "dovecot-uidlist").read_text().endswith("4 :5.M1.h\n")


def test_nothing_happened_is_the_same_snapshot(root: str, inbox: folder.Folder, settled: None) -> None:
    drop(root, "1.a")
    first = inbox.sync()
    assert inbox.peek() is first
    assert inbox.sync() is first
    drop(root, "2.b")
    assert inbox.peek() is None
    second = inbox.sync()
    assert second.entries[0] is first.entries[0]


def test_a_change_within_the_clocks_grain_is_seen(
        root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = os.stat(f"{root}/new").st_mtime_ns
    monkeypatch.setattr(listing.time, "time_ns", lambda: stamp + 4_000_000)
    inbox.sync()
    for number in range(20):
        drop(root, f"{number}.x")
        os.utime(f"{root}/new", ns=(stamp, stamp))  # a coarse clock, or a change right after the last look
        assert len(inbox.sync()) == number + 1


def test_whole_seconds_are_not_trusted_for_a_second(
        root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = int(time.time()) * 10**9
    os.utime(f"{root}/new", ns=(stamp, stamp))
    os.utime(f"{root}/cur", ns=(1, 1))
    monkeypatch.setattr(listing.time, "time_ns", lambda: stamp + 900_000_000)
    inbox.sync()
    drop(root, "1.x")
    os.utime(f"{root}/new", ns=(stamp, stamp))
    assert len(inbox.sync()) == 1


def test_two_processes_give_one_uid(root: str, inbox: folder.Folder) -> None:
    other = folder.Folder(root, root)
    seen = [inbox.sync(), other.sync()]
    for number in range(30):
        drop(root, f"{number}.x")
        seen = [one.sync() for one in ((inbox, other) if number % 2 else (other, inbox))]
        assert uids(seen[0]) == uids(seen[1])
    assert list(uids(seen[0]).values()) == list(range(1, 31))


def test_a_message_that_is_gone_and_back_gets_a_new_uid(root: str, inbox: folder.Folder) -> None:
    one, _ = drop(root, "1.a"), drop(root, "2.b")
    inbox.sync()
    one.unlink()
    assert uids(inbox.sync()) == {"2.b": 2}
    drop(root, "1.a")
    assert uids(inbox.sync()) == {"2.b": 2, "1.a": 3}
    assert uids(folder.Folder(root, root).sync()) == {"2.b": 2, "1.a": 3}


def test_uids_are_never_used_again(root: str, inbox: folder.Folder) -> None:
    for number in range(10):
        drop(root, f"{number}.x")
    changes.expunge(inbox, [entry.uid for entry in inbox.sync().entries])
    assert len(inbox.sync()) == 0
    for name in os.listdir(f"{root}/new"):
        pytest.fail(name)
    drop(root, "99.x")
    assert uids(inbox.sync()) == {"99.x": 11}
    lines = Path(root, "dovecot-uidlist").read_text().splitlines()
    assert len(lines) == 2  # what is expunged goes at a rewrite
    assert " N12 " in lines[0]


def test_a_lost_uidlist_means_a_new_uidvalidity(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a")
    before = inbox.sync()
    os.unlink(f"{root}/dovecot-uidlist")
    after = inbox.sync()
    assert after.uidvalidity > before.uidvalidity
    assert uids(after) == {"1.a": 1}


@pytest.mark.parametrize("restarted", [False, True])
def test_a_damaged_uidlist_is_mended(root: str, inbox: folder.Folder, restarted: bool) -> None:
    drop(root, "1.a"), drop(root, "2.b"), drop(root, "3.c")
    before = inbox.sync()
    path = Path(root, "dovecot-uidlist")
    path.write_bytes(path.read_bytes().replace(b"2 :2.b\n", b"garbage\n") + b"4 :tor")
    if restarted:
        inbox = folder.Folder(root, root)
    after = inbox.sync()
    assert after.uidvalidity == before.uidvalidity
    assert uids(after) == {"1.a": 1, "3.c": 3, "2.b": 4 if restarted else 2}
    assert b"garbage" not in path.read_bytes()
    assert uids(folder.Folder(root, root).sync()) == uids(after)


def test_couriers_uids_are_taken_over(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a:2,S", sub="cur"), drop(root, "2.b")
    Path(root, uidlist.COURIER).write_text("1 1111111111 8\n7 1.a\n")
    snapshot = inbox.sync()
    assert (snapshot.uidvalidity, uids(snapshot)) == (1111111111, {"1.a": 7, "2.b": 8})
    assert Path(root, "dovecot-uidlist").read_text().startswith("3 V1111111111 N8 G")


def test_the_highest_uid_is_followed_by_a_new_uidvalidity(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a")
    Path(root, "dovecot-uidlist").write_text("3 V1 N4294967290 Gaa\n4294967289 :1.a\n")
    for number in range(10):
        drop(root, f"2.{number}")
    snapshot = inbox.sync()
    assert snapshot.uidvalidity > 1
    assert sorted(uids(snapshot).values()) == list(range(1, 12))


def test_flags_keywords_and_foreign_letters(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a:2,PS", sub="cur"), drop(root, "2.b")
    inbox.sync()
    names = [f"k{number}" for number in range(30)]
    snapshot = changes.store(inbox, [1, 2, 77], "+", ["\\Flagged", *names])
    assert set(snapshot.flags(snapshot.entries[0])) == {"\\Seen", "\\Flagged", *names}
    assert snapshot.entries[0].name.startswith("1.a:2,FPSab")
    assert set(snapshot.flags(snapshot.entries[1])) == {"\\Flagged", *names}
    snapshot = changes.store(inbox, [1], "-", ["\\seen", "K0", "K29"])
    assert set(snapshot.flags(snapshot.entries[0])) == {"\\Flagged", *names[1:29]}
    snapshot = changes.store(inbox, [1], "=", ["\\Draft", "k28"])
    assert set(snapshot.flags(snapshot.entries[0])) == {"\\Draft", "k28"}
    assert snapshot.entries[0].name == "1.a:2,DP"
    assert set(snapshot.flags(snapshot.entries[1])) == {"\\Flagged", *names}
    again = folder.Folder(root, root).sync()
    assert [again.flags(entry) for entry in again.entries] == [snapshot.flags(entry) for entry in snapshot.entries]


def test_flags_that_another_process_set_are_seen(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a")
    inbox.sync()
    changes.store(folder.Folder(root, root), [1], "+", ["\\Seen", *[f"k{number}" for number in range(27)]])
    snapshot = inbox.sync()
    assert {"\\Seen", "k26"} < set(snapshot.flags(snapshot.entries[0]))


def test_recent_is_for_one_session(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a"), drop(root, "2.b:2,F")
    snapshot, recent = changes.take_recent(inbox)
    assert recent == {1, 2}
    assert [entry.path for entry in snapshot.entries] == ["cur/1.a:2,", "cur/2.b:2,F"]
    assert changes.take_recent(inbox) == (snapshot, frozenset())


def test_copy_keeps_order_flags_and_date(root: str, inbox: folder.Folder) -> None:
    for name in ("3.c", "1.a", "2.b"):
        os.utime(drop(root, name), (1_000_000_000, 1_000_000_000))
    snapshot = inbox.sync()
    sent = folder.Folder(maildir.path_of(root, "Sent"), root)
    sources = [changes.Source(f"{root}/{entry.path}", ("\\Seen", "x"), entry.sizes)
               for entry in reversed(snapshot.entries)]
    copied, numbers = changes.copy(sent, sources)
    assert numbers == [1, 2, 3]
    assert {copied.flags(entry) for entry in copied.entries} == {("\\Seen", "x")}
    first = Path(sent.path, copied.entries[0].path)
    assert first.samefile(Path(root, snapshot.entries[2].path))
    assert (copied.entries[0].size, first.stat().st_mtime) == (len(MAIL), 1_000_000_000)
    assert len(inbox.sync()) == 3


def test_copy_is_all_or_nothing(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a")
    inbox.sync()
    sent = folder.Folder(maildir.path_of(root, "Sent"), root)
    with pytest.raises(OSError, match="nothere"):
        changes.copy(sent, [changes.Source(f"{root}/new/1.a"), changes.Source(f"{root}/nothere")])
    assert len(sent.sync()) == 0


def test_move_takes_each_message_by_one_rename(
    root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linking all, then removing all, left two of everything when imapd was killed between."""
    for name in ("1.a", "2.b", "3.c"):
        drop(root, name)
    sent = folder.Folder(maildir.path_of(root, "Sent"), root)
    entries = list(inbox.sync().entries)
    changes.store(inbox, [2], "+", ["\\Seen", "x"])
    rename, counts = os.rename, []

    def counted(old: str | Path, new: str | Path) -> None:
        rename(old, new)
        if "Sent/cur" in str(new):
            counts.append(sum(len(os.listdir(f"{path}/{sub}")) for path in (root, sent.path) for sub in ("new", "cur")))

    monkeypatch.setattr(os, "rename", counted)
    with inbox.locked(), sent.locked():
        moved, numbers = changes.move(inbox, sent, list(inbox.sync().entries))
    assert (counts, numbers) == ([3, 3, 3], [1, 2, 3])
    assert len(inbox.sync()) == 0
    assert [moved.flags(entry) for entry in moved.entries] == [(), ("\\Seen", "x"), ()]
    assert [entry.size for entry in moved.entries] == [entry.size or len(MAIL) for entry in entries]


def test_move_is_all_or_nothing(root: str, inbox: folder.Folder) -> None:
    for name in ("1.a", "2.b"):
        drop(root, name)
    sent = folder.Folder(maildir.path_of(root, "Sent"), root)
    entries = list(inbox.sync().entries)
    with inbox.locked(), sent.locked():
        os.unlink(f"{root}/new/2.b")
        with pytest.raises(FileNotFoundError):
            changes.move(inbox, sent, entries)
    assert [entry.base for entry in inbox.sync().entries] == ["1.a"]
    assert len(sent.sync()) == 0


def test_append(root: str, inbox: folder.Folder) -> None:
    snapshot, uid = changes.append(inbox, MAIL, ["\\Draft", "$X"], date=1_000_000_000)
    assert (uid, snapshot.flags(snapshot.entries[0])) == (1, ("\\Draft", "$X"))
    snapshot, uid = changes.append(inbox, MAIL)
    assert (uid, snapshot.entries[1].recent, snapshot.entries[1].wire_size) == (2, False, len(MAIL) + 3)
    assert inbox.read(snapshot.entries[1]) == MAIL


def test_a_renamed_message_is_found_again(root: str, inbox: folder.Folder) -> None:
    path = drop(root, "1.a")
    entry = inbox.sync().entries[0]
    path.rename(Path(root, "cur", "1.a:2,S"))
    os.close(inbox.open(entry))
    Path(root, "cur", "1.a:2,S").unlink()
    with pytest.raises(FileNotFoundError):
        inbox.open(entry)


def test_two_messages_with_one_base_name_are_parted(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a:2,", b"one\n", "cur"), drop(root, "1.a:2,S", b"two\n", "cur"), drop(root, "1.a", b"three\n")
    snapshot = inbox.sync()
    assert sorted(inbox.read(entry) for entry in snapshot.entries) == [b"one\n", b"three\n", b"two\n"]
    assert len({entry.base for entry in snapshot.entries}) == 3


def test_one_message_with_two_names_is_one_message(root: str, inbox: folder.Folder) -> None:
    os.link(drop(root, "1.a"), f"{root}/cur/1.a:2,S")
    assert [entry.path for entry in inbox.sync().entries] == ["cur/1.a:2,S"]
    assert os.path.exists(f"{root}/new/1.a")


def test_sizes_that_names_do_not_tell(root: str, inbox: folder.Folder) -> None:
    drop(root, "1.a", b"a\nb\r\n"), drop(root, "2.b,S=3,W=4", b"a\nb")
    snapshot = inbox.sync()
    assert snapshot.entries[0].sizes == (None, None)
    inbox.fill_sizes(snapshot.entries)
    assert [entry.sizes for entry in snapshot.entries] == [(5, 6), (3, 4)]
    assert "1 S5 W6 :1.a\n" in Path(root, "dovecot-uidlist").read_text()
    assert folder.Folder(root, root).sync().entries[0].sizes == (5, 6)


def test_a_file_written_in_place_is_seen_when_it_has_content(
        root: str, inbox: folder.Folder, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "FILL_TIME", 60.0)
    path = drop(root, "1.a", b"")
    assert len(inbox.sync()) == 0
    assert inbox.peek() is not None
    path.write_bytes(MAIL)
    assert len(inbox.sync()) == 1


def test_an_empty_file_that_stays_empty_is_an_empty_message(
        root: str, inbox: folder.Folder, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.a", b"")
    drop(root, "2.b:2,S", b"", "cur")
    assert uids(inbox.sync()) == {"2.b": 1}
    monkeypatch.setattr(folder, "FILL_TIME", 0.0)
    assert uids(inbox.sync()) == {"2.b": 1, "1.a": 2}


def test_whatever_other_programs_drop(root: str, inbox: folder.Folder, tmp_path: Path) -> None:
    good = drop(root, "1.good,S=17,W=20:2,S", sub="cur")
    (tmp_path / "outside").write_bytes(b"secret")
    for sub in ("new", "cur"):
        os.mkfifo(f"{root}/{sub}/2.fifo,S=1,W=1:2,S")
        os.symlink("/etc/passwd", f"{root}/{sub}/3.link,S=1,W=1")
        os.symlink(tmp_path / "outside", f"{root}/{sub}/4.link")
        os.symlink("/dev/zero", f"{root}/{sub}/5.zero")
        os.symlink("/nowhere", f"{root}/{sub}/6.dangling")
        os.mkdir(f"{root}/{sub}/7.directory")
        os.truncate(drop(root, f"9.sparse{sub}", b"", sub), 2 << 30)
        drop(root, "10.new\nline", sub=sub)
        drop(root, ".hidden", sub=sub)
    odd = ["11.quote\"'", "-dash", "y" * 250, os.fsdecode(b"12.\xff\xfe"), "13.co:lon", "nodot"]
    for name in odd:
        drop(root, name, sub="cur")
    names = {sub: sorted(os.listdir(f"{root}/{sub}")) for sub in ("new", "cur")}
    snapshot = inbox.sync()
    assert {entry.name for entry in snapshot.entries} == {good.name, *odd}
    assert all(inbox.read(entry) == MAIL for entry in snapshot.entries)
    assert {sub: sorted(os.listdir(f"{root}/{sub}")) for sub in ("new", "cur")} == names
    assert uids(folder.Folder(root, root).sync()) == uids(snapshot)


def test_a_message_replaced_by_something_else_is_not_served(root: str, inbox: folder.Folder) -> None:
    path = drop(root, "1.a")
    entry = inbox.sync().entries[0]
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(atomic.NotRegular):
        inbox.open(entry)


def test_a_directory_replaced_by_a_link_is_refused(root: str, inbox: folder.Folder, tmp_path: Path) -> None:
    inbox.sync()
    os.rename(f"{root}/cur", f"{root}/aside")
    os.symlink(tmp_path, f"{root}/cur")
    with pytest.raises(OSError, match="cur"):
        inbox.sync()


def test_nobody_is_lost_while_everything_is_renamed(root: str, inbox: folder.Folder) -> None:
    for number in range(400):
        drop(root, f"{number}.x:2,", sub="cur")
    inbox.sync()
    other = folder.Folder(root, root)
    stop = threading.Event()

    def rename() -> None:
        mode = "+"
        while not stop.is_set():
            changes.store(other, range(1, 401), mode, ["\\Seen"])
            mode = "-" if mode == "+" else "+"

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for _ in range(30):
            assert uids(inbox.sync()) == {f"{number}.x": number + 1 for number in range(400)}
    finally:
        stop.set()
        thread.join()


def test_many_threads_share_one_folder(root: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_ in range(8):
                drop(root, f"{number}.{round_}")
                shared = folderpool.get(root, root)
                snapshot = shared.sync()
                entry = snapshot.by_base()[f"{number}.{round_}"]
                changes.store(shared, [entry.uid], "+", ["\\Seen"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    snapshot = folderpool.get(root, root).sync()
    assert [entry.uid for entry in snapshot.entries] == list(range(1, 49))
    assert {snapshot.flags(entry) for entry in snapshot.entries} == {("\\Seen",)}


def test_own_changes_are_known_without_reading_the_directory(
        root: str, inbox: folder.Folder, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        drop(root, f"{number}.x:2,", sub="cur")
    inbox.sync()
    monkeypatch.setattr(listing, "TRUST", 60.0)
    read: list[str] = []
    monkeypatch.setattr(maildir, "list_names", lambda path: read.append(path) or set())
    snapshot = changes.store(inbox, [1, 2], "+", ["\\Seen"])
    snapshot = changes.expunge(inbox, [3])
    snapshot, (copied,) = changes.copy(inbox, [changes.Source(f"{root}/{snapshot.entries[0].path}", ("\\Seen",))])
    assert [f"{entry.uid}{entry.letters}" for entry in snapshot.entries] == ["1S", "2S", "4", "5", "6S"]
    assert copied == 6
    assert inbox.peek() is snapshot
    assert read == []
    monkeypatch.undo()
    assert [entry.path for entry in folder.Folder(root, root).sync().entries] == [
        entry.path for entry in snapshot.entries]


def test_what_another_program_did_at_the_same_moment_is_seen_a_little_later(
        root: str, inbox: folder.Folder, settled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.x:2,", sub="cur")
    inbox.sync()
    monkeypatch.setattr(listing, "TRUST", 50.0)
    take, status = os.rename, os.stat(f"{root}/cur")

    def rename(old: str, new: str, **inside: int) -> None:
        take(old, new, **inside)
        drop(root, "2.y:2,F", sub="cur")

    monkeypatch.setattr(changes.os, "rename", rename)
    changes.store(inbox, [1], "+", ["\\Seen"])
    monkeypatch.setattr(changes.os, "rename", take)
    assert status.st_mtime_ns != os.stat(f"{root}/cur").st_mtime_ns
    assert len(inbox.sync()) == 1
    later = time.monotonic() + 60
    monkeypatch.setattr(listing.time, "monotonic", lambda: later)
    assert inbox.peek() is None
    assert uids(inbox.sync()) == {"1.x": 1, "2.y": 2}


def test_a_uid_of_another_process_holds_although_its_file_was_not_listed_yet(
        root: str, inbox: folder.Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own change hid the other's file from us, and its record in the uidlist then seemed to be of an old one."""
    monkeypatch.setattr(listing, "TRUST", 60.0)
    other = folder.Folder(root, root)
    inbox.sync(), other.sync()
    given = {}
    for who in (inbox, other, inbox, other, other, inbox):
        snapshot, uid = changes.append(who, MAIL)
        given[snapshot.entries[-1].base] = uid
    assert list(given.values()) == [1, 2, 3, 4, 5, 6]
    for who in (inbox, other, folder.Folder(root, root)):
        assert uids(who.sync()) == given
