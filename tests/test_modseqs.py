"""Mod-sequences: they only grow, all processes see the same, and nothing that happens to a Maildir escapes them."""

import os
import struct
import time
from pathlib import Path

import pytest

from lanmail import maildir
from lanmail.folders import changes, folder, modseqs
from lanmail.folders.snapshot import Snapshot

MAIL = b"Subject: x\n\nhello\n"


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "meier")
    maildir.prepare(path)
    return path


def process(root: str) -> folder.Folder:
    """The folder as another process has it, or the same one after a restart."""
    made = folder.Folder(root, root)
    made.number()
    return made


def drop(root: str, *names: str, sub: str = "cur") -> None:
    for name in names:
        Path(root, sub, name).write_bytes(MAIL)


def numbers(snapshot: Snapshot) -> dict[int, int]:
    return {entry.uid: entry.modseq for entry in snapshot.entries}


def log(root: str) -> Path:
    return Path(root, modseqs.NAME)


def test_pop3d_and_deliver_need_none(root: str) -> None:
    drop(root, "1.a:2,S")
    plain = folder.Folder(root, root).sync()
    assert (plain.modseq, numbers(plain)) == (0, {1: 0})
    assert not log(root).exists()


def test_the_same_in_all_processes_and_after_a_restart(root: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,", "3.c:2,Fa")
    one, two = process(root), process(root)
    first = one.sync()
    assert min(numbers(first).values()) > 1_700_000_000_000_000
    assert numbers(two.sync()) == numbers(first)
    changed = changes.store(two, [2], "+", ["\\Flagged", "Neu"])
    assert changed.modseq > first.modseq
    assert numbers(changed) == numbers(first) | {2: changed.modseq}
    for other in (one, process(root)):
        assert (other.sync().modseq, numbers(other.sync())) == (changed.modseq, numbers(changed))
    gone = changes.expunge(one, [1])
    assert two.sync().modseq == gone.modseq > changed.modseq
    for other in (two, process_synced(root)):
        assert other.number().expunged_since(changed.modseq) == [1]
    assert two.number().expunged_since(gone.modseq) == []


def process_synced(root: str) -> folder.Folder:
    made = process(root)
    made.sync()
    return made


def test_what_changes_nothing_has_no_number(root: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,")
    drop(root, "3.c", sub="new")
    one = process(root)
    first = one.sync()
    assert changes.store(one, [1], "+", ["\\Seen"]).modseq == first.modseq
    assert changes.take_recent(one)[0].modseq == first.modseq  # \Recent has none (RFC 7162 §3.1)
    os.rename(f"{root}/cur/2.b:2,", f"{root}/cur/2.b:2,X")  # no flag that IMAP knows
    one.distrust()
    assert numbers(one.sync()) == numbers(first)
    assert process(root).sync().modseq == first.modseq


@pytest.mark.parametrize("running", [True, False])
def test_others_rename_remove_and_deliver(root: str, running: bool) -> None:
    drop(root, "1.a:2,S", "2.b:2,", "3.c:2,")
    one, two = process(root), process(root)
    before = one.sync()
    if running:
        two.sync()
    os.rename(f"{root}/cur/2.b:2,", f"{root}/cur/2.b:2,FS")
    os.unlink(f"{root}/cur/3.c:2,")
    drop(root, "4.d", sub="new")
    after = two.sync()
    assert after.modseq > before.modseq
    assert numbers(after) == {1: before.modseq, 2: after.modseq, 4: after.modseq}
    assert two.number().expunged_since(before.modseq) == [3]
    assert (one.sync().modseq, numbers(one.sync())) == (after.modseq, numbers(after))
    assert one.number().expunged_since(before.modseq) == [3]


def test_there_and_back_again_is_a_change_for_those_who_saw_it(root: str) -> None:
    drop(root, "1.a:2,")
    one, two = process(root), process(root)
    before = one.sync()
    two.sync()
    changes.store(two, [1], "+", ["\\Seen"])
    after = changes.store(two, [1], "-", ["\\Seen"])
    assert numbers(one.sync()) == numbers(after) == numbers(process(root).sync())
    assert after.modseq > before.modseq


def test_keywords_without_a_letter(root: str) -> None:
    drop(root, "1.a:2,", "2.b:2,")
    one, two = process(root), process(root)
    changes.store(one, [1], "+", [f"k{number}" for number in range(30)])
    before = two.sync()
    after = changes.store(one, [2], "+", ["k29"])
    assert after.find(2).modseq > before.modseq  # type: ignore[union-attr]
    assert numbers(two.sync()) == numbers(after)
    assert changes.store(two, [2], "+", ["k29"]).modseq == after.modseq


@pytest.mark.parametrize("harm", ["lost", "empty", "cut", "zeros", "text", "other", "directory"])
def test_a_damaged_log_costs_nothing_but_numbers(root: str, harm: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,")
    one, path = process(root), log(root)
    one.sync()
    before = changes.store(one, [1], "+", ["\\Flagged"])
    data = path.read_bytes()
    path.unlink()
    if harm == "directory":
        path.mkdir()
    elif harm != "lost":
        path.write_bytes({"empty": b"", "cut": data[:40], "zeros": bytes(len(data)), "text": b"x\n" * 99,
                          "other": data[:8] + b"\7" + data[9:]}[harm])
    two = process(root)
    after = two.sync()
    assert all(value > before.modseq for value in numbers(after).values())
    assert two.number().expunged_since(before.modseq) is None
    later = changes.store(one, [2], "+", ["\\Seen"])
    assert later.modseq > after.modseq or harm == "directory"
    assert numbers(later)[2] == later.modseq


def test_a_lost_log_is_written_from_memory(root: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,")
    one = process(root)
    before = one.sync()
    log(root).unlink()
    assert numbers(one.sync()) == numbers(before) == numbers(process(root).sync())


def test_a_torn_or_lost_tail(root: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,")
    one = process(root)
    one.sync()
    whole = log(root).stat().st_size
    second = changes.store(one, [1], "+", ["\\Flagged"])
    os.truncate(log(root), whole + 10)  # the record was never whole
    two = process(root)
    assert numbers(two.sync())[1] > second.modseq
    third = changes.store(two, [2], "+", ["\\Flagged"])
    assert numbers(process(root).sync()) == numbers(third)
    assert (log(root).stat().st_size - whole) % 16 == 0


@pytest.mark.parametrize("record", [(1, 5), (1, 1 << 62), (1, (1 << 63) - 1), (0, 0)])
def test_a_record_that_makes_no_sense(root: str, record: tuple[int, int]) -> None:
    drop(root, "1.a:2,S")
    before = process(root).sync()
    with log(root).open("ab") as stream:
        stream.write(struct.pack("=2Q", *record))
    after = process(root).sync()
    assert before.modseq < after.modseq < 1 << 62
    assert numbers(process(root).sync()) == numbers(after)


def test_a_clock_that_goes_back(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.a:2,")
    one = process(root)
    first = one.sync()
    monkeypatch.setattr(modseqs.time, "time_ns", lambda: 1000)
    second = changes.store(one, [1], "+", ["\\Seen"])
    third = changes.expunge(process(root), [1])
    assert (second.modseq, third.modseq) == (first.modseq + 1, first.modseq + 2)


def test_a_disk_that_is_full(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.a:2,")
    one = process(root)
    first = one.sync()

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(modseqs.atomic, "write_all", full)
        patch.setattr(modseqs, "_put", full)
        second = changes.store(one, [1], "+", ["\\Seen"])
        assert numbers(second)[1] > first.modseq
        time.sleep(0.001)
        assert one.sync() is second
    assert numbers(process(root).sync())[1] > second.modseq  # nobody noted it: it changed when we saw it


def test_the_log_stays_short(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modseqs, "MAX_KEPT", 50)
    drop(root, "0.a:2,", *(f"{number}.x:2," for number in range(1, 200)))
    one = process(root)
    first, two = one.sync(), process(root)
    two.sync()
    for number in range(700):
        changes.store(one, [1], "+-"[number % 2], ["\\Seen", "\\Flagged"])
    assert log(root).stat().st_size < 16 * 1300
    before = one.sync().modseq
    for uid in range(2, 201):
        changes.expunge(one, [uid])
    for _ in range(900):
        changes.store(one, [1], "+", ["\\Deleted"])
        last = changes.store(one, [1], "-", ["\\Deleted"])
    assert log(root).stat().st_size < 16 * 1500
    for other in (one, two, process(root)):
        assert numbers(other.sync()) == {1: last.modseq}
        assert other.number().expunged_since(before) is None
        assert other.number().expunged_since(last.modseq) == []
    assert two.number().expunged_since(first.modseq) is None


def test_a_log_written_anew_changes_nothing(root: str) -> None:
    drop(root, *(f"{number}.x:2," for number in range(20)))
    one, two = process(root), process(root)
    one.sync()
    before = two.sync()
    inode = log(root).stat().st_ino
    for number in range(1100):
        changes.store(one, [1], "+-"[number % 2], ["\\Seen"])
    assert log(root).stat().st_ino != inode
    after = two.sync()
    assert all(new is old for new, old in zip(after.entries[1:], before.entries[1:], strict=True))
    assert numbers(after) == numbers(one.sync())


def test_another_log_of_the_same_inode(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system gives the number of a removed file to the next one, so two rewrites can bring it back."""
    def in_place(path: str, data: bytes) -> os.stat_result:
        Path(path).write_bytes(data)
        return os.stat(path)

    monkeypatch.setattr(modseqs, "_put", in_place)
    drop(root, *(f"{number:03}.x:2," for number in range(200)))
    one = process(root)
    one.sync()
    two = process_synced(root)
    for uid in range(2, 201):
        changes.expunge(one, [uid])
    for _ in range(700):
        changes.store(one, [1], "+", ["\\Deleted"])
        last = changes.store(one, [1], "-", ["\\Deleted"])
    assert numbers(two.sync()) == {1: last.modseq}
    assert two.sync().modseq == last.modseq, "it told nobody that the other messages went only now"
    assert two.number().expunged_since(last.modseq) == []


def test_what_one_process_claimed_another_does_not(root: str) -> None:
    drop(root, "1.a:2,", "2.b:2,S")
    one, two = process(root), process(root)
    assert changes.take_recent(one)[1] == frozenset(), "a folder that is seen for the first time holds old mail"
    changes.append(one, MAIL, ["\\Seen"])
    drop(root, "3.c", sub="new")
    assert changes.take_recent(two)[1] == {3, 4}
    for other in (one, two, process(root)):
        assert changes.take_recent(other)[1] == frozenset()
    changes.append(one, MAIL)
    for number in range(1100):
        changes.store(one, [1], "+-"[number % 2], ["\\Seen"])
    assert changes.take_recent(process(root))[1] == {5}, "also in a log that was written anew"
    assert changes.take_recent(two)[1] == frozenset()


def test_an_expunged_uid_does_not_come_back(root: str) -> None:
    drop(root, "1.a:2,S", "2.b:2,S")
    one, two = process(root), process(root)
    one.sync()
    two.sync()
    os.rename(f"{root}/cur/2.b:2,S", f"{root}/tmp/aside")
    assert list(numbers(one.sync())) == [1]
    os.rename(f"{root}/tmp/aside", f"{root}/cur/2.b:2,S")
    for other in (process(root), one, two):
        other.distrust()
        assert list(numbers(other.sync())) == [1, 3]


def test_what_a_power_cut_undid_is_told_again(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(root, "1.a:2,", "2.b:2,")
    one = process(root)
    first = one.sync()
    whole = log(root).read_bytes()
    lost = changes.store(one, [1], "+", ["\\Seen"])  # a client was told this
    os.rename(f"{root}/cur/1.a:2,S", f"{root}/cur/1.a:2,")
    log(root).write_bytes(whole)
    monkeypatch.setattr(modseqs, "boot", lambda: 7 << 32)
    two = process(root)
    two.sync()
    assert (two.number().since(first.modseq), two.number().since(lost.modseq)) == (first.modseq, 0)
    assert two.number().expunged_since(lost.modseq) is None
    second = changes.store(two, [2], "+", ["\\Seen"])
    assert second.modseq > lost.modseq
    for number in range(1500):
        changes.store(two, [2], "+-"[number % 2], ["\\Flagged"])
    for other in (two, process(root)):
        other.sync()
        assert (other.number().since(lost.modseq), other.number().since(second.modseq)) == (0, second.modseq)


def test_another_uidvalidity_is_another_log(root: str) -> None:
    drop(root, "1.a:2,")
    one = process(root)
    before = one.sync()
    Path(root, "dovecot-uidlist").unlink()
    one.distrust()
    after = one.sync()
    assert after.uidvalidity != before.uidvalidity
    assert numbers(after) == {1: after.modseq}
    assert after.modseq > before.modseq
    assert numbers(process(root).sync()) == numbers(after)


def test_no_link_is_followed(root: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    log(root).symlink_to(tmp_path / "other")
    drop(root, "1.a:2,")
    process(root).sync()
    assert (tmp_path / "other").read_bytes() == b"precious"
