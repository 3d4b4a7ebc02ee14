"""Programs that wait for a code to be typed: who finds them, how long, how often they may ask."""

import os
from pathlib import Path

import pytest

from lanmail.logins import devicecodes
from lanmail.logins.devicecodes import INTERVAL, LIFE, MOST, Refused, Waiting

NOW, CLIENT, SECRET = 1_800_000_000.0, "c" * 32, "s" * 43


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(tmp_path)


def test_the_code_is_short_plain_and_found_however_it_is_written(waiting: Waiting, tmp_path: Path) -> None:
    code = waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    assert len(code) == 9
    assert set(code) <= {*devicecodes.LETTERS, "-"}
    for written in (code, code.lower(), code.replace("-", ""), f" {code.replace('-', ' ')} ", code.replace("-", "–")):
        assert waiting.typed(written, NOW) == waiting.get(SECRET)
    for wrong in ("", "-", code[:-1], code + code[0], "x" * 5000, "../" + code * 9, "\0"):
        assert waiting.typed(wrong, NOW) is None
    text = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert code not in text
    assert code.replace("-", "") not in text
    assert SECRET not in text


@pytest.mark.parametrize("account", ["meier", ""])
def test_it_is_answered_once(waiting: Waiting, account: str) -> None:
    code = waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    assert waiting.answer(code, account, NOW)
    assert not waiting.answer(code, "schmidt", NOW)
    assert waiting.typed(code, NOW) is None
    known = waiting.get(SECRET)
    assert known is not None
    assert (known.answered, known.account) == (True, account)
    assert waiting.take(SECRET)
    assert not waiting.take(SECRET)
    assert waiting.get(SECRET) is None


def test_a_quarter_of_an_hour(waiting: Waiting, tmp_path: Path) -> None:
    code = waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    assert waiting.typed(code, NOW + LIFE - 1)
    assert waiting.typed(code, NOW + LIFE) is None
    assert not waiting.answer(code, "meier", NOW + LIFE)
    assert waiting.sweep(NOW + LIFE + 1) == 0, "it is told that it has expired"
    assert waiting.sweep(NOW + 2 * LIFE + 1) == 1
    assert os.listdir(tmp_path / "grants/devices") == []


def test_who_asks_too_often_waits_longer(waiting: Waiting) -> None:
    waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    assert not waiting.hurries(SECRET, NOW)
    assert not waiting.hurries(SECRET, NOW + INTERVAL)
    assert waiting.hurries(SECRET, NOW + INTERVAL + 1)
    assert waiting.hurries(SECRET, NOW + INTERVAL + 1 + INTERVAL)
    assert not waiting.hurries(SECRET, NOW + INTERVAL + 1 + INTERVAL + INTERVAL + 10)
    assert not waiting.hurries("another", NOW)


def test_not_too_many_wait(waiting: Waiting) -> None:
    for number in range(MOST):
        waiting.begin(f"{SECRET}{number}", CLIENT, ["SMTP.Send"], NOW)
    with pytest.raises(Refused):
        waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    waiting.begin(SECRET, "d" * 32, ["SMTP.Send"], NOW)
    waiting.begin(SECRET + "x", CLIENT, ["SMTP.Send"], NOW + LIFE)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_damaged_files_let_nobody_in(waiting: Waiting, tmp_path: Path, damage: bytes) -> None:
    code = waiting.begin(SECRET, CLIENT, ["SMTP.Send"], NOW)
    for path in (tmp_path / "grants/devices").iterdir():
        path.write_bytes(damage)
    assert waiting.typed(code, NOW) is None
    assert not waiting.answer(code, "meier", NOW)
    assert not waiting.hurries(SECRET, NOW)
    assert waiting.begin(SECRET + "x", CLIENT, ["SMTP.Send"], NOW)
    assert waiting.sweep(NOW) == 1
