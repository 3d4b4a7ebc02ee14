"""The newest lines of logs, from their ends."""

from pathlib import Path

import pytest

from lanmail import log, paths
from lanmail.monitoring import backwards, logtail


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 16])
@pytest.mark.parametrize("text", [
    "", "\n", "a", "a\n", "a\nb", "a\nbb\n\nccc\n", "ä" * 10 + "\nb\n" + "x" * 200 + "\n"])
def test_lines_from_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, text: str) -> None:
    monkeypatch.setattr(backwards, "BLOCK", block)
    (tmp_path / "x").write_text(text)
    assert list(backwards.lines(tmp_path / "x")) == text.split("\n")[:-1][::-1]  # the unfinished one is none


def test_no_file_no_lines(tmp_path: Path) -> None:
    assert list(backwards.lines(tmp_path / "none")) == []
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert list(backwards.lines(tmp_path / "link")) == []
    (tmp_path / "directory").mkdir()
    assert list(backwards.lines(tmp_path / "directory")) == []


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    made = paths.of_root(tmp_path)
    made.log.mkdir(parents=True)
    (made.log / "2026-11-20.log").write_text("2026-11-20T08:00:00.000+01:00 smtpd accepted id=1 from=<a@b>\n")
    (made.log / "2026-11-21.log").write_text(
        "2026-11-21T08:00:00.000+01:00 relay deferred id=1 reply=\"451 later\" level=warning\n"
        "torn\n\n2026-11-21T09:00:00.000+01:00 relay sent id=1\n"
        "2026-11-21T10:00:00.000+01:00 deliver internal-error error=x level=error\n")
    (made.log / "notes.txt").write_text("2026-11-21T09:00:00.000+01:00 relay sent id=1\n")
    return made


@pytest.mark.parametrize(("filters", "events"), [
    ({}, ["internal-error", "sent", "deferred", "accepted"]), ({"program": "relay"}, ["sent", "deferred"]),
    ({"level": "warning"}, ["internal-error", "deferred"]), ({"level": "error"}, ["internal-error"]),
    ({"since": "2026-11-21"}, ["internal-error", "sent", "deferred"]),
    ({"since": "2026-11-21T08:30"}, ["internal-error", "sent"]), ({"since": "2027-01-01"}, []),
    ({"search": "451 LATER"}, ["deferred"]), ({"program": "relay", "search": "id=1", "level": "warning"}, ["deferred"]),
])
def test_what_fits(where: paths.Paths, filters: dict[str, str], events: list[str]) -> None:
    assert [one.event for one in logtail.newest(where, **filters)] == events


def test_not_looked_through_for_ever(where: paths.Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "MOST", 100)
    assert [one.event for one in logtail.newest(where)] == ["internal-error"]


def test_lines_say_their_level(tmp_path: Path) -> None:
    log.setup("test", tmp_path / "state/log")
    log.event("usual")
    log.config_broken(error="x")
    log.held(id="1", why="torn")
    log.setup("lanmail", None)
    found = list(logtail.newest(paths.of_root(tmp_path)))
    assert [(one.event, logtail.level_of(one)) for one in found] == [
        ("held", "warning"), ("config-broken", "error"), ("usual", "info")]
