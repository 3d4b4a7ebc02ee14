"""The frame of all pages: log-in and out, whose page it is, forms that came from elsewhere, where one is sent."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, passwords
from lanmail.web import sessions
from tests import browsing, webserver
from tests.browsing import PASSWORD, Browser


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    async with webserver.serving(browsing.lay_out(tmp_path, "[auth]\ndelay = \"10ms\"\nmax_delay = \"10ms\"")) as made:
        yield made


async def test_in_and_out(web: webserver.Web) -> None:
    browser = Browser(web)
    page = await browser.go("/")
    assert (page.title, page.url) == ("Log in", "/login?next=%2F")
    page = await browser.login()
    assert page.title == "My account"
    assert "meier@office.lan" in page.words
    assert "/my/account" in page.links()
    assert not any(there.startswith("/admin") for there in page.links())
    page = await browser.post("/logout", {"form": await browser.token()})
    assert page.url == "/login"
    assert (await browser.go("/my/account")).title == "Log in"
    assert list((web.paths.state / "web/sessions").iterdir()) == []


async def test_wrong_passwords_are_told_and_counted_with_those_of_the_mail_servers(web: webserver.Web) -> None:
    browser = Browser(web)
    for _ in range(3):
        page = await browser.login(password="falsch")
        assert page.problems == ["Name or password is wrong."]
        assert page.status == 403
    assert list((web.paths.state / "auth").iterdir()) != []
    assert "falsch" not in (await browser.login("unknown", "falsch")).text


async def test_in_german(web: webserver.Web) -> None:
    browser = Browser(web, "de-DE,de;q=0.9,en;q=0.5")
    assert (await browser.go("/login")).title == "Anmelden"
    page = await browser.login()
    assert page.title == "Mein Konto"
    assert (await browser.go("/language/en?next=/my/account")).title == "My account"


async def test_the_cookie(web: webserver.Web) -> None:
    answer = await web.post("/login", data={"user": "meier", "password": PASSWORD})
    said = answer.headers["set-cookie"]
    assert said.startswith("lanmail=")
    assert "HttpOnly" in said
    assert "SameSite=lax" in said
    word = said.partition("=")[2].partition(";")[0]
    assert len(word) >= 43
    stored = list((web.paths.state / "web/sessions").iterdir())
    assert len(stored) == 1
    assert word not in stored[0].name + stored[0].read_text()
    assert stored[0].stat().st_mode & 0o777 == 0o600


async def test_another_session_at_each_login(web: webserver.Web) -> None:
    """A word that somebody else knows, put into the browser before, is not taken over."""
    browser = Browser(web)
    browser.session.cookies.set("lanmail", "x" * 43)
    await browser.login()
    assert browser.session.cookies.get("lanmail", domain="127.0.0.1") != "x" * 43
    other = Browser(web)
    other.session.cookies.set("lanmail", "x" * 43)
    assert (await other.go("/my/account")).title == "Log in"


async def test_the_administrators_pages_are_for_administrators(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    page = await browser.go("/admin/status")
    assert page.status in (403, 404)
    page = await browser.login("chef")
    assert page.url == "/admin/status"


async def test_a_session_ends_with_the_password(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    config.edit(web.paths.accounts / "meier.toml", {"password": passwords.hash("another one")})
    assert (await browser.go("/my/account")).title == "Log in"


async def test_a_session_ends_with_the_account(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    config.edit(web.paths.accounts / "meier.toml", {"disabled": True})
    assert (await browser.go("/my/account")).title == "Log in"


@pytest.mark.parametrize("ago", [3700, -3600])
async def test_a_session_ends_when_nothing_is_done(web: webserver.Web, ago: int) -> None:
    browser = Browser(web)
    await browser.login()
    stored = next((web.paths.state / "web/sessions").iterdir())
    os.utime(stored, (time.time() - ago,) * 2)
    assert (await browser.go("/my/account")).title == "Log in"
    assert not stored.exists()


async def test_a_session_ends_in_any_case(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    stored = next((web.paths.state / "web/sessions").iterdir())
    text = stored.read_text()
    began = text.partition('"began": ')[2].partition(",")[0]
    stored.write_text(text.replace(began, str(time.time() - 12 * 3600 - 1)))
    assert (await browser.go("/my/account")).title == "Log in"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"account": "meier"}', "\0"])
async def test_a_broken_session_is_none(web: webserver.Web, text: str) -> None:
    browser = Browser(web)
    await browser.login()
    next((web.paths.state / "web/sessions").iterdir()).write_text(text)
    assert (await browser.go("/my/account")).title == "Log in"


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
])
async def test_a_form_from_elsewhere_is_not_taken(web: webserver.Web, headers: dict[str, str]) -> None:
    browser = Browser(web)
    await browser.login()
    token = await browser.token()
    page = await browser.post("/logout", {"form": token}, headers=headers)
    assert page.status == 403
    assert (await browser.go("/my/account")).title == "My account"
    answer = await web.post("/login", data={"user": "meier", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", ["", "x", "ü", "A" * 32])
async def test_a_form_without_its_word_is_not_taken(web: webserver.Web, token: str) -> None:
    browser = Browser(web)
    await browser.login()
    assert (await browser.post("/logout", {"form": token}, headers={"Origin": web.url})).status == 403
    assert (await browser.go("/my/account")).title == "My account"


async def test_the_word_of_another_session_does_not_do(web: webserver.Web) -> None:
    mine, other = Browser(web), Browser(web)
    await mine.login()
    await other.login("chef")
    assert (await mine.post("/logout", {"form": await other.token()})).status == 403


@pytest.mark.parametrize("there", [
    "https://evil.example/", "//evil.example", "/\\evil.example", "/my/\\..", "javascript:alert(1)", "/my/x y",
    "/my/\r\nSet-Cookie: a=b", "/logout", "/oauth2/auth?x=1", "my/account", "/my/\u202e",
])
async def test_nobody_is_sent_elsewhere(web: webserver.Web, there: str) -> None:
    answer = await web.post("/login", data={"user": "meier", "password": PASSWORD, "next": there})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    answer = await web.get("/language/de", params={"next": there})
    assert answer.headers["location"] == "/"


async def test_on_to_where_one_was(web: webserver.Web) -> None:
    browser = Browser(web)
    page = await browser.go("/my/account?x=1")
    page = await browser.send(page, "/login", user="meier", password=PASSWORD)
    assert page.url == "/my/account?x=1"


async def test_what_pages_say_to_browsers(web: webserver.Web) -> None:
    browser = Browser(web)
    page = await browser.login()
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"


async def test_a_name_of_a_person_is_text(tmp_path: Path) -> None:
    name = '"><svg onload=alert(1)>&amp;'
    where = browsing.lay_out(tmp_path, meier=f"full_name = '{name}'\n")
    async with webserver.serving(where) as web:
        page = await Browser(web).login()
        assert name in page.tree.find_class("who")[0].text_content()
        assert "<svg" not in page.text


async def test_a_long_note_is_shown_once_and_ends_no_session(web: webserver.Web) -> None:
    """It lay in the session's file, which then was too large to be read."""
    browser = Browser(web)
    await browser.login()
    store, word = sessions.Store(web.paths), browser.session.cookies["lanmail"]
    store.note(word, "ü" * 3000)
    page = await browser.go("/my/account")
    assert page.note.startswith("üüü")
    assert (await browser.go("/my/account")).note == ""


async def test_a_note_for_a_session_that_ended_brings_it_not_back(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    store, word = sessions.Store(web.paths), browser.session.cookies["lanmail"]
    await browser.post("/logout", {"form": await browser.token()})
    store.note(word, "done")
    browser.session.cookies.set("lanmail", word)
    assert (await browser.go("/my/account")).title == "Log in"


async def test_a_page_that_is_not_there(web: webserver.Web) -> None:
    page = await Browser(web).go("/my/nothing")
    assert (page.status, page.title) == (404, "That was not possible")
    assert (await web.get("/api/v2/x")).json() == {"detail": "Not Found"}
