"""The status page: what is wrong first, charts that can be read aloud, and the part that is fetched again."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from lanmail import httpd, paths, programs
from lanmail.monitoring import condition, samples
from lanmail.sources import health, place
from lanmail.web.pages import status
from tests import browsing, counting, webserver
from tests.browsing import Browser

EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[webserver.Web]:
    monkeypatch.setattr(condition.Observer.now, "__defaults__", (0.0,))
    monkeypatch.setattr(httpd, "SAMPLE", 0.5)
    where = browsing.lay_out(tmp_path, eva='[sources.gmx]\ninterface = "standard"\nhost = "imap.gmx.net"\n'
                                           'user = "e"\npassword = "file:secrets/x"\n')
    directory = place.directory(where, "eva", "gmx")
    directory.mkdir(parents=True)
    (directory / "status.json").write_text(json.dumps({"failures": 2, "error": EVIL}))
    with counting.living(where.state, "smtpd"):
        counting.ended(where.state, "relay", killed=True)
        async with webserver.serving(where) as made:
            yield made


async def test_problems_come_first(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/status")
    assert (page.status, page.title) == (200, "Status")
    troubles = [" ".join(one.text_content().split()) for one in page.tree.xpath('//ul[@class="troubles"]/li')]
    assert troubles[0].startswith("Problem lanmail-deliver never ran here.")
    assert any("lanmail-relay does not run: it died" in one for one in troubles)
    assert any(EVIL in one for one in troubles)
    assert "<svg onload" not in page.text
    rows = {row.findtext("td").partition(",")[0]: row.text_content() for row in page.tree.iter("tr")
            if row.find("td") is not None}
    assert "runs" in rows["smtpd"]
    assert "died" in rows["relay"]


async def test_links_lead_to_pages_that_there_are(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/status")
    for link in {one for one in page.links() if one.startswith("/admin/")}:
        assert (await browser.go(link)).status == 200, link


async def test_charts_say_what_they_show(web: webserver.Web) -> None:
    now = time.time()
    for ago, accepted in ((300, 10), (240, 12), (180, 17)):
        samples.append(web.paths.state, [now - ago, accepted, *[0] * 10])
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/status")
    said = [one.get("aria-label") for one in page.tree.iter("svg")]
    assert said[0].startswith("Mail accepted: 7 in all, at most ")
    assert all(one.get("role") == "img" for one in page.tree.iter("svg"))
    week = await browser.go("/admin/status?span=week")
    assert "The last week" in week.words
    assert (await browser.go("/admin/status?span=../x")).status == 200


async def test_who_has_the_most_mail(web: webserver.Web) -> None:
    day = web.paths.state / "traffic" / time.strftime("%Y-%m-%d")
    day.mkdir(parents=True)
    (day / "deliver.0.json").write_text(json.dumps({"meier": [3, 3072, 0, 0], "eva": [9, 100, 0, 0]}))
    (day / "smtpd.0.json").write_text(json.dumps({"meier": [0, 0, 7, 2048]}))
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/status")
    rows = [[" ".join(cell.text_content().split()) for cell in row.iter("td")] for row in page.tree.iter("tr")]
    assert ["meier", "3 (3.0 KB)", "7 (2.0 KB)"] in rows
    assert rows.index(["eva", "9 (100 B)", "0 (0 B)"]) > rows.index(["meier", "3 (3.0 KB)", "7 (2.0 KB)"])


async def test_in_german(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    page = await browser.go("/admin/status")
    assert "lief hier noch nie" in page.words
    assert "Angenommene Mails" in page.words
    assert "läuft" in page.words


async def test_the_part_that_is_fetched_again(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/status?span=week")
    part = page.tree.get_element_by_id("now").get("data-part")
    assert part == "/admin/status/now?span=week"
    fetched = await browser.go(part)
    assert fetched.status == 200
    assert "<main" not in fetched.text
    assert "The last week" in fetched.text
    assert fetched.headers["content-security-policy"].startswith("default-src 'none'")


def test_there_are_words_for_everything() -> None:
    assert set(status.HEALTH) == set(get_args(health.Word))
    assert set(status.STATES) == set(get_args(condition.State))
    assert set(status.DOES) == {program.name for program in programs.DAEMONS}
    assert set(status.SPOOLS) == set(paths.SPOOLS)


async def test_it_is_for_administrators(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    for path in ("/admin/status", "/admin/status/now"):
        assert (await browser.go(path)).status == 403
    answer = await web.get("/admin/status/now")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fadmin%2Fstatus%2Fnow")


async def test_httpd_takes_samples(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    deadline = time.monotonic() + 90
    while not samples.read(web.paths.state, 0) and time.monotonic() < deadline:
        await browser.go("/admin/status")
    line = samples.read(web.paths.state, 0)[0]
    assert line[samples.FIELDS.index("mailboxes_failing")] == 1
