"""The autoresponder's page: set by its owner and by administrators, tried before it counts, in both languages."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.accountrules import Autoresponder
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.browsing import Browser, Page

HERE = "/my/autoresponder"
THERE = "/admin/accounts/meier/autoresponder"
EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, fest="self_service = false\n[autoresponder]\ntext = 'Ich bin weg.'\n",
                             innen="deny_internet = true\n")
    async with webserver.serving(where) as made:
        yield made


def kept(web: webserver.Web, name: str = "meier") -> Autoresponder:
    return config.load_account(web.paths.accounts / f"{name}.toml").autoresponder


async def logged_in(web: webserver.Web, name: str = "meier", language: str = "en") -> Browser:
    browser = Browser(web, language)
    await browser.login(name)
    return browser


async def send(browser: Browser, page: Page, button: str = "action=save", **given: Any) -> Page:
    """The form; keys of the section without it, a minus is an underscore."""
    fills = {(f"autoresponder.{key}" if key in Autoresponder.model_fields else key.replace("_", "-", 1)
              if key.startswith(("from_", "until_")) else key): value for key, value in given.items()
             if key != "once_per"}
    fills |= {"once_per": given["once_per"]} if "once_per" in given else {}
    return await browser.send(page, fills=fills, button=button)


@pytest.mark.parametrize(("who", "path"), [("meier", HERE), ("chef", THERE)])
async def test_on_in_a_period_then_for_ever_then_off(web: webserver.Web, who: str, path: str) -> None:
    browser = await logged_in(web, who)
    page = await browser.go(path)
    assert page.title == "Autoresponder"
    assert "off Nothing is answered by itself." in page.words
    page = await send(browser, page, enabled="yes", when="period", from_day="2099-12-24", from_time="12:00",
                      until_day="2100-01-06", subject="Away: [SUBJECT]", text="Dear [FROMNAME],\r\nback after [UNTIL].",
                      forward="chef", once_per="1d") if who == "meier" else await send(
        browser, page, enabled="yes", when="period", from_day="2099-12-24", from_time="12:00", until_day="2100-01-06",
        subject="Away: [SUBJECT]", text="Dear [FROMNAME],\r\nback after [UNTIL].", forward="chef", once_per="1d",
        max_per_hour="3")
    assert page.note == "Saved; it counts from now on."
    own = kept(web)
    assert (own.enabled, own.from_, own.until, own.once_per) == (True, "2099-12-24 12:00", "2100-01-06", 86400)
    assert (own.subject, own.text) == ("Away: [SUBJECT]", "Dear [FROMNAME],\nback after [UNTIL].")
    assert (own.forward, own.keep, own.max_per_hour) == (["chef"], True, 3 if who == "chef" else 5)
    assert "not yet It begins: 2099-12-24 12:00" in page.words
    page = await send(browser, page, when="permanent")
    assert (kept(web).from_, kept(web).until) == ("", "")
    assert "Nothing stands for [UNTIL], for there is no end." in page.note
    assert "on Permanently" in page.words
    page = await send(browser, page, enabled=None)
    assert (kept(web).enabled, kept(web).subject) == (False, "Away: [SUBJECT]")


async def test_the_answer_before_it_counts(web: webserver.Web) -> None:
    browser = await logged_in(web)
    page = await send(browser, await browser.go(HERE), "action=preview",
                      text="Hello [FROMNAME], about [SUBJECT]: [UNTIL]", subject="Re: [SUBJECT]", when="period",
                      from_day="2099-12-24", until_day="2100-01-06", sender="eva@far.example",
                      sender_name='Eva "E" &amp;', about=f"Urgent {EVIL}", forward="chef")
    assert page.status == 200
    assert [one.text for one in page.tree.find(".//section").iter("dd")] == [
        "meier@office.lan", "eva@far.example", f"Re: Urgent {EVIL}"]
    assert page.tree.find_class("letter")[0].text == f'Hello Eva "E" &amp;, about Urgent {EVIL}: 2100-01-06\n'
    assert "The mail goes on to chef." in page.words
    assert page.note == "What you have changed in the form is not saved yet."
    assert "<svg" not in page.text
    assert page.form().inputs["from-day"].value == "2099-12-24"
    assert "action=" not in page.url
    assert kept(web) == Autoresponder()
    assert list((web.paths.spool / "queue/new").iterdir()) == []
    assert not (web.paths.state / "audit").exists()


@pytest.mark.parametrize(("sender", "why"), [
    ("", "it has no sender"), ("noreply@far.example", "noreply is no person"), ("meier@office.lan", "of meier itself"),
])
async def test_who_would_get_none_is_told_why(web: webserver.Web, sender: str, why: str) -> None:
    for language, said in (("en", "This mail would get no answer."), ("de", "Diese Mail bekäme keine Antwort.")):
        browser = await logged_in(web, language=language)
        page = await send(browser, await browser.go(HERE), "action=preview", text="Weg", sender=sender)
        assert said in page.words
        assert why in page.words


@pytest.mark.parametrize(("given", "key", "english", "german"), [
    ({"when": "period", "from_day": "2099-12-24", "until_day": "2099-12-23"}, "until", "lies before", "vor dem Anfang"),
    ({"when": "period", "from_day": "gestern"}, "from", "no day or moment", "einen Tag"),
    ({"when": "period", "until_time": "12:00"}, "until", "A time needs a day", "gehört auch ein Tag"),
    ({"forward": "niemand"}, "forward", "there is no account", "gibt es hier nicht"),
    ({"forward": "a b"}, "forward", "write a name like", "Schreiben Sie einen Namen"),
    ({"subject": "x" * 501}, "subject", "500", "Höchstens 500"),
    ({"sender": EVIL}, "sender", "is not a mail address", "keine Mailadresse"),
])
async def test_what_is_wrong_is_told_at_its_field(web: webserver.Web, given: dict[str, str], key: str, english: str,
                                                  german: str) -> None:
    for language, said in (("en", english), ("de", german)):
        browser = await logged_in(web, language=language)
        button = "action=preview" if "sender" in given else "action=save"
        page = await send(browser, await browser.go(HERE), button, enabled="yes", text="Weg", **given)
        assert page.status == 400
        assert len(page.problems) == 1
        assert said in page.problems[0]
        wrong = page.tree.xpath('//*[@aria-invalid="true"]')[0]
        assert wrong.get("id") in (key, f"{key}-day", f"f-autoresponder.{key}")
        assert page.form().fields["autoresponder.text"].strip() == "Weg"
        assert "<svg" not in page.text
    assert kept(web) == Autoresponder()


async def test_who_may_not_sees_what_is_set(web: webserver.Web) -> None:
    browser = await logged_in(web, "fest", "de")
    page = await browser.go(HERE)
    assert "Änderungen macht hier der Administrator." in page.words
    assert "Ich bin weg." in page.words
    page = await browser.post(HERE, {"form": await browser.token(), "autoresponder.text": "x", "action": "save"},
                              headers={"Origin": web.url})
    assert page.status == 400
    assert kept(web, "fest").text == "Ich bin weg."


async def test_whose_page_it_is(web: webserver.Web) -> None:
    browser = await logged_in(web)
    assert (await browser.go(THERE)).status == 403
    data = {"form": await browser.token(), "autoresponder.max_per_hour": "99", "autoresponder.text": "x"}
    assert (await browser.post(THERE, data, headers={"Origin": web.url})).status == 403
    await browser.post(HERE, data, headers={"Origin": web.url})
    assert (kept(web).max_per_hour, kept(web).text) == (5, "x")
    chef = await logged_in(web, "chef")
    assert (await chef.go("/admin/accounts/niemand/autoresponder")).status == 404
    assert (await chef.go("/admin/accounts/..%2fmeier/autoresponder")).status == 404


async def test_the_method_behind_it(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "key", "account:meier", [])

    async def call(**given: object) -> dict[str, Any]:
        answer = await web.post("/api/v1/account.autoresponder_test", json={"name": "meier", **given},
                                headers={"Authorization": f"Bearer {key}"})
        found: dict[str, Any] = answer.json()
        return found.get("result") or found["error"]

    assert (await call())["why"] == "it is off"
    found = await call(settings={"enabled": True, "text": "Weg"})
    assert (found["answer"]["to"], found["answer"]["text"]) == ("eva@example.org", "Weg\n")
    assert found["answer"]["message"].startswith("Return-Path: <>\n")
    found = await call(settings={"enabled": True, "text": "Weg"}, message="From: x@y.example\nList-Id: <a.b>\n\n\n")
    assert found["why"] == "it has a field List-Id"
    found = await call(settings={"enabled": True, "text": "W", "until": "2026-01-01"}, at="2025-12-31")
    assert found["answered"] is True
    assert (await call(settings={"enabled": True, "text": "W", "until": "2026-01-01"}))["answered"] is False
    found = await call(settings={"enabled": True, "text": "W"}, subject="a\nBcc: x@y.example",
                       sender_name="b\r\nX-Y: z")
    assert found["answer"]["subject"] == "Re: a Bcc: x@y.example"
    for wrong, field in (({"at": "soon"}, "at"), ({"sender": "x"}, "sender"), ({"recipient": "x"}, "recipient"),
                         ({"settings": {"max_age": "1d"}}, "autoresponder.max_age"),
                         ({"settings": {"nothing": 1}}, None), ({"name": "chef"}, None)):
        assert (await call(**wrong)).get("field") == field, wrong
    assert not (web.paths.state / "autoresponder").exists()


async def test_nobody_overwrites_what_he_has_not_seen(web: webserver.Web) -> None:
    browser = await logged_in(web)
    page = await browser.go(HERE)
    config.edit(web.paths.accounts / "meier.toml", {"autoresponder.text": "of somebody else"})
    page = await send(browser, page, "action=preview", text="mine")
    page = await send(browser, page)
    assert (page.status, kept(web).text) == (400, "of somebody else")
    assert "changed meanwhile" in page.problems[0]
    assert page.form().fields["autoresponder.text"].strip() == "mine"
    await send(browser, page)
    assert kept(web).text == "mine"


async def test_an_account_whose_file_is_broken(web: webserver.Web) -> None:
    browser = await logged_in(web, "chef")
    (web.paths.accounts / "meier.toml").write_text("quota = 'much'\n")
    page = await browser.go(THERE)
    assert page.status == 503
    assert "has to be mended first" in page.problems[0]
