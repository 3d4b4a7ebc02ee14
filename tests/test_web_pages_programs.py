"""The pages about mail programs: whose they are, the secret that is shown once, what asks once more, escaping."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.logins import grants
from tests import browsing, webserver
from tests.browsing import Browser, Page

EVIL = '"><svg onload=alert(1)>'
HERE, THERE = "/my/clients", "/admin/accounts/meier/clients"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    async with webserver.serving(browsing.lay_out(tmp_path, fest="self_service = false\n")) as made:
        yield made


async def logged_in(web: webserver.Web, name: str = "meier", language: str = "en") -> Browser:
    browser = Browser(web, language)
    await browser.login(name)
    return browser


def register(web: webserver.Web) -> grants.Register:
    return grants.Register(web.paths.state)


def connected(web: webserver.Web, account: str = "meier", name: str = EVIL, *, public: bool = False) -> tuple[str, str]:
    """A program with a log-in: its id, and an access token."""
    client, _ = register(web).add_client(account, name, list(grants.SCOPES.values()), public=public)
    code = register(web).code(client, account, list(client.scopes), "http://localhost/")
    return client.id, register(web).exchange(code, client.id, time.time()).access


def good(web: webserver.Web, token: str) -> bool:
    return grants.verify_token(web.paths.state, token, service="imap") is not None


def shown(page: Page) -> list[str]:
    return [one.text for one in page.tree.find(".//main").iter("code")]


@pytest.mark.parametrize(("who", "path"), [("meier", HERE), ("chef", THERE)])
async def test_a_program_is_registered_and_its_secret_shown_once(web: webserver.Web, who: str, path: str) -> None:
    browser = await logged_in(web, who)
    page = await browser.go(path)
    assert page.title == "Mail programs"
    assert "meier@office.lan" in shown(page)
    page = await browser.send(page, path, title=EVIL, services=["smtp"], button="action=create")
    assert page.title == f"Registered: {EVIL}"
    made = register(web).clients("meier")[0]
    assert (made.name, made.scopes) == (EVIL, ("SMTP.Send",))
    assert made.id in shown(page)
    secret = next(one for one in shown(page) if made.has_secret(one))
    assert "<svg" not in page.text
    answer = await browser.send(page, f"{path}/{made.id}")
    assert answer.headers["content-disposition"] == 'attachment; filename="meier-oauth2.xpi"'
    assert answer.headers["content-type"] == "application/x-xpinstall"
    page = await browser.go(path)
    assert EVIL in page.words
    assert secret not in page.text
    assert "<svg" not in page.text
    kept = [file.read_bytes() for file in web.paths.state.rglob("*") if file.is_file() and "metrics" not in file.parts]
    assert not any(secret.encode() in data for data in kept)


async def test_without_a_secret(web: webserver.Web) -> None:
    browser = await logged_in(web, language="de")
    page = await browser.send(await browser.go(HERE), HERE, title="Handy", kind="public", button="action=create")
    made = register(web).clients("meier")[0]
    assert made.secret == ""
    page = await browser.go(f"{HERE}/{made.id}")
    assert page.title == "Handy"
    assert "Es muss PKCE verwenden" in page.words
    answer = await browser.post(f"{HERE}/{made.id}", {"form": await browser.token(), "action": "addon"},
                                headers={"Origin": web.url})
    assert answer.status == 200
    assert answer.text.startswith("PK")


async def test_limited_disabled_and_removed(web: webserver.Web) -> None:
    client, token = connected(web)
    browser = await logged_in(web)
    page = await browser.go(f"{HERE}/{client}")
    assert page.title == EVIL
    assert "<svg" not in page.text
    page = await browser.send(page, services=["imap"], button="action=scope")
    assert page.note == "Saved; it counts from now on."
    assert page.form().form_values().count(("services", "imap")) == 1
    page = await browser.send(page, services=None, button="action=scope")
    assert (page.status, len(page.problems)) == (400, 1)
    data = {"form": await browser.token()}
    origin = {"Origin": web.url}
    page = await browser.post(f"{HERE}/{client}", {**data, "action": "disable"}, headers=origin)
    assert "disabled" in page.words
    assert not good(web, token)
    await browser.post(f"{HERE}/{client}", {**data, "action": "enable"}, headers=origin)
    assert good(web, token)
    page = await browser.go(f"{HERE}/{client}/delete")
    assert page.title == f"Remove {EVIL}?"
    assert good(web, token)
    page = await browser.send(page, f"{HERE}/{client}/delete")
    assert (page.url, page.note) == (HERE, f"{EVIL} is removed.")
    assert not good(web, token)
    assert register(web).clients() == []
    assert (await browser.go(f"{HERE}/{client}")).status == 404


async def test_one_log_in_is_ended(web: webserver.Web) -> None:
    _, token = connected(web)
    browser = await logged_in(web, language="de")
    page = await browser.go(HERE)
    page = await browser.post(HERE, dict(next(one for one in page.tree.find(".//main").findall(".//form")
                                              if "consent" in one.fields).form_values()), headers={"Origin": web.url})
    assert page.note == "Beendet: Das Programm muss sich neu anmelden."
    assert not good(web, token)
    assert "keine" in page.words


@pytest.mark.parametrize(("given", "english", "german"), [
    ({"title": "x\u202ey"}, "a name has 1 to 100 characters", "Ein Name hat 1 bis 100 Zeichen"),
    ({"title": "x", "services": None}, "one of these at least", "Wenigstens eines davon"),
    ({"title": "x", "redirects": f"http://{EVIL}/"}, "it must", "Eine dieser Adressen geht nicht"),
])
async def test_what_is_wrong_is_told_at_its_field(web: webserver.Web, given: dict[str, str | None], english: str,
                                                  german: str) -> None:
    for language, said in (("en", english), ("de", german)):
        browser = await logged_in(web, language=language)
        page = await browser.send(await browser.go(HERE), HERE, fills=given, button="action=create")
        assert page.status == 400
        assert len(page.problems) == 1
        assert said in page.problems[0]
        assert page.tree.xpath('//*[@aria-invalid="true"]')
        assert "<svg" not in page.text
    assert register(web).clients() == []


async def test_programs_of_others_are_not_there(web: webserver.Web) -> None:
    client, token = connected(web, "chef")
    browser = await logged_in(web)
    data = {"form": await browser.token(), "action": "disable", "services": "imap"}
    assert EVIL not in (await browser.go(HERE)).words
    for path in (f"{HERE}/{client}", f"{HERE}/{client}/delete"):
        assert (await browser.go(path)).status == 404
        assert (await browser.post(path, data, headers={"Origin": web.url})).status == 404
    consent = register(web).consents("chef")[0].id
    page = await browser.post(HERE, {**data, "action": "disconnect", "consent": consent}, headers={"Origin": web.url})
    assert page.status == 404
    assert (await browser.go(THERE)).status == 403
    assert good(web, token)
    chef = await logged_in(web, "chef")
    assert (await chef.go(f"{THERE}/{client}")).status == 404  # it is not meier's
    assert (await chef.go(f"/admin/accounts/chef/clients/{client}")).status == 200


async def test_who_may_not_register_can_end(web: webserver.Web) -> None:
    client, token = connected(web, "fest")
    browser = await logged_in(web, "fest", "de")
    page = await browser.go(HERE)
    assert "Programme trägt hier der Administrator ein." in page.words
    assert page.tree.xpath('//input[@name="title"]') == []
    page = await browser.send(await browser.go(f"{HERE}/{client}/delete"), f"{HERE}/{client}/delete")
    assert page.status == 200
    assert not good(web, token)


async def test_the_profile_for_telephones(web: webserver.Web) -> None:
    browser = await logged_in(web)
    page = await browser.go(HERE)
    link = next(one for one in page.links() if "mobileconfig" in one)
    assert "meier@office.lan" in (await browser.go(link)).text
