"""acl.py: the file `dovecot-acl`, and what its lines give to whom."""

import os
from pathlib import Path

import pytest

from lanmail.folders import acl

MEIER = acl.Who("meier", frozenset({"sales", "all"}))
OWNER = acl.Who("chef", frozenset({"sales"}), owner=True)


def rights(text: str, who: acl.Who = MEIER) -> str:
    return acl.ordered(acl.allowed(acl.parse(text), who))


@pytest.mark.parametrize(("text", "expected"), [
    ("", ""),
    ("anyone lr\n", "lr"),
    ("authenticated lrs\n", "lrs"),
    ("user=meier lrwstipekxa\n", "lrwstipekxa"),
    ("user=Meier lr\n", "lr"),
    ("user=schulz lr\n", ""),
    ("anyone lr\nuser=meier i\n", "i"),  # the more particular line replaces, it does not add
    ("group=sales lr\ngroup=all i\ngroup=none x\n", "lri"),  # several groups add up
    ("user=meier lrws\ngroup-override=sales l\n", "l"),
    ("user=meier lrws\n-user=meier ws\n", "lr"),
    ("user=meier lrws\n-anyone w\n", "lrs"),
    ("-anyone w\nuser=meier lrws\n-user=meier s\n", "lrw"),  # the same for what is taken
    ("user=meier lr\nuser=meier s\n", "lrs"),
    ("owner lrwstipekxa\n", ""),
    ("# comment\n\n\"user=meier\" lr\r\n", "lr"),
    ("user=meier :lookup :read :unknown\n", "lr"),
    ("user=meier lrcd\n", "lrtekx"),
    ("user=meier\n", ""),
])
def test_rights_of_somebody(text: str, expected: str) -> None:
    assert rights(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("", acl.RIGHTS),
    ("anyone lr\n", acl.RIGHTS),  # the lines for everybody are not for the owner
    ("group=sales lr\n-anyone w\n", acl.RIGHTS),
    ("owner lrs\n", "lrsa"),  # he keeps l and a, or nobody could change it back
    ("owner lrs\nuser=chef i\n", "lia"),
    ("-owner lax\n", "lrwstipeka"),
])
def test_rights_of_the_owner(text: str, expected: str) -> None:
    assert rights(text, OWNER) == expected


@pytest.mark.parametrize("text", [
    "meier lr\n", "user= lr\n", "user=meier l r\n", "user=meier lz\n", "anyone=x lr\n", "group lr\n",
    '"user=meier lr\n', "\x00 lr\n", " user=meier lr\n",
])
def test_a_line_nobody_understands_breaks_the_file(text: str) -> None:
    with pytest.raises(acl.Broken, match="line 2: "):
        acl.parse("anyone lr\n" + text)


def test_long_lines_take_linear_time() -> None:
    for line in ("user=" + "x" * 50_000, "user=m" + " " * 50_000 + "?", '"' + "\\" * 50_001, "a " * 25_000):
        with pytest.raises(acl.Broken):
            acl.parse(line + " z\n")


@pytest.mark.parametrize("text", ["meier", "-meier", "anyone", "-authenticated", "owner", "$sales", "!$sales", "-$x y"])
def test_identifiers_of_clients(text: str) -> None:
    assert acl.written(acl.identifier(text)) == text


@pytest.mark.parametrize("text", ["", "-", "$", "a\nb", "x" * 300, "user="])
def test_identifiers_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        acl.identifier(text)


def test_change_keeps_comments_and_other_lines(tmp_path: Path) -> None:
    file = tmp_path / acl.NAME
    file.write_text("# ours\nuser=schulz lr\nuser=meier l\ngroup=sales lrs :lookup\n")
    acl.change(str(tmp_path), acl.identifier("meier"), "rs", "+")
    assert file.read_text() == "# ours\nuser=schulz lr\ngroup=sales lrs :lookup\nuser=meier lrs\n"
    acl.change(str(tmp_path), acl.identifier("meier"), "r", "-")
    acl.change(str(tmp_path), acl.identifier("-anyone"), "w")
    acl.change(str(tmp_path), acl.identifier("$two words"), "l")
    assert file.read_text().endswith('user=meier ls\n-anyone w\n"group=two words" l\n')
    for name in ("meier", "-anyone", "$two words", "schulz", "$sales"):
        acl.change(str(tmp_path), acl.identifier(name), "")
    assert file.read_text() == "# ours\n"
    assert file.stat().st_mode & 0o777 == 0o660


def test_the_last_line_takes_the_file_with_it(tmp_path: Path) -> None:
    acl.change(str(tmp_path), acl.identifier("meier"), "lr")
    assert acl.read(str(tmp_path)) == (acl.Entry("user", "meier", frozenset("lr")),)
    acl.change(str(tmp_path), acl.identifier("meier"), "")
    assert acl.read(str(tmp_path)) is None
    assert not os.listdir(tmp_path)


def test_read_sees_what_an_editor_wrote(tmp_path: Path) -> None:
    assert acl.read(str(tmp_path)) is None
    (tmp_path / acl.NAME).write_text("anyone l\n")
    assert acl.read(str(tmp_path)) == (acl.Entry("anyone", "", frozenset("l")),)
    (tmp_path / acl.NAME).write_text("anyone lr\n")
    assert acl.read(str(tmp_path)) == (acl.Entry("anyone", "", frozenset("lr")),)
    (tmp_path / acl.NAME).write_text("nonsense\n")
    for _ in range(2):
        with pytest.raises(acl.Broken):
            acl.read(str(tmp_path))


def test_a_broken_file_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / acl.NAME).write_text("nonsense\n")
    with pytest.raises(acl.Broken):
        acl.change(str(tmp_path), acl.identifier("meier"), "lr")
    assert (tmp_path / acl.NAME).read_text() == "nonsense\n"


def test_a_new_folder_has_the_rights_of_the_one_above(tmp_path: Path) -> None:
    above, below = tmp_path / "above", tmp_path / "below"
    above.mkdir()
    below.mkdir()
    acl.change(str(above), acl.identifier("meier"), "lr")
    acl.inherit(str(below), str(above))
    assert acl.read(str(below)) == acl.read(str(above))
    acl.change(str(above), acl.identifier("meier"), "")
    acl.inherit(str(below), str(above))
    assert acl.read(str(below)) is None
