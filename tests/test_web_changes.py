"""Who changed what, and what the programs did: by the API and on pages, filtered, escaped, for administrators."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.administration import audit
from lanmail.logins import apikeys
from lanmail.web.api.frame import METHODS
from lanmail.web.words import deeds
from tests import browsing, webserver
from tests.browsing import Browser

SVG = '"><svg onload=alert(1)>'
LINES = (f'2026-11-21T08:00:00.000+01:00 smtpd accepted id=17.M1 from=<a@b> subject="{SVG[1:]}"\n'
         "2026-11-21T09:00:00.000+01:00 relay deferred id=17.M1 reply=\"451 later\" level=warning\n")


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path)
    where.log.mkdir(parents=True)
    (where.log / "2026-11-21.log").write_text(LINES)
    for number in range(150):
        audit.note(where, by="chef", client="192.0.2.7", what="account.modify", about=f"p{number}", keys=["quota"])
    audit.note(where, by="key", client="::1", what="group.create", about=SVG, keys=["members", SVG])
    async with webserver.serving(where) as made:
        yield made


async def test_changes_by_the_api(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "r", "read", [])

    async def ask(**params: object) -> tuple[bool, list[str]]:
        answer = await web.post("/api/v1/change.list", json=params, headers={"Authorization": f"Bearer {key}"})
        found = answer.json()["result"]
        return found["more"], [one["about"] for one in found["changes"]]

    assert await ask(limit=2) == (True, [SVG, "p149"])
    assert await ask(limit=2, offset=149) == (False, ["p1", "p0"])
    assert await ask(about="p7") == (False, ["p7"])
    assert await ask(by="key") == (False, [SVG])
    assert await ask(what="group.") == (False, [SVG])
    assert await ask(search="P14", limit=3) == (True, ["p149", "p148", "p147"])
    mine = apikeys.add(web.paths.conf / "api.toml", "m", "account:meier", [])
    for method in ("change.list", "log.tail"):
        answer = await web.post(f"/api/v1/{method}", json={}, headers={"Authorization": f"Bearer {mine}"})
        assert answer.status_code == 403


async def test_log_by_the_api(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "r", "read", [])

    async def ask(**params: str) -> object:
        answer = await web.get("/api/v1/log.tail", params=params, headers={"Authorization": f"Bearer {key}"})
        said = answer.json()
        return [one["event"] for one in said["result"]["lines"]] if said["ok"] else said["error"]["field"]

    assert await ask(search="17.M1") == ["deferred", "accepted"]
    assert await ask(search="17.M1", level="warning", program="relay") == ["deferred"]
    assert await ask(search="17.M1", since="2026-11-21T08:30") == ["deferred"]
    assert await ask(program="../x") == "program"
    assert await ask(since="yesterday") == "since"
    assert await ask(level="loud") == "level"


async def test_changes_on_a_page(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    page = await browser.go("/admin/changes")
    assert page.title == "Änderungen"
    assert "Gruppe: angelegt" in page.words
    assert SVG in page.words
    assert "<svg" not in page.text
    assert len(page.tree.findall(".//tbody/tr")) == 100
    older = next(one.get("href") for one in page.tree.iter("a") if one.get("rel") == "next")
    assert len((await browser.go(older)).tree.findall(".//tbody/tr")) == 51
    page = await browser.go("/admin/changes?kind=account.&search=p149")
    assert "Konto: geändert" in page.words
    assert len(page.tree.findall(".//tbody/tr")) == 1
    page = await browser.go("/admin/changes?search=nix")
    assert "Keine Änderung passt dazu." in page.words


async def test_the_log_on_a_page(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/log?search=17.M1")
    assert [one.text_content().strip() for one in page.tree.xpath("//tbody/tr/td[3]")] == ["deferred", "accepted"]
    assert "svg onload" in page.words
    assert "<svg" not in page.text
    assert "/admin/trace?q=17.M1" in page.links()
    page = await browser.go("/admin/log?search=17.M1&level=warning&program=relay")
    assert len(page.tree.findall(".//tbody/tr")) == 1
    assert "No line fits." in (await browser.go("/admin/log?search=nix-da")).words
    assert (await browser.go("/admin/log?level=loud")).status == 422


async def test_only_administrators(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    for path in ("/admin/changes", "/admin/log"):
        assert (await browser.go(path)).status == 403


def test_changes_have_their_words() -> None:
    named = [name for name, one in METHODS.items() if not one.reads and deeds.of(name, "de") != name]
    assert {"account.password", "group.add_member", "config.set", "queue.retry", "oauth_client.create"} <= set(named)
    assert deeds.of("new.thing", "de") == "new.thing"
