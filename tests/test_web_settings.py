"""The settings on pages: every key has its words, every section its form, and what is typed is checked."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, schema
from lanmail.administration import asking
from lanmail.settings import Settings
from lanmail.web import fields
from lanmail.web.words import settings as words
from tests import browsing, webserver
from tests.browsing import Browser
from tests.test_web_fields import form

KEYS = [".".join(key) for key, _ in schema.fields(Settings)]
SVG = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, "[smtpd]\nmax_size = '20MB'  # scanners\n")
    for path in where.accounts.iterdir():
        path.chmod(0o640)
    async with webserver.serving(where) as made:
        yield made


def test_every_key_has_its_words() -> None:
    assert [key for key in KEYS if key not in words.WORDS] == []
    for key in KEYS:
        word = words.WORDS[key]
        assert word.english, key
        assert word.german, key
        assert word.sentence, key
    assert set(words.SECTIONS) == set(Settings.model_fields)
    assert {key.rpartition(".")[0] for key in KEYS} == set(words.ABOUT) == {*words.SECTIONS, *words.PARTS}


def test_nothing_changed_is_nothing_sent_for_every_key() -> None:
    loaded = Settings.model_validate({"server": {"domain": "a.lan"}, "sms": {"headers": {"X-A": "b = c"}}, "dkim": {
        "keys": [{"domain": "a.lan", "selector": "s", "key": "dkim/a.pem"}]}, "smtpd": {"lan": {
            "senders": {"10.0.0.1": "a@a.lan"}}}})
    shown = fields.of(Settings, KEYS, loaded.model_dump(mode="json"), words.WORDS, "de")
    assert fields.changes(shown, form(shown)) == {}
    kinds = {one.key: one.kind for one in shown}
    assert (kinds["sms.headers"], kinds["dkim.keys"], kinds["sms.ok"]) == ("pairs", "tables", "numbers")


@pytest.mark.parametrize(("key", "typed", "made"), [
    ("sms.headers", "X-A = b = c\r\nY=z", {"X-A": "b = c", "Y": "z"}), ("sms.ok", "200\r\n2x", [200, "2x"]),
    ("dkim.keys", 'domain = "a.lan", key = "k"\r\nwrong', [{"domain": "a.lan", "key": "k"}, "wrong"]),
    ("sms.headers", "", None),
])
def test_lines_that_are_more_than_text(key: str, typed: str, made: object) -> None:
    loaded = Settings.model_validate({"server": {"domain": "a.lan"}, "sms": {"headers": {"Q": "r"}}})
    shown = fields.of(Settings, [key], loaded.model_dump(mode="json"), words.WORDS, "en")
    section, _, name = key.partition(".")
    assert fields.changes(shown, form(shown, **{key: typed})) == {section: {name: made}}


async def test_all_sections_are_there(web: webserver.Web) -> None:
    for language, title in (("en", "Settings"), ("de", "Einstellungen")):
        browser = Browser(web, language)
        await browser.login("chef")
        page = await browser.go("/admin/settings")
        assert (page.title, page.status) == (title, 200)
        assert page.tree.find_class("good"), page.words
        for section, titles in words.SECTIONS.items():
            inner = await browser.go(f"/admin/settings/{section}")
            assert inner.title == titles[language == "de"]
            assert len(inner.text) < 100_000
            assert inner.tree.xpath("//*[@id='content']//*[starts-with(@id, 'f-')]")
    assert (await browser.go("/admin/settings/nothing")).status == 404


async def test_changed_and_taken_over(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/settings/smtpd")
    page = await browser.send(page, "/admin/settings/smtpd", fills={
        "smtpd.max_recipients": "200", "smtpd.mx_auth": None, "smtpd.bare_lf": "reject", "smtpd.mx_port": "2525",
        "smtpd.lan.networks": "10.0.0.0/8\r\n192.168.1.7"})
    assert page.note == "Saved. It counts when the programs are started again: smtpd.mx_port."
    read = config.load(web.paths).smtpd
    assert (read.max_recipients, read.mx_auth, read.bare_lf, read.mx_port) == (200, False, "reject", 2525)
    assert [str(one) for one in read.lan.networks] == ["10.0.0.0/8", "192.168.1.7/32"]
    assert "max_size = '20MB'  # scanners" in web.paths.config_file.read_text()
    assert (web.paths.state / asking.FILE).exists()
    page = await browser.send(page, "/admin/settings/smtpd", fills={"smtpd.max_size": ""})
    assert page.note == "Saved; the programs take it over within seconds."
    assert config.load(web.paths).smtpd.max_size == 50 << 20


async def test_empty_is_not_always_the_default(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    await browser.send(await browser.go("/admin/settings/deliver"), "/admin/settings/deliver",
                       fills={"deliver.sub_address_separator": "", "deliver.sweep": ""})
    await browser.send(await browser.go("/admin/settings/auth"), "/admin/settings/auth",
                       fills={"auth.cleartext_networks": "", "auth.delay": "10ms"})
    read = config.load(web.paths)
    assert (read.deliver.sub_address_separator, read.auth.cleartext_networks) == ("", [])


async def test_problems_stand_at_their_field(web: webserver.Web) -> None:
    before = web.paths.config_file.read_text()
    for language, said in (("en", f"smtpd.max_size: '{SVG}' is not a size"),
                           ("de", f"„{SVG}“: Schreiben Sie eine Größe")):
        browser = Browser(web, language)
        await browser.login("chef")
        page = await browser.send(await browser.go("/admin/settings/smtpd"), "/admin/settings/smtpd",
                                  fills={"smtpd.max_size": SVG, "smtpd.max_recipients": "300"})
        assert (page.status, "<svg" in page.text) == (400, False)
        assert page.problems[0].startswith(said)
        assert page.tree.find_class("wrong")[0].xpath(".//input/@value") == [SVG]
        assert page.tree.get_element_by_id("f-smtpd.max_recipients").value == "300"
        assert web.paths.config_file.read_text() == before
    page = await browser.send(page, "/admin/settings/smtpd", fills={"smtpd.max_size": "1MB", "smtpd.mx_port": "465"})
    assert page.problems == ["Diesen Port benutzt schon smtpd.mx_port."]


async def test_what_is_wrong_in_files_is_told(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    (web.paths.accounts / "meier.toml").write_text(f"quota = '{SVG}'\n")
    web.paths.config_file.write_text(web.paths.config_file.read_text() + "[pop3d]\nmax_line = 1\n")
    page = await browser.go("/admin/settings")
    assert re.search(r"lanmail.toml:\d", page.words)
    assert "accounts/meier.toml:1" in page.words
    assert "Schreiben Sie eine Größe" in page.words
    assert "<svg" not in page.text
    assert (await browser.go("/admin/settings/smtpd")).status == 400
    page = await browser.post("/admin/settings", {"form": await browser.token()}, headers={"Origin": web.url})
    assert page.status == 400


async def test_two_at_the_same_time_and_who_may(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/settings/log")
    config.edit(web.paths.config_file, {"log.keep_days": 7})
    page = await browser.send(page, "/admin/settings/log", fills={"log.keep_days": "8"})
    assert page.problems == ["it was changed meanwhile; look at it again"]
    assert config.load(web.paths).log.keep_days == 7
    other = Browser(web)
    await other.login()
    token = await other.token()
    assert (await other.go("/admin/settings")).status == 403
    assert (await other.go("/admin/settings/log")).status == 403
    assert (await other.post("/admin/settings/log", {"form": token, "log.keep_days": "1"},
                             headers={"Origin": web.url})).status == 403


async def test_many_problems_are_counted(web: webserver.Web) -> None:
    for number in range(60):
        path = web.paths.accounts / f"x{number}.toml"
        path.write_text("nothing = 1\n")
        path.chmod(0o640)
    browser = Browser(web)
    await browser.login("chef")
    page = await browser.go("/admin/settings")
    assert page.text.count("unknown key") == 50
    assert "And more: in all 60." in page.words
