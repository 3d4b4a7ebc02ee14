"""Whose mail of the archive is under a name."""

import os
from pathlib import Path

import pytest

from lanmail.archiving import holders
from lanmail.archiving.holders import EVER, left, moved, spans


def test_names_there_and_back(tmp_path: Path) -> None:
    assert spans(tmp_path, "eva") == (("eva", 0, EVER),)
    moved(tmp_path, "eva", "anna", 100.5, 102.5)
    moved(tmp_path, "eva", "anna", 100.5, 107.5)  # a call that was killed is made again
    assert spans(tmp_path, "anna") == (("anna", 100, EVER), ("eva", 0, 103))
    assert spans(tmp_path, "eva") == (("eva", 108, EVER),)
    moved(tmp_path, "anna", "eva", 200.0, 201.0)
    assert spans(tmp_path, "eva") == (("eva", 200, EVER), ("eva", 0, 103), ("anna", 100, 201))
    assert spans(tmp_path, "anna") == (("anna", 201, EVER),)
    left(tmp_path, "eva", 300.2)
    assert spans(tmp_path, "eva") == (("eva", 301, EVER),)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"since": "x"}', '{"before": [[1]]}'])
def test_a_damaged_file_shows_nothing(tmp_path: Path, text: str) -> None:
    left(tmp_path, "eva", 1.0)
    (tmp_path / "holders/eva.json").write_text(text)
    with pytest.raises(ValueError):
        spans(tmp_path, "eva")


def test_what_root_makes_is_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(holders.os, "geteuid", lambda: 0)
    monkeypatch.setattr(holders.os, "chown", lambda path, user, group: given.append((os.fspath(path), user, group)))
    left(tmp_path, "eva", 1.0)
    owner = tmp_path.stat()
    assert given == [(f"{tmp_path}/holders{name}", owner.st_uid, owner.st_gid) for name in ("", "/eva.json")]
