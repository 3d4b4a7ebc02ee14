"""What programs count: names, days, buckets, and that log lines count themselves."""

import threading
import time
from collections.abc import Iterator

import pytest

from lanmail import log
from lanmail.monitoring import metrics


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    metrics.reset()
    yield
    metrics.reset()


def test_threads_lose_nothing() -> None:
    many = [threading.Thread(target=lambda: [metrics.count("bounces") for _ in range(5000)]) for _ in range(4)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert metrics.counted() == {("bounces",): 20_000}


def test_a_bucket_is_the_first_that_is_long_enough() -> None:
    for seconds in (0.0, 0.1, 0.2, 1e9):
        metrics.observe("delivery_seconds", seconds)
    assert metrics.counted() == {("delivery_seconds", "0.1"): 2, ("delivery_seconds", "0.5"): 1,
                                 ("delivery_seconds", "+Inf"): 1, ("delivery_seconds", "sum"): pytest.approx(1e9)}


def test_traffic_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    day = time.mktime((2026, 11, 22, 23, 59, 59, 0, 0, -1))
    monkeypatch.setattr(time, "time", lambda: day)
    metrics.accepted("submission", 10, "meier")
    metrics.delivered("meier", 5, 0.1)
    monkeypatch.setattr(time, "time", lambda: day + 1)
    for octets in (3, 4):
        metrics.delivered("meier", octets, 0.1)
    today, days = metrics.days()
    assert (today, days) == ("2026-11-23", {"2026-11-22": {"meier": [1, 5, 1, 10]}, today: {"meier": [2, 7, 0, 0]}})
    metrics.forget("2026-11-22")
    assert list(metrics.days()[1]) == ["2026-11-23"]
    monkeypatch.setattr(time, "time", lambda: day)
    assert metrics.days()[0] == "2026-11-22", "a clock that was set back"


def test_no_more_keys_than_a_bug_can_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_MOST", 2)
    for number in range(5):
        metrics.count("http_requests", str(number))
    metrics.count("http_requests", "0")
    assert metrics.counted() == {("http_requests", "0"): 2, ("http_requests", "1"): 1}


def test_log_lines_count_themselves() -> None:
    log.accepted(id="1.M2", sender="a@b", recipients="c@d", size=5120, origin="submission", account="meier")
    log.delivered(id="1.M2", to="c@d", account="eva", delay=0.3, octets=5200)
    log.rejected(stage="rcpt", reply="550 no")
    log.rejected(stage="x1x2x3 told by a client", reply="500 no")
    log.held(id="1.M2", why="torn")
    found = metrics.counted()
    assert found[("mails_accepted", "submission")] == 1
    assert found[("mails_accepted_bytes", "submission")] == 5120
    assert found[("mails_delivered_bytes",)] == 5200
    assert (found[("mails_rejected", "rcpt")], found[("mails_rejected", "other")]) == (1, 1)
    assert found[("log_warnings",)] == 1
    assert list(metrics.days()[1].values()) == [{"meier": [0, 0, 1, 5120], "eva": [1, 5200, 0, 0]}]


def test_every_name_that_is_counted_is_described() -> None:
    """With as many labels as it has."""
    import ast
    from pathlib import Path

    seen = set()
    for path in sorted((Path(__file__).parents[1] / "lanmail").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "count"
                    and isinstance(node.func.value, ast.Name) and node.func.value.id == "metrics"):
                names = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                for name in names:
                    if isinstance(name, str):
                        seen.add(name)
                        assert len(metrics.COUNTERS[name].labels) == len(node.args) - 1, f"{path}: {name}"
    mail = {"mails_accepted", "mails_accepted_bytes", "mails_delivered", "mails_delivered_bytes"}  # accepted, delivered
    assert seen | mail == set(metrics.COUNTERS)
