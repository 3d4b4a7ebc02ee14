"""/my/forwarding, and account.forwarding behind it: targets are looked at, for callers and for people."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config
from lanmail.accountrules import Forward
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.browsing import Browser

EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, fest="self_service = false\n", innen="deny_internet = true\n",
                             rechnung="[einvoice]\nenabled = true\n")
    where.groups.write_text('[verkauf]\nmembers = ["chef", "x@far.example"]\n')
    async with webserver.serving(where) as made:
        yield made


def kept(web: webserver.Web, name: str = "meier") -> Forward:
    return config.load_account(web.paths.accounts / f"{name}.toml").forward


async def test_on_changed_and_off(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    page = await browser.go("/my/forwarding")
    assert page.title == "Forwarding"
    assert "nothing is forwarded" in page.words
    page = await browser.send(page, "/my/forwarding", fills={
        "forward.to": " Chef\r\n\r\nverkauf\r\neva@example.org", "forward.keep": "yes"})
    assert page.note == "Saved; it counts from now on."
    assert (kept(web).to, kept(web).keep) == (["chef", "verkauf", "eva@example.org"], True)
    assert "goes on to chef, verkauf, eva@example.org. A copy stays here." in page.words
    page = await browser.send(page, "/my/forwarding", fills={"forward.keep": None})
    assert (kept(web).to, kept(web).keep) == (["chef", "verkauf", "eva@example.org"], False)
    page = await browser.send(page, "/my/forwarding", button="off=yes")
    assert kept(web).to == []
    assert "nothing is forwarded" in page.words


@pytest.mark.parametrize(("name", "target", "english", "german"), [
    ("meier", "niemand", "there is no account, alias or group 'niemand'", "Das gibt es hier nicht."),
    ("meier", "niemand@office.lan", "there is no account, alias or group 'niemand@office.lan'",
     "Das gibt es hier nicht."),
    ("meier", "meier", "meier is meier itself", "Dorthin kann dieses Konto nicht weiterleiten"),
    ("meier", "meier@office.lan", "meier@office.lan is meier itself", "Dorthin kann"),
    ("meier", EVIL, "write a name like meier", "Schreiben Sie einen Namen wie meier"),
    ("meier", "a b@c", "write a name like meier", "Schreiben Sie einen Namen wie meier"),
    ("innen", "eva@example.org", "innen may not send to the internet", "Dorthin kann"),
])
async def test_what_is_refused_says_why_at_the_field(web: webserver.Web, name: str, target: str, english: str,
                                                     german: str) -> None:
    for language, said in (("en", english), ("de", german)):
        browser = Browser(web, language)
        await browser.login(name)
        page = await browser.send(await browser.go("/my/forwarding"), fills={"forward.to": target})
        assert page.status == 400
        assert said in page.problems[0]
        box = page.tree.get_element_by_id("f-forward.to")
        assert (box.text.strip(), box.get("aria-invalid")) == (target, "true")
        assert "<svg" not in page.text
        assert kept(web, name).to == []


async def test_who_may_not_sees_what_is_set(web: webserver.Web) -> None:
    config.edit(web.paths.accounts / "fest.toml", {"forward.to": ["chef"]})
    browser = Browser(web)
    await browser.login("fest")
    page = await browser.go("/my/forwarding")
    assert "goes on to chef" in page.words
    assert "The administrator makes these changes here." in page.words
    assert page.tree.find(".//main").findall(".//form") == []
    page = await browser.post("/my/forwarding", {"form": await browser.token(), "forward.to": "eva@example.org"},
                              headers={"Origin": web.url})
    assert page.status == 400
    assert kept(web, "fest").to == ["chef"]


async def test_an_e_invoice_mailbox_has_no_forward(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("rechnung")
    page = await browser.go("/my/forwarding")
    assert "E-Rechnungs-Postfach" in page.words
    page = await browser.post("/my/forwarding", {"form": await browser.token(), "forward.to": "chef"},
                              headers={"Origin": web.url})
    assert kept(web, "rechnung").to == []


async def test_the_autoresponder_that_forwards_is_told(web: webserver.Web) -> None:
    config.edit(web.paths.accounts / "meier.toml", {"autoresponder.enabled": True, "autoresponder.forward": ["chef"]})
    browser = Browser(web)
    await browser.login()
    assert "Your autoresponder sends all mail on to chef at the moment" in (await browser.go("/my/forwarding")).words


async def test_callers_of_the_api_are_asked_the_same(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "key", "account:meier", [])

    async def call(method: str, **settings: object) -> tuple[int, str]:
        answer = await web.post(f"/api/v1/account.{method}", json={"name": "meier", "settings": settings},
                                headers={"Authorization": f"Bearer {key}"})
        return answer.status_code, answer.json().get("error", {}).get("field", "")

    assert await call("forwarding", to=["niemand"]) == (404, "forward.to")
    assert await call("forwarding", to=["chef"], keep="yes") == (400, "forward.keep")
    assert await call("forwarding", to=["chef"]) == (200, "")
    assert await call("autoresponder", forward="niemand; chef") == (404, "autoresponder.forward")
    assert await call("autoresponder", forward=["meier"]) == (422, "autoresponder.forward")
    for section in ({"max_per_hour": 100}, {"envelope": "account"}, {"max_age": "99d"}, {"domain": "bank.example"},
                    {"domain": ["x"]}):
        assert await call("autoresponder", **section) == (403, f"autoresponder.{next(iter(section))}")
    many = [f"x{number}@far.example" for number in range(51)]
    assert await call("forwarding", to=many) == (422, "forward.to")
    assert await call("autoresponder", forward=many) == (422, "autoresponder.forward")
    assert await call("forwarding", to=many[:50]) == (200, "")
    assert await call("autoresponder", domain="office.lan", text="Weg") == (200, "")
    config.edit(web.paths.accounts / "meier.toml", {"send_as": ["*@firma.example"]})
    assert await call("autoresponder", domain="firma.example") == (200, "")


async def test_nobody_overwrites_what_he_has_not_seen(web: webserver.Web) -> None:
    for language, said in (("en", "changed meanwhile"), ("de", "inzwischen geändert")):
        browser = Browser(web, language)
        await browser.login()
        page = await browser.go("/my/forwarding")
        config.edit(web.paths.accounts / "meier.toml", {"forward.to": ["chef"]})
        page = await browser.send(page, fills={"forward.to": "eva@example.org"})
        assert page.status == 400
        assert said in page.problems[0]
        assert kept(web).to == ["chef"]
        page = await browser.send(page)  # what was typed stands there still
        assert kept(web).to == ["eva@example.org"]
