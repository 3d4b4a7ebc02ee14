"""/my/password: who may change it, what ends with it, what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, passwords
from tests import browsing, webserver
from tests.browsing import PASSWORD, Browser

NEW = "vier Wörter <und> mehr"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, "[auth]\ndelay = \"10ms\"\nmax_delay = \"10ms\"", meier="self_service = false\n")
    async with webserver.serving(where) as made:
        yield made


def kept(web: webserver.Web) -> str:
    return config.load_account(web.paths.accounts / "meier.toml").password


async def test_a_new_password_keeps_this_log_in_and_ends_the_others(web: webserver.Web) -> None:
    browser, other = Browser(web), Browser(web, "de")
    await browser.login()
    await other.login()
    page = await browser.send(await browser.go("/my/password"), "/my/password", old=PASSWORD, password=NEW, again=NEW)
    assert (page.status, page.url, page.note) == (200, "/my/password", "The password is changed.")
    assert passwords.verify(kept(web), NEW)
    assert (await browser.go("/my/account")).title == "My account"
    assert (await other.go("/my/account")).title == "Anmelden"
    assert (await other.login(password=NEW)).title == "Mein Konto"
    noted = next((web.paths.state / "audit").iterdir()).read_text()
    assert "what=account.password" in noted
    assert "Wörter" not in noted


@pytest.mark.parametrize(("old", "new", "again", "english", "german"), [
    ("wrong", NEW, NEW, "This is not your password.", "Das ist nicht Ihr Passwort."),
    (PASSWORD, NEW, "other one", "These are not the same.", "Das ist nicht zweimal dasselbe."),
    (PASSWORD, "short", "short", "A password has 8 to 1024 characters.", "Ein Passwort hat 8 bis 1024 Zeichen."),
    (PASSWORD, "", "", "A password has 8 to 1024 characters.", "Ein Passwort hat 8 bis 1024 Zeichen."),
    (PASSWORD, "x" * 1025, "x" * 1025, "A password has 8 to 1024 characters.", "Ein Passwort hat 8 bis 1024 Zeichen."),
])
async def test_what_is_refused(web: webserver.Web, old: str, new: str, again: str, english: str, german: str) -> None:
    for language, problem in (("en", english), ("de", german)):
        browser = Browser(web, language)
        await browser.login()
        page = await browser.send(await browser.go("/my/password"), "/my/password", old=old, password=new, again=again)
        assert (page.status, page.problems) == (400, [problem])
        assert new == "" or new not in page.text
    assert passwords.verify(kept(web), PASSWORD)


async def test_guesses_are_counted(tmp_path: Path) -> None:
    where = browsing.lay_out(tmp_path)
    async with webserver.serving(where) as web:
        browser = Browser(web)
        await browser.login()
        page = await browser.go("/my/password")
        await browser.send(page, "/my/password", old="wrong", password=NEW, again=NEW)
        assert list((where.state / "auth").iterdir()) != []
