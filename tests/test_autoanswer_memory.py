"""autoanswer/memory.py: who was answered, counted by several at once, in a file that stays small."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import address, paths
from lanmail.autoanswer import memory
from lanmail.autoanswer.memory import Answer, Limits, Memory

EVA, HANS = address.parse("eva@far.example"), address.parse("hans@far.example")
NOW = 1_800_000_000.0
FIVE = Limits(5)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "autoresponder" / "meier"


def times(one, many, now=NOW, limits=FIVE, to=EVA, mark="m", first=0):
    """How many of `many` mails are answered."""
    return sum(one.note(to, f"{first + number}.id", mark, now, limits) == "" for number in range(many))


def test_an_hour_has_its_most_and_the_next_one_begins_anew(file):
    one = Memory(file)
    assert times(one, 8) == 5
    assert "5 times" in one.note(EVA, "x", "m", NOW, FIVE)
    assert times(one, 1, to=HANS) == 1
    assert times(one, 1, NOW + 3599.9, first=10) == 0
    assert times(one, 8, NOW + 3600, first=20) == 5


def test_a_mail_that_was_answered_is_answered_when_it_is_asked_for_again(file):
    assert times(Memory(file), 8) == 5
    again = Memory(file)
    assert times(again, 8, NOW + 1) == 5
    assert len(again.answers()) == 5


def test_once_per_counts_for_this_answer_and_the_hour_for_all(file):
    one, daily = Memory(file), Limits(5, 86400)
    assert times(one, 3, limits=daily) == 1
    assert one.note(EVA, "x", "m", NOW + 86399, daily) == "answered already (once_per)"
    assert times(one, 3, NOW + 86400, daily, first=10) == 1
    assert times(one, 3, NOW + 86400, daily, mark="another text", first=20) == 1
    assert [times(one, 1, NOW + 86400, daily, mark=f"text {n}", first=30 + n) for n in range(4)] == [1, 1, 1, 0]


@pytest.mark.parametrize("written", ["EVA@far.example", "eva+shop@far.example", "Eva+x+y@Far.Example"])
def test_one_sender_in_other_clothes(file, written):
    one = Memory(file)
    assert times(one, 5) == 5
    assert one.note(address.parse(written), "x", "m", NOW, FIVE)


def test_a_clock_that_was_wrong_silences_nobody_for_ever(file):
    one = Memory(file)
    assert times(one, 5, NOW + 10 * 86400) == 5
    assert times(one, 5, NOW, first=10) == 5


def test_threads_and_processes_count_together(file):
    one, many = Memory(file), Memory(file)
    gate = threading.Barrier(8)

    def ask(number):
        gate.wait(20)
        return (one if number % 2 else many).note(EVA, f"{number}.id", "m", NOW, FIVE) == ""
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 5
    code = ("import sys, pathlib; from lanmail import address; from lanmail.autoanswer.memory import Memory, Limits\n"
            "print(Memory(pathlib.Path(sys.argv[1])).note(address.parse('eva@far.example'), 'p', 'm', "
            f"{NOW}, Limits(6)) == '')")
    assert subprocess.run([sys.executable, "-c", code, file], capture_output=True, check=True).stdout == b"True\n"
    assert "6 times" in one.note(EVA, "x", "m", NOW, Limits(6))


def test_it_is_forgotten_on_request(file):
    one = Memory(file)
    assert one.forget() == 0
    assert not file.exists()
    times(one, 3)
    times(one, 2, to=HANS, first=10)
    assert one.forget(address.parse("Eva+y@far.example")) == 3
    assert one.forget(EVA) == 0
    assert [found.to for found in Memory(file).answers()] == [str(HANS)] * 2
    assert one.forget() == 2
    assert one.answers() == []


def test_it_stays_small(file, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 4096)
    monkeypatch.setattr(memory, "MOST", 50)
    one, inode = Memory(file), None
    for number in range(400):
        assert one.note(address.parse(f"a{number}@far.example"), f"{number}.id", "m", NOW + number, FIVE) == ""
        inode = inode or file.stat().st_ino
    assert file.stat().st_size < 9000
    assert file.stat().st_ino != inode
    newest = [found.to for found in Memory(file).answers()][-50:]
    assert newest == [f"a{number}@far.example" for number in range(350, 400)]


def test_what_is_old_goes_first(file, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 700)
    one = Memory(file)
    for number in range(20):
        times(one, 1, NOW, to=address.parse(f"a{number}@far.example"), first=number)
    later = NOW + memory.KEPT + 1
    times(one, 5, later, first=100)
    assert {found.to for found in one.answers()} == {str(EVA)}
    times(one, 5, later + 40 * 86400, Limits(5, 60 * 86400), mark="n", first=200)
    assert len(one.answers()) == 6, "a long once_per is remembered as long"


@pytest.mark.parametrize("rubbish", [b"1800000000 m eva@far.exam", b"\n\n", b"\xff\0\n", b"x m eva@far.example 1\n",
                                     b"9" * 400 + b" m eva@far.example 1\n", b"1800000000 m eva@far.example\n"])
def test_a_torn_or_strange_line_costs_nothing_else(file, rubbish):
    one = Memory(file)
    times(one, 3)
    with file.open("ab") as opened:
        opened.write(rubbish)
    assert times(one, 3, first=10) == 2
    assert times(Memory(file), 3, first=20) == 0
    assert len(Memory(file).answers()) == 5


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
def test_what_is_no_file_is_set_aside(file, make):
    file.parent.mkdir(parents=True)
    make(file)
    assert times(Memory(file), 1) == 1
    assert not file.is_symlink()
    assert file.is_file()
    assert len(list(file.parent.glob("meier.foreign.*"))) == 1


def test_a_disk_that_is_full_leaves_nothing_half_counted(file, monkeypatch):
    one = Memory(file)
    times(one, 1)

    def full(fd, data):
        os.write(fd, data[:7])
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(memory.atomic, "write_all", full)
        with pytest.raises(OSError, match="No space"):
            one.note(EVA, "x", "m", NOW, FIVE)
    assert times(one, 8, first=10) == 4
    assert len(Memory(file).answers()) == 5


@given(st.integers(0, 10**11), st.text("0123456789abcdef", min_size=8, max_size=8), st.text(min_size=1),
       st.text(min_size=1))
def test_a_line_is_read_as_it_was_meant(at, mark, to, entry_id):
    one = Answer(at, mark, to.encode("utf-8", "replace").decode(), entry_id.encode("utf-8", "replace").decode())
    assert memory._parsed(one.line().removesuffix(b"\n")) == one
    assert one.line().count(b"\n") == 1


def test_only_accounts_have_one(tmp_path):
    where = paths.of_root(tmp_path)
    assert memory.of(where, "meier") is memory.of(where, "meier")
    for bad in ("../x", "a/b", "", "x y"):
        with pytest.raises(ValueError):
            memory.of(where, bad)
