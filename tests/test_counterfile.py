"""The files of counters: slots, what is left of dead processes, what cannot be read."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail.monitoring import counterfile, metrics


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    metrics.reset()
    yield
    metrics.reset()


def total(state: Path, name: str = "bounces") -> float:
    return counterfile.totals(counterfile.slots(state)).get(("relay", (name,)), 0)


def test_a_process_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    metrics.count("bounces")
    for already in (1, 2):
        with counterfile.Keeper("relay", 0, tmp_path) as keeper:
            metrics.count("bounces")
            metrics.watch("connections", lambda: 3)
            keeper.write()
            [slot] = counterfile.slots(tmp_path)
            assert (slot.alive, slot.pid, slot.number, slot.ended) == (True, os.getpid(), 0, 0)
            assert slot.gauges["connections"] == 3
            assert slot.gauges["resident_bytes"] > 1 << 20
            assert total(tmp_path) == already + 1
        [slot] = counterfile.slots(tmp_path)
        assert (slot.alive, slot.ended > 0) == (False, True)
        metrics.reset()
    assert total(tmp_path) == 3


def test_workers_and_strangers_count_beside_each_other(tmp_path: Path) -> None:
    with counterfile.Keeper("relay", 0, tmp_path):
        metrics.count("bounces", much=5)
        code = ("import sys, pathlib; from lanmail.monitoring import counterfile, metrics\n"
                "with counterfile.Keeper('relay', 0, pathlib.Path(sys.argv[1])): metrics.count('bounces', much=2)")
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    assert [(one.number, one.alive) for one in counterfile.slots(tmp_path)] == [(0, False), (1, False)]
    assert total(tmp_path) == 7


def test_traffic_of_a_day_outlives_restarts_and_clocks_that_are_set_back_over_midnight(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midnight = time.mktime((2026, 12, 31, 24, 0, 0, 0, 0, -1))
    for moments in ((-60, 1, -1), (-2, 3650 * 86_400, 1)):
        metrics.reset()
        monkeypatch.setattr(time, "time", lambda: midnight - 60)
        with counterfile.Keeper("relay", 0, tmp_path) as keeper:
            for moment in moments:
                monkeypatch.setattr(time, "time", lambda at=midnight + moment: at)
                metrics.delivered("meier", 100, 0.1)
                keeper.write()
    assert counterfile.traffic(tmp_path, "2026-12-31") == {"meier": [3, 300, 0, 0]}
    assert counterfile.traffic(tmp_path, "2027-01-01") == {"meier": [2, 200, 0, 0]}


def _count_until_killed(state: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with counterfile.Keeper("relay", 0, state) as keeper:
        metrics.count("bounces", much=4)
        keeper.write()
        ready.set()
        time.sleep(60)


def test_a_killed_process_leaves_what_it_wrote(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    child = spawn.Process(target=_count_until_killed, args=(tmp_path, ready))
    child.start()
    assert ready.wait(60)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    [slot] = counterfile.slots(tmp_path)
    assert (slot.alive, slot.ended) == (False, 0)
    (tmp_path / "metrics/.relay.0.json.1.aa.tmp").write_text("{")
    with counterfile.Keeper("relay", 0, tmp_path):
        metrics.count("bounces")
    assert total(tmp_path) == 5
    assert sorted(path.name for path in (tmp_path / "metrics").iterdir()) == ["relay.0.json", "relay.0.lock"]


def test_it_writes_by_itself_when_something_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counterfile, "PAUSE", 0.01)
    with counterfile.Keeper("relay", 0, tmp_path):
        metrics.count("bounces")
        deadline = time.monotonic() + 90
        while not total(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert total(tmp_path) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "counts": []}', "\0" * 10])
def test_a_broken_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/relay.0.json").write_text(text)
    (tmp_path / "metrics/odd.x.json").write_text(text)
    (tmp_path / "metrics/link.0.json").symlink_to("/dev/zero")
    assert counterfile.slots(tmp_path) == []
    with counterfile.Keeper("relay", 0, tmp_path):
        metrics.count("bounces")
    assert total(tmp_path) == 1


def test_without_a_place_to_write_it_counts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("in the way")
    with counterfile.Keeper("relay", 0, tmp_path) as keeper:
        metrics.count("bounces")
        keeper.beat()
    assert metrics.counted() == {("bounces",): 1}


def test_traffic_is_added_up_over_programs_and_starts(tmp_path: Path) -> None:
    for program in ("smtpd", "deliver", "smtpd"):
        with counterfile.Keeper(program, 0, tmp_path):
            if program == "smtpd":
                metrics.accepted("submission", 10, "meier")
            else:
                metrics.delivered("meier", 10, 0.1)
        metrics.reset()
    today, _ = metrics.days()
    assert counterfile.traffic(tmp_path, today) == {"meier": [1, 10, 2, 20]}
    (tmp_path / "traffic" / today / "relay.0.json").write_text('{"meier": [1, 2]}')
    (tmp_path / "traffic" / today / "relay.1.json").write_text("{")
    assert counterfile.traffic(tmp_path, today) == {"meier": [1, 10, 2, 20]}
    assert counterfile.traffic(tmp_path, "1999-01-01") == {}


def test_a_day_that_is_over_is_written_once_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counterfile, "KEPT_DAYS", 2)
    for day in ("2001-01-01", "2001-01-02"):
        (tmp_path / "traffic" / day).mkdir(parents=True)
        (tmp_path / "traffic" / day / "deliver.0.json").write_text("{}")
    with counterfile.Keeper("deliver", 0, tmp_path) as keeper:
        metrics.begin({}, "2026-01-05", {"eva": [1, 2, 3, 4]})
        keeper.write()
        assert metrics.days()[1] == {}
    assert counterfile.traffic(tmp_path, "2026-01-05") == {"eva": [1, 2, 3, 4]}
    assert sorted(path.name for path in (tmp_path / "traffic").iterdir()) == ["2001-01-02", "2026-01-05"]
