"""Keywords: Dovecot's file for 26 of them, ours for more, and whatever stands in the files."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.folders import keywords


def test_a_file_of_dovecot(tmp_path: Path) -> None:
    (tmp_path / "dovecot-keywords").write_text("0 $Forwarded\n2 NonJunk\n25 last\n26 toofar\nx y\n3\n")
    table = keywords.load(str(tmp_path))
    assert table.names == ("$Forwarded", "NonJunk", "last")
    assert table.of("FSacz", "base") == ("$Forwarded", "NonJunk", "last")
    assert table.letters(["nonjunk", "unknown", "LAST"]) == "cz"


def test_forty_keywords(tmp_path: Path) -> None:
    directory = str(tmp_path)
    names = [f"Key{number}" for number in range(40)]
    table = keywords.allot(directory, keywords.load(directory), names)
    assert table.names == tuple(names)
    assert table.letters(names) == keywords.LETTERS
    assert table.further(names) == tuple(names[26:])
    table = keywords.assign(directory, table, {"msg,S=1": names, "other": ["Key26"], "none": ["Key0"]})
    again = keywords.load(directory)
    assert again.of("az", "msg,S=1") == ("Key0", "Key25", *names[26:])
    assert again.further_of["other"] == ("Key26",)
    assert "none" not in again.further_of
    keywords.assign(directory, table, {"msg,S=1": ["key39"]})
    assert keywords.load(directory).of("", "msg,S=1") == ("Key39",)


def test_spelling_of_the_first_stays(tmp_path: Path) -> None:
    table = keywords.allot(str(tmp_path), keywords.load(str(tmp_path)), ["Work", "WORK", "work"])
    table = keywords.allot(str(tmp_path), table, ["wOrK"])
    assert keywords.load(str(tmp_path)).names == table.names == ("Work",)


def test_there_is_a_limit(tmp_path: Path) -> None:
    with pytest.raises(keywords.TooMany):
        keywords.allot(str(tmp_path), keywords.load(str(tmp_path)), map(str, range(keywords.MAX_KEYWORDS + 1)))


def test_dovecot_sees_every_change_by_the_second(tmp_path: Path) -> None:
    table = keywords.allot(str(tmp_path), keywords.load(str(tmp_path)), ["a"])
    before = (tmp_path / "dovecot-keywords").stat().st_mtime
    keywords.allot(str(tmp_path), table, ["b"])
    assert int((tmp_path / "dovecot-keywords").stat().st_mtime) > int(before)


def test_our_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    directory = str(tmp_path)
    names = [str(number) for number in range(30)]
    table = keywords.allot(directory, keywords.load(directory), names)
    for number in range(300):
        table = keywords.assign(directory, table, {"m": [names[26 + number % 4]]})
    assert (tmp_path / "lanmail-keywords").read_text().count("\n") <= 110
    assert keywords.load(directory).of("", "m") == (names[26 + 299 % 4],)
    keywords.forget(directory, table, set())
    assert (tmp_path / "lanmail-keywords").read_text() == ""


def test_a_torn_append_costs_one_line(tmp_path: Path) -> None:
    directory = str(tmp_path)
    (tmp_path / "lanmail-keywords").write_text("x y\tone\nx\ttw")
    table = keywords.load(directory)
    assert table.further_of == {"one": ("x", "y")}
    keywords.assign(directory, table, {"three": ["x"]})
    assert keywords.load(directory).further_of["three"] == ("x",)


def test_odd_files_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dovecot-keywords")
    (tmp_path / "lanmail-keywords").mkdir()
    assert keywords.load(str(tmp_path)).names == ()


@given(st.binary(max_size=300))
def test_any_content_can_be_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.mktemp("k")
    (directory / "dovecot-keywords").write_bytes(content)
    (directory / "lanmail-keywords").write_bytes(content)
    table = keywords.load(str(directory))
    assert len(table.by_letter) <= 26


def test_what_is_no_keyword_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / keywords.NAME).write_text("0 $Ok\n1 a)b\n2 \xe4\n3 x]\n4 \n5 Zwei\n")
    (tmp_path / keywords.FURTHER).write_text("gut \xfc \x01 (x b\xe4d\tbase\n"
                                            + " ".join(map(str, range(500))) + "\tc\n")
    table = keywords.load(str(tmp_path))
    assert table.by_letter == {"a": "$Ok", "f": "Zwei"}
    assert table.further_of["base"] == ("gut",)
    assert len(table.further_names) == keywords.MAX_KEYWORDS
