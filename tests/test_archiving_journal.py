"""The journal of the archive: the chain, what a crash leaves behind, what somebody did to it."""

import hashlib
import json
import os

import pytest

from lanmail import paths
from lanmail.archiving import journal


@pytest.fixture
def where(tmp_path):
    return paths.of_root(tmp_path)


def fill(where, count=5):
    one = journal.Journal(where)
    made = [one.append([{"kind": "mail", "id": f"id{number}", "file": f"2026-11/cur/{number}"}])[0]
            for number in range(count)]
    one.close()
    return made


def found(where, after=None):
    """Sequence numbers, and the texts of what is wrong."""
    seqs, wrong = [], []
    for one in journal.scan(journal.path(where), after):
        if isinstance(one, journal.Line):
            seqs.append(one.seq)
        else:
            wrong.append(one.text)
    return seqs, wrong


def change(where, edit):
    """Rewrite the journal as a list of lines."""
    path = journal.path(where)
    rows = path.read_bytes().splitlines(keepends=True)
    edit(rows)
    path.write_bytes(b"".join(rows))


def test_lines_are_chained_by_the_hash_of_the_one_before(where):
    made = fill(where)
    assert found(where) == ([1, 2, 3, 4, 5, 6], [])
    rows = journal.path(where).read_bytes().splitlines()
    first = json.loads(rows[0])
    assert first["kind"] == "begin"
    assert first["prev"] == "0" * 64
    assert first["version"] == 1
    for row, line in zip(rows[:-1], made, strict=True):
        assert line.data["prev"] == hashlib.sha256(row).hexdigest()
    assert journal.load_head(where) == made[-1].place


def test_reading_goes_on_where_it_stopped(where):
    made = fill(where)
    assert found(where, made[2].place) == ([5, 6], [])
    assert [line.data["id"] for line in journal.lines(journal.path(where), made[3].place)] == ["id4"]
    assert found(where, made[-1].place) == ([], [])


def test_no_journal_is_an_empty_one_for_readers(where):
    assert list(journal.lines(journal.path(where))) == []


@pytest.mark.parametrize(("edit", "says"), [
    (lambda rows: rows.__setitem__(2, rows[2].replace(b"id1", b"id9")), "line 3 was changed, or line 4"),
    (lambda rows: rows.pop(2), "line 3 is missing: 4 follows 2"),
    (lambda rows: rows.__delitem__(slice(1, 4)), "line 2 to 4 is missing"),
    (lambda rows: rows.insert(3, rows[1]), "line 2 follows 3: it was moved or added"),
    (lambda rows: rows.insert(3, b"{}\n"), "the line behind number 3 cannot be read"),
    (lambda rows: rows.__setitem__(slice(2, 4), [rows[3], rows[2]]), "line 3 is missing: 4 follows 2"),
    (lambda rows: rows.pop(0), "line 1 is missing: 2 follows 0"),
], ids=["changed", "removed", "several", "added", "foreign", "swapped", "first"])
def test_whatever_is_done_to_a_line_shows(where, edit, says):
    fill(where)
    change(where, edit)
    assert any(text.startswith(says) for text in found(where)[1]), found(where)


def test_a_line_that_a_power_cut_tore_does_not_count(where):
    fill(where, 3)
    with open(journal.path(where), "ab") as file:
        file.write(b'{"seq":5,"prev":"')
    assert found(where) == ([1, 2, 3, 4], [])
    made = fill(where, 1)
    assert made[0].seq == 6
    seqs, wrong = found(where)
    assert seqs == [1, 2, 3, 4, 5, 6]
    assert len(wrong) == 1
    assert "do not count" in wrong[0]


def test_blocks_that_a_power_cut_left_empty_do_not_count(where):
    """The last block of a group reached the disk, the one before did not."""
    fill(where, 3)
    rows = journal.path(where).read_bytes().splitlines(keepends=True)
    head = where.state / "archive" / "head.json"
    old = head.read_bytes()
    fill(where, 3)
    head.write_bytes(old)
    late = journal.path(where).read_bytes().splitlines(keepends=True)[len(rows):]
    journal.path(where).write_bytes(b"".join(rows) + bytes(len(late[0])) + late[1] + late[2])
    made = fill(where, 1)
    assert made[0].seq == 6
    assert found(where)[0] == [1, 2, 3, 4, 5, 6]


def test_torn_while_it_says_that_something_was_torn(where):
    fill(where, 2)
    for _ in range(3):
        with open(journal.path(where), "ab") as file:
            file.write(b'{"seq":4,"kind":"torn"')
    with open(journal.path(where), "ab") as file:
        file.write(b"\n\n")
    assert fill(where, 1)[0].seq == 5
    seqs, wrong = found(where)
    assert seqs == [1, 2, 3, 4, 5]
    assert len(wrong) == 1


def test_an_end_that_was_cut_off_is_written_down_for_ever(where):
    made = fill(where)
    change(where, lambda rows: rows.pop())
    one = journal.Journal(where)
    one.append([{"kind": "mail", "id": "later"}])
    assert "does not hold line 6 any more" in one.broken
    one.close()
    kinds = [line.kind for line in journal.lines(journal.path(where))]
    assert kinds == ["begin", "mail", "mail", "mail", "mail", "broken", "mail"]
    broken = next(line for line in journal.lines(journal.path(where)) if line.kind == "broken")
    assert broken.data["expected"] == {"seq": 6, "hash": made[-1].place.hash}


def test_a_journal_that_went_away_is_written_down_too(where):
    fill(where)
    journal.path(where).unlink()
    fill(where, 1)
    assert [line.kind for line in journal.lines(journal.path(where))] == ["begin", "broken", "mail"]


def test_an_end_cut_off_while_it_is_open(where):
    one = journal.Journal(where)
    for number in range(3):
        one.append([{"kind": "mail", "id": f"id{number}"}])
    change(where, lambda rows: rows.pop())
    one.append([{"kind": "mail", "id": "later"}])
    one.close()
    assert [line.kind for line in journal.lines(journal.path(where))] == ["begin", "mail", "mail", "broken", "mail"]


def test_a_head_that_lags_behind_is_caught_up_with(where):
    fill(where, 2)
    head = where.state / "archive" / "head.json"
    old = head.read_bytes()
    fill(where, 2)
    for text in (old, b"", b"{}", b"nonsense"):
        head.write_bytes(text)
        fill(where, 1)
    assert found(where) == (list(range(1, 10)), [])


def test_two_may_append_in_turns(where):
    one, other = journal.Journal(where), journal.Journal(where)
    for number in range(4):
        (one, other)[number % 2].append([{"kind": "mail", "id": f"id{number}"}])
    one.close()
    other.close()
    assert found(where) == ([1, 2, 3, 4, 5], [])


def test_a_journal_put_back_from_a_copy_is_the_one_that_is_written(where):
    one = journal.Journal(where)
    one.append([{"kind": "mail", "id": "id0"}])
    path = journal.path(where)
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.replace(copy, path)
    one.append([{"kind": "mail", "id": "id1"}])
    one.close()
    assert found(where) == ([1, 2, 3], [])


def test_a_full_disk_leaves_nothing_half(where, monkeypatch):
    one = journal.Journal(where)
    one.append([{"kind": "mail", "id": "id0"}])
    real, room = os.write, [40]

    def write(descriptor, data):
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = real(descriptor, bytes(data)[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            one.append([{"kind": "mail", "id": "id1"}])
    one.append([{"kind": "mail", "id": "id2"}])
    one.close()
    assert found(where) == ([1, 2, 3], [])


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_what_is_no_file_is_not_written_to(where, make):
    where.archive.mkdir()
    make(journal.path(where))
    with pytest.raises(OSError):
        journal.Journal(where)
