"""/metrics, as Prometheus reads it; server.status and server.stats of the API."""

import asyncio
import datetime
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lanmail.logins import apikeys
from lanmail.monitoring import condition, metrics
from tests import browsing, counting, webserver
from tests.browsing import PASSWORD

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
async def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[webserver.Web]:
    monkeypatch.setattr(condition, "FRESH", 0.0)
    monkeypatch.setattr(condition.Observer.now, "__defaults__", (0.0,))
    where = browsing.lay_out(tmp_path, httpd='metrics_networks = ["127.0.0.1"]\ntrusted_proxies = ["127.0.0.1"]')
    counts = {"mails_accepted mx": 4.0, "mails_accepted submission": 2.0, "delivery_seconds 0.1": 3.0,
              "delivery_seconds 30": 1.0, "delivery_seconds sum": 9.5, "bounces": 1.0, "mails_accepted": 77.0}
    with counting.living(where.state, "smtpd", counts=counts), counting.living(
            where.state, "smtpd", number=1, counts={"mails_accepted mx": 10.0}):
        counting.ended(where.state, "deliver", counts={"mails_delivered": 5.0})
        async with webserver.serving(where) as made:
            yield made


async def read(web: webserver.Web) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, in the order of these."""
    answer = await web.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *dict(sorted(one.labels.items())).values()): one.value for family in families
            for one in family.samples}


async def test_what_prometheus_reads(web: webserver.Web) -> None:
    found = await read(web)
    assert found["lanmail_mails_accepted_total", "mx", "smtpd"] == 14
    assert found["lanmail_mails_delivered_total", "deliver"] == 5
    assert found["lanmail_delivery_seconds_bucket", "1.0", "smtpd"] == 3
    assert found["lanmail_delivery_seconds_bucket", "+Inf", "smtpd"] == 4
    assert found["lanmail_delivery_seconds_count", "smtpd"] == 4
    assert found["lanmail_delivery_seconds_sum", "smtpd"] == 9.5
    assert (found["lanmail_up", "smtpd"], found["lanmail_up", "deliver"]) == (1, 0)
    assert (found["lanmail_processes", "smtpd"], found["lanmail_connections", "smtpd"]) == (2, 4)
    assert found["lanmail_spool_entries", "queue"] == 0
    assert found["lanmail_disk_free_bytes",] > 0
    assert "77.0" not in str(found), "a key with too few labels is left out"


async def test_as_openmetrics(web: webserver.Web) -> None:
    answer = await web.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    plain = await web.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(("rights", "status"), [("read", 200), ("admin", 200), ("account:meier", 401)])
async def test_from_elsewhere_with_a_key(web: webserver.Web, rights: str, status: int) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "prometheus", rights, [])
    elsewhere = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = await web.get("/metrics", headers=elsewhere)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="lanmail"')
    assert "lanmail_up" not in answer.text
    answer = await web.get("/metrics", headers={**elsewhere, "Authorization": f"Bearer {key}"})
    assert answer.status_code == status
    answer = await web.get("/metrics", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401, "a wrong key is told, also where none is needed"


async def test_through_a_proxy_that_nobody_named(tmp_path: Path) -> None:
    """It is on this machine, and so would be everybody who comes through it."""
    async with webserver.serving(browsing.lay_out(tmp_path)) as web:
        assert (await web.get("/metrics")).status_code == 200
        assert (await web.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"})).status_code == 401
        assert (await web.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1, 192.0.2.7"})).status_code == 401


async def test_no_names_of_people(web: webserver.Web) -> None:
    with counting.living(web.paths.state, "imapd"):
        assert "meier" not in (await web.get("/metrics")).text


async def test_the_howto_names_them_all(web: webserver.Web) -> None:
    text = (HERE / "docs/howto/monitoring.md").read_text()
    names = {family.name for family in text_string_to_metric_families((await web.get("/metrics")).text)}
    assert len(names) > 40
    names |= {f"lanmail_{one}" for one in metrics.HISTOGRAMS}
    assert sorted(name for name in names if f"`{name}" not in text) == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="not installed: prometheus (promtool)")
async def test_prometheus_itself_finds_nothing_wrong(web: webserver.Web, tmp_path: Path) -> None:
    """With what is served, nor with the alerts that the howto has."""
    rules = tmp_path / "rules.yml"
    blocks = re.findall(r"```\n(.*?)```", (HERE / "docs/howto/monitoring.md").read_text(), re.S)
    rules.write_text(next(block for block in blocks if block.startswith("groups:")))
    text = (await web.get("/metrics")).text
    for words, given in ((("check", "metrics"), text), (("check", "rules", str(rules)), "")):
        done = await asyncio.to_thread(subprocess.run, ["promtool", *words], input=given, capture_output=True,
                                       text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words


async def test_server_status(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "k", "read", [])
    answer = await web.post("/api/v1/server.status", json={}, headers={"Authorization": f"Bearer {key}"})
    found = answer.json()["result"]
    programs = {one["name"]: one for one in found["programs"]}
    assert (programs["smtpd"]["state"], programs["smtpd"]["processes"], programs["smtpd"]["connections"]) == (
        "running", 2, 4)
    assert programs["deliver"]["state"] == "stopped"
    assert found["spools"]["hold"] == {"entries": 0, "octets": 0, "oldest": 0.0}
    assert ("fail", "deliver") in [(one["level"], one["about"]) for one in found["troubles"]]


async def test_server_stats(web: webserver.Web) -> None:
    today = datetime.date.today()
    for days, rows in ((0, {"meier": [1, 10, 2, 20], "chef": [5, 50, 0, 0]}), (40, {"meier": [7, 7, 0, 0]})):
        directory = web.paths.state / "traffic" / (today - datetime.timedelta(days)).isoformat()
        directory.mkdir(parents=True)
        (directory / "deliver.0.json").write_text(json.dumps(rows))
    key = apikeys.add(web.paths.conf / "api.toml", "k", "read", [])

    async def ask(**given: str) -> dict[str, object]:
        answer = await web.post("/api/v1/server.stats", json=given, headers={"Authorization": f"Bearer {key}"})
        return dict(answer.json())

    found = (await ask())["result"]["days"]  # type: ignore[index]
    if found[-1]["day"] != today.isoformat():  # it was midnight
        found = (await ask(last=today.isoformat()))["result"]["days"]  # type: ignore[index]
    assert [one["day"] for one in found] == [(today - datetime.timedelta(n)).isoformat() for n in range(6, -1, -1)]
    assert (found[-1]["received"], found[-1]["received_bytes"], found[-1]["sent_bytes"]) == (6, 60, 20)
    assert found[-1]["accounts"]["chef"]["received"] == 5
    assert found[0]["accounts"] == {}
    long = (today - datetime.timedelta(40)).isoformat()
    assert (await ask(first=long))["error"]["field"] == "first"  # type: ignore[index]
    assert (await ask(first=long, account="meier"))["result"]["days"][0]["received"] == 7  # type: ignore[index]
    for wrong in ({"first": "2026-02-30"}, {"last": "../../x"}, {"first": "2026-01-02", "last": "2026-01-01"}):
        assert (await ask(**wrong))["error"]["code"] == "invalid_field"  # type: ignore[index]
    assert (await ask(first="0001-01-01", last="0001-01-02"))["result"]["days"][1]["sent"] == 0  # type: ignore[index]

    mine = await web.post("/api/v1/server.stats", json={}, auth=("meier", PASSWORD.encode()))
    assert [list(one["accounts"]) for one in mine.json()["result"]["days"]][-1] == ["meier"]
    assert mine.json()["result"]["days"][-1]["received"] == 1, "the sum is of what the account may see"
    other = await web.post("/api/v1/server.stats", json={"account": "chef"}, auth=("meier", PASSWORD.encode()))
    assert other.json()["error"]["code"] == "forbidden"
