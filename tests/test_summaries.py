"""The cache of a folder: what is kept is read again, and neither damage nor another program does any harm."""

import os
import random
import threading
from pathlib import Path

import pytest

from lanmail.folders import summaries

BASE = "1700000000.M1P1.host,S=100,W=103"


def record(base: str = BASE, **parts: object) -> summaries.Record:
    given: dict[str, object] = {
        "header": b"Subject: x\r\n", "summary": (b"(envelope)", b"(body)", b"(structure)"),
        "texts": (b"x", b"anna"),
    }
    return summaries.make(base, 1_700_000_000, **{**given, **parts})  # type: ignore[arg-type]


def kept(cache: summaries.Cache, base: str = BASE) -> summaries.Record | None:
    with cache.reading() as reader:
        return reader.get(base)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.fixture
def cache(folder: Path) -> summaries.Cache:
    return summaries.Cache(str(folder))


def test_what_is_written_is_read(folder: Path, cache: summaries.Cache) -> None:
    assert not summaries.exists(str(folder))
    assert kept(cache) is None
    cache.write([record()])
    assert summaries.exists(str(folder))
    for one in (cache, summaries.Cache(str(folder))):
        found = kept(one)
        assert found is not None
        assert (found.date, found.header, found.envelope) == (1_700_000_000, b"Subject: x\r\n", b"(envelope)")
        assert (found.body, found.structure, found.text(0), found.text(1)) == (b"(body)", b"(structure)", b"x", b"anna")
    assert not list((folder / "tmp").iterdir())


def test_parts_that_are_missing_are_told_from_empty_ones(cache: summaries.Cache) -> None:
    cache.write([record("none", header=None, summary=None, texts=None), record("empty", header=b"")])
    none, empty = kept(cache, "none"), kept(cache, "empty")
    assert none is not None
    assert empty is not None
    assert (none.header, none.envelope, none.body, none.structure, none.text(0)) == (None,) * 5
    assert empty.header == b""


def test_which_messages_have_a_text(cache: summaries.Cache) -> None:
    texts = {"one": (b"lunch at one", b"anna"), "two": (b"anna", b"lunch"), "none": None, "empty": (b"", b"")}
    cache.write([record(base, texts=of, header=b"X: lunch, anna\r\n") for base, of in texts.items()])
    with cache.reading() as reader:
        for number, text, expected in ((0, b"lunch", "one"), (0, b"anna", "two"), (1, b"anna", "one"),
                                       (1, b"oneanna", ""), (0, b"oneanna", "")):
            told = dict(zip([*texts, "gone"], reader.have([*texts, "gone"], number, text), strict=True))
            assert [base for base, yes in told.items() if yes is None] == ["none", "gone"]
            assert "".join(base for base, yes in told.items() if yes) == expected


def test_the_last_record_of_a_name_counts(cache: summaries.Cache) -> None:
    cache.write([record(summary=None)])
    cache.write([record(), record("other", header=b"")])
    found = kept(cache)
    assert found is not None
    assert found.envelope == b"(envelope)"


def test_names_with_odd_octets(cache: summaries.Cache) -> None:
    odd = "17.x\udcff\udc80ä"
    cache.write([record(odd)])
    assert kept(cache, odd) is not None


def test_many_are_read_one_after_the_other(cache: summaries.Cache) -> None:
    names = [f"17000000{number:02}.M{number}P1.host" for number in range(40)]
    cache.write([record(base, header=b"x" * 9000 + base.encode()) for base in names])  # more than is read at a time
    asked = [*names[10:], "missing", *names[:10], "", names[3]]
    with cache.reading() as reader:
        found = list(reader.each(asked))
        one_by_one = [reader.get(base) for base in asked]
    assert [one and one.header for one in found] == [one and one.header for one in one_by_one]
    assert [one is None for one in found] == [base in ("missing", "") for base in asked]
    some = [found[0], None, summaries.make("header-only", 0, header=b"")]
    assert summaries.Record.parts(some, 2) == [b"(envelope)", None, None]
    assert summaries.Record.parts(some, 4) == [b"(structure)", None, None]


def test_a_copy_has_its_own_name(cache: summaries.Cache) -> None:
    cache.write([record().renamed("copy")])
    found = kept(cache, "copy")
    assert found is not None
    assert (found.header, found.envelope, found.text(1)) == (b"Subject: x\r\n", b"(envelope)", b"anna")
    assert kept(cache) is None


def test_two_processes_see_what_the_other_adds(folder: Path, cache: summaries.Cache) -> None:
    other = summaries.Cache(str(folder))
    cache.write([record("a")])
    other.write([record("b")])
    cache.write([record("c")])
    for one in (cache, other):
        assert all(kept(one, base) for base in "abc")
        assert one.news() == 0


def test_many_writers_at_once(folder: Path) -> None:
    def work(number: int) -> None:
        mine = summaries.Cache(str(folder))
        for turn in range(50):
            mine.write([record(f"{number}.{turn}", header=b"X: %d\r\n" % turn * 50)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh = summaries.Cache(str(folder))
    assert all(kept(fresh, f"{number}.{turn}") for number in range(4) for turn in range(50))


def test_a_long_record_is_not_kept(cache: summaries.Cache) -> None:
    cache.write([record(header=b"x" * summaries.MAX_RECORD)])
    assert kept(cache) is None
    cache.write([record("short")])
    assert kept(cache, "short") is not None


@pytest.mark.parametrize("missing", [1, 20, 60, 90])
def test_a_torn_record_costs_only_itself(folder: Path, cache: summaries.Cache, missing: int) -> None:
    cache.write([record("a"), record("torn")])
    path = folder / summaries.NAME
    os.truncate(path, path.stat().st_size - missing)
    fresh = summaries.Cache(str(folder))
    fresh.write([record("b"), record("c")])
    for one in (fresh, cache, summaries.Cache(str(folder))):
        assert [kept(one, base) is not None for base in ("a", "torn", "b", "c")] == [True, False, True, True]


def test_damage_is_never_served(folder: Path, cache: summaries.Cache) -> None:
    good = {str(number): record(str(number), header=b"X: %d\r\n" % number) for number in range(20)}
    cache.write(list(good.values()))
    path = folder / summaries.NAME
    whole = path.read_bytes()
    dice = random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
        fresh = summaries.Cache(str(folder))
        for base, right in good.items():
            found = kept(fresh, base)
            assert found is None or (found.header, found.envelope) == (right.header, right.envelope)
        with fresh.reading() as reader:
            assert reader.have(good, 0, b"nowhere") == [None if reader.get(base) is None else False for base in good]


def test_a_record_inside_a_mail_is_no_record(folder: Path, cache: summaries.Cache) -> None:
    (folder / "other" / "tmp").mkdir(parents=True)
    foreign = summaries.Cache(str(folder / "other"))
    foreign.write([record("victim", header=b"Subject: forged\r\n")])
    forged = (folder / "other" / summaries.NAME).read_bytes()
    cache.write([record("a", header=forged), record("b")])
    path = folder / summaries.NAME
    data = bytearray(path.read_bytes())
    data[24] ^= 1  # the first record's mark: now the next one is searched for
    path.write_bytes(data)
    fresh = summaries.Cache(str(folder))
    assert [kept(fresh, base) is not None for base in ("a", "b", "victim")] == [False, True, False]


def test_the_file_may_vanish_or_change_at_any_time(folder: Path, cache: summaries.Cache) -> None:
    path = folder / summaries.NAME
    cache.write([record("a"), record("b")])
    with cache.reading() as reader:
        assert reader.get("a")
        path.unlink()
        assert reader.get("b")
    assert kept(cache, "a") is None
    cache.write([record("c")])
    assert kept(cache, "c") is not None
    with cache.reading() as reader:
        os.truncate(path, 10)
        assert reader.get("c") is None
    assert kept(cache, "c") is None
    path.write_bytes(b"lanmail-cache 0\n" + bytes(100))
    assert kept(cache, "c") is None
    cache.write([record("d")])
    assert kept(cache, "d") is not None


@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "hard link"])
def test_what_is_no_cache_is_left_unread(folder: Path, cache: summaries.Cache, kind: str) -> None:
    path, other = folder / summaries.NAME, folder / "other"
    other.write_bytes(b"precious")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(other)
    else:
        path.hardlink_to(other)
    assert kept(cache) is None
    cache.write([record()])
    assert other.read_bytes() == b"precious"
    assert kept(cache) is not None


def test_no_folder_is_no_error(folder: Path) -> None:
    gone = summaries.Cache(str(folder / "gone"))
    gone.write([record()])
    gone.compact(["a"])
    assert kept(gone) is None
    assert gone.news() == 0


def test_compacting(folder: Path, cache: summaries.Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "_WASTE", 1000)
    for turn in range(20):
        cache.write([record(str(number), header=b"X: %d\r\n" % turn) for number in range(10)])
    assert kept(cache, "0") is not None
    assert cache.is_wasteful(10)
    before = (folder / summaries.NAME).stat().st_size
    cache.compact([str(number) for number in range(5)] + ["unknown"])
    assert (folder / summaries.NAME).stat().st_size < before / 20
    found = kept(cache, "4")
    assert found is not None
    assert found.header == b"X: 19\r\n"
    assert kept(cache, "5") is None
    assert not cache.is_wasteful(5)
    assert not list((folder / "tmp").iterdir())


def test_records_in_any_order(cache: summaries.Cache) -> None:
    names = [f"{number}.M{number * 7919 % 1000}" for number in range(400)]
    cache.write([record(name, header=b"X: %b\r\n" % name.encode() * 50) for name in names])
    shuffled = random.Random(1).sample(names, len(names))
    for order in (names, names[::-1], shuffled):
        with cache.reading() as reader:
            for name in order:
                found = reader.get(name)
                assert found is not None
                assert (found.header or b"").startswith(b"X: %b\r\n" % name.encode())
            assert reader.in_order([*shuffled, "unknown"]) == names
