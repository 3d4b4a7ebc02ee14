"""Log lines: readable, greppable, and safe to print."""

import threading

import pytest

from lanmail import log


@pytest.fixture
def lines(tmp_path):
    log.setup("test", tmp_path / "log")
    yield lambda: "".join(path.read_text() for path in sorted((tmp_path / "log").iterdir())).splitlines()
    log.setup("lanmail", None)


def test_an_event_is_one_line(lines):
    log.accepted(id="1.M2", sender="<a@b>", recipients="<c@d>", size=5, origin="mx", msgid='<x"y>')
    [line] = lines()
    stamp, rest = line.split(" ", 1)
    assert rest == 'test accepted id=1.M2 origin=mx from=<a@b> to=<c@d> size=5 msgid="<x\\"y>"'
    assert len(stamp) == len("2026-11-21T22:15:01.123+01:00")


@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\x85b", "a\u2028b", "a b", "a=b", 'a"b', ""]
)
def test_a_value_never_breaks_the_line(lines, evil):
    log.event("x", value=evil)
    [line] = lines()
    assert line.isprintable()
    assert line.split(" x ")[1].startswith('value="')


def test_warnings_reach_stderr(lines, capsys):
    log.held(id="1", why="torn")
    log.delivered(id="1", to="<a@b>", account="a", delay=0.5)
    assert "held id=1 why=torn" in capsys.readouterr().err
    assert [line.split()[2] for line in lines()] == ["held", "delivered"]


def test_old_days_go(tmp_path):
    directory = tmp_path / "log"
    directory.mkdir()
    for day in ("2001-01-01", "2001-01-02", "2001-01-03"):
        (directory / f"{day}.log").write_text("x\n")
    (directory / "notes.txt").write_text("keep")
    log.setup("test", directory, keep_days=2)
    log.event("x")
    log.setup("lanmail", None)
    names = sorted(path.name for path in directory.iterdir())
    assert names[0] == "2001-01-03.log"
    assert len(names) == 3
    assert "notes.txt" in names


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("")
    log.setup("test", tmp_path / "file" / "log")
    log.event("x")
    log.setup("lanmail", None)


def test_lines_of_other_threads_do_not_wait_for_a_burst(lines):
    """Collected with those of the burst, one that came just at its end was lost."""
    with log.batch():
        log.event("first")
        other = threading.Thread(target=log.event, args=("other",))
        other.start()
        other.join()
        assert [line.split()[2] for line in lines()] == ["other"]
    assert [line.split()[2] for line in lines()] == ["other", "first"]
