"""dovecot-uidlist: what Dovecot writes is read as it is meant, and what we write Dovecot can read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.folders import uidlist, uidvalidity

DOVECOT = (b"3 V1763750001 N4 G0123456789abcdef0123456789abcdef Pxyz\n"
           b"1 :1763750000.M1P1.host,S=10,W=11\n"
           b"2 S5 W6 Puidl-of-old :odd name :with colon\n"
           b"5 :1763750002.M1P1.host\n")

bases = st.binary(min_size=1, max_size=40).map(os.fsdecode).filter(
    lambda base: not set(base) & set("\n\0/:") and base[0] != " ")


def test_a_file_of_dovecot() -> None:
    uids = uidlist.parse(DOVECOT)
    assert (uids.uidvalidity, uids.guid, uids.header) == (1763750001, "0123456789abcdef0123456789abcdef", "Pxyz")
    assert uids.uidnext == 6  # appended records count more than the header
    assert uids.uids == {"1763750000.M1P1.host,S=10,W=11": 1, "odd name :with colon": 2, "1763750002.M1P1.host": 5}
    assert (uids.size(2, "S"), uids.size(2, "W"), uids.key(2, "P")) == (5, 6, "uidl-of-old")
    assert not uids.damaged
    assert uidlist.parse(uidlist.encode(uids)) == uids


def test_version_1_is_read_and_will_be_rewritten() -> None:
    uids = uidlist.parse(b"1 1234567890 7\n3 name with blank\n4 other\n")
    assert (uids.uidvalidity, uids.uidnext, uids.damaged) == (1234567890, 7, True)
    assert uids.uids == {"name with blank": 3, "other": 4}


@pytest.mark.parametrize("data", [b"", b"\n", b"3\n", b"3 V0 N1\n", b"3 V1 N0\n", b"4 V1 N1\n", b"3 V99999999999 N1\n",
                                  b"\0" * 100, b"3 Vx N1\n", "3 V٣ N1\n".encode()])
def test_a_header_without_sense_is_corrupt(data: bytes) -> None:
    with pytest.raises(uidlist.Corrupt):
        uidlist.parse(data)


@pytest.mark.parametrize(("records", "left"), [
    (b"1 :a\n1 :b\n", {"a": 1}),
    (b"2 :a\n1 :b\n3 :c\n", {"a": 2, "c": 3}),
    (b"0 :a\n", {}),
    (b"1 :a/b\n2 :c\n", {"c": 2}),
    (b"1 :\n2 :c\n", {"c": 2}),
    (b"1 :a\n2 :a\n", {"a": 2}),
    (b"4294967296 :a\n", {}),
    (b"1 :a\n2 :b", {"a": 1}),
    (b"x\n\n1 :a\n", {"a": 1}),
])
def test_damage_costs_only_the_damaged_records(records: bytes, left: dict[str, int]) -> None:
    uids = uidlist.parse(b"3 V1 N1 Gx\n" + records)
    assert uids.uids == left
    assert uids.damaged


@given(st.dictionaries(bases, st.sampled_from(["", "S1", "S1 W2", "Pabc W3"])), st.integers(1, 2**32 - 1))
def test_what_is_written_is_read_back(content: dict[str, str], validity: int) -> None:
    uids = uidlist.UidList(validity, 1, "ab", "")
    for uid, (base, extra) in enumerate(content.items(), 3):
        uids.uids[base] = uid
        if extra:
            uids.extras[uid] = extra
        uids.uidnext = uid + 1
    uids.uidnext = max(uids.uidnext, 1)
    assert uidlist.parse(uidlist.encode(uids)) == uids


@given(st.binary(max_size=200))
def test_nothing_but_corrupt_is_raised(data: bytes) -> None:
    for text in (data, b"3 V1 N1 Gx\n" + data):
        try:
            uids = uidlist.parse(text)
        except uidlist.Corrupt:
            continue
        numbers = list(uids.uids.values())
        assert numbers == sorted(set(numbers))
        assert all(0 < number < uids.uidnext for number in numbers)


def test_append_and_extend(tmp_path: Path) -> None:
    path = str(tmp_path / uidlist.NAME)
    ours, theirs = uidlist.parse(DOVECOT), uidlist.parse(DOVECOT)
    uidlist.replace(path, ours)
    theirs, stamp = uidlist.read(path)
    ours.uids["new"] = 6
    ours.uidnext = 7
    after = uidlist.append(path, ours, [("new", 6)])
    assert uidlist.extend(theirs, path, stamp) == after
    assert theirs.uids == ours.uids
    assert theirs.uidnext == 7
    assert uidlist.read(path) == (theirs, after)


def test_extend_wants_a_rewritten_file_read_anew(tmp_path: Path) -> None:
    path = str(tmp_path / uidlist.NAME)
    uids = uidlist.parse(DOVECOT)
    stamp = uidlist.replace(path, uids)
    uidlist.replace(path, uids)
    assert uidlist.extend(uids, path, stamp) is None


def test_extend_knows_another_file_of_the_same_inode(tmp_path: Path) -> None:
    """A file system gives the number of a removed file to the next one, so two rewrites can bring it back."""
    path = tmp_path / uidlist.NAME
    path.write_bytes(b"3 V7 N4 G%032d\n1 :a\n2 :b\n3 :c\n" % 0)
    theirs, stamp = uidlist.read(str(path))
    path.write_bytes(b"3 V7 N6 G%032d\n2 :b\n3 :c\n4 :d\n5 :e\n" % 0)
    assert (path.stat().st_ino, path.stat().st_size > stamp.size) == (stamp.inode, True)
    assert uidlist.extend(theirs, str(path), stamp) is None


def test_a_fifo_as_uidlist_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / uidlist.NAME)
    with pytest.raises(OSError, match="regular"):
        uidlist.read(str(tmp_path / uidlist.NAME))


def test_uidvalidity_grows_and_is_kept_as_dovecot_keeps_it(tmp_path: Path) -> None:
    first = uidvalidity.allot(str(tmp_path))
    second = uidvalidity.allot(str(tmp_path))
    assert second > first > 1_600_000_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dovecot-uidvalidity", f"dovecot-uidvalidity.{second:08x}"]
    assert (tmp_path / "dovecot-uidvalidity").read_text() == f"{second:08x}"


def test_uidvalidity_follows_what_dovecot_gave_out(tmp_path: Path) -> None:
    (tmp_path / "dovecot-uidvalidity").write_text("f0000000")
    (tmp_path / "dovecot-uidvalidity.f0000001").touch()
    assert uidvalidity.allot(str(tmp_path)) == 0xF0000002
    assert not (tmp_path / "dovecot-uidvalidity.f0000001").exists()
