"""The administrator's pages about accounts: the list, making one, its settings, aliases, password, its end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, passwords
from tests import browsing, webserver
from tests.browsing import Browser

EVIL = '"><svg onload=alert(1)>'
HERE = "/admin/accounts"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, "[account_defaults]\narchive = true\n", weber=f"full_name = '{EVIL}'\n",
                             alt="disabled = true\n", rechnung="[einvoice]\nenabled = true\n",
                             kaputt="quota = 'much'\n")
    where.groups.write_text('[verkauf]\nmembers = ["meier", "x@far.example"]\n')
    where.aliases.write_text('info = ["meier", "weber"]\n"einkauf@office.lan" = "meier"\n')
    async with webserver.serving(where) as made:
        yield made


@pytest.fixture
async def chef(web: webserver.Web) -> Browser:
    browser = Browser(web)
    await browser.login("chef")
    return browser


def kept(web: webserver.Web, name: str = "meier") -> dict[str, object]:
    return config.conffile.read(web.paths.accounts / f"{name}.toml").data


async def test_the_list(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(HERE)
    assert page.title == "Accounts"
    assert "<svg" not in page.text
    rows = {row[0].text_content().strip(): " ".join(row.text_content().split())
            for row in page.tree.xpath("//tbody/tr")}
    assert list(rows) == ["alt", "chef", "kaputt", "meier", "rechnung", "weber"]
    assert "disabled" in rows["alt"]
    assert "Postmaster" in rows["chef"]
    assert "broken file" in rows["kaputt"]
    assert "e-invoices" in rows["rechnung"]
    assert "archived" in rows["meier"]
    page = await chef.go(f"{HERE}?search=SVG+on")
    assert [one.text_content() for one in page.tree.xpath("//tbody//a")] == ["weber"]
    page = await chef.go(HERE, params={"search": EVIL + "x", "offset": "-1'"})
    assert "No account has this in its name." in page.words
    assert "<svg" not in page.text


async def test_a_list_of_many(web: webserver.Web, chef: Browser) -> None:
    for number in range(60):
        (web.paths.accounts / f"user{number:03}.toml").write_text("disabled = false\n")
    page = await chef.go(f"{HERE}?search=user")
    assert len(page.tree.xpath("//tbody/tr")) == 50
    assert "1–50 of 60" in page.words
    page = await chef.go(next(one for one in page.links() if "offset=50" in one))
    assert len(page.tree.xpath("//tbody/tr")) == 10


async def test_an_account_from_its_making_to_its_end(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go(f"{HERE}/-/add"), name="Neu", full_name="Nina Neu", quota="1GB")
    assert page.title == "Password of neu"
    word = page.tree.xpath("//code/text()")[1]
    assert passwords.verify(str(kept(web, "neu")["password"]), word)
    assert kept(web, "neu")["quota"] == "1GB"
    assert word not in "".join(path.read_text() for path in (web.paths.state / "web").rglob("*.json"))
    assert (await Browser(web).login("neu", word)).title == "My account"
    page = await chef.go(f"{HERE}/neu/delete")
    assert page.title == "Remove the account neu"
    page = await chef.send(page, mail="delete")
    assert page.note == "The account neu is removed."
    assert not (web.paths.accounts / "neu.toml").exists()
    assert not (web.paths.maildirs / "neu").exists()


async def test_an_account_with_a_password_that_was_typed(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go(f"{HERE}/-/add"), name="neu", password="ein langes Wort", shared=None)
    assert (page.url, page.note) == (f"{HERE}/neu", "The account is made.")
    assert "ein langes Wort" not in page.text
    page = await chef.send(await chef.go(f"{HERE}/-/add"), name="team", shared="yes", members="meier\r\nweber=lr")
    assert page.note == "The account is made."
    team = kept(web, "team")
    assert (team["shared"], team["members"], "password" in team) == (True, ["meier", "weber=lr"], False)


@pytest.mark.parametrize(("name", "said"), [
    ("müller", "umlauts are not possible"), ("a b", "letters a to z"), ("Meier", "already"), ("info", "alias already"),
    ("verkauf", "group already"), (EVIL, "letters a to z"), ("../x", "letters a to z"), ("postmaster", "reserved"),
])
async def test_names_that_cannot_be(web: webserver.Web, chef: Browser, name: str, said: str) -> None:
    page = await chef.send(await chef.go(f"{HERE}/-/add"), name=name, full_name="Wer")
    assert page.status in (400, 409)
    assert said in page.problems[0]
    assert "<svg" not in page.text
    assert page.tree.get_element_by_id("f-name").value == name
    assert page.tree.get_element_by_id("f-full_name").value == "Wer"


async def test_what_is_changed_is_set_and_nothing_else(web: webserver.Web, chef: Browser) -> None:
    before = kept(web)
    page = await chef.send(await chef.go(f"{HERE}/meier"))
    assert page.note == "Saved."
    assert kept(web) == before
    page = await chef.send(page, fills={"full_name": "Eva Meier", "archive": "no", "forward.to": "weber\r\nverkauf",
                                        "forward.keep": "yes", "services": ["imap", "smtp"], "quota": "2GB",
                                        "einvoice.post_authorization": "Bearer geheim"})
    assert page.note == "Saved."
    assert page.title == "Eva Meier"
    assert kept(web) == before | {
        "full_name": "Eva Meier", "archive": False, "forward": {"to": ["weber", "verkauf"], "keep": True},
        "services": ["imap", "smtp"], "quota": "2GB",
        "einvoice": {"post_authorization": "file:secrets/meier.einvoice.post_authorization"}}
    assert "geheim" not in page.text
    page = await chef.send(page, fills={"full_name": "", "archive": "", "forward.to": "", "quota": "",
                                        "einvoice.post_authorization-clear": "yes"})
    assert kept(web) == before | {"forward": {"keep": True}, "services": ["imap", "smtp"], "einvoice": {}}
    assert list(web.paths.secrets.iterdir()) == []


@pytest.mark.parametrize(("key", "typed", "said"), [
    ("quota", "much", "is not a size"), ("forward.to", "niemand", "there is no account, alias or group"),
    ("sms.to", EVIL, "pattern"), ("send_as", "x", "is not a mail address"), ("quota_messages", "-1", "quota_messages"),
])
async def test_what_is_wrong_says_so_at_the_field(web: webserver.Web, chef: Browser, key: str, typed: str,
                                                  said: str) -> None:
    before = kept(web)
    page = await chef.send(await chef.go(f"{HERE}/meier"), fills={key: typed, "full_name": "X"})
    assert page.status in (400, 404)
    assert page.problems[0] == "Nothing was saved: see below."
    assert said in page.problems[1]
    box = page.tree.get_element_by_id(f"f-{key}")
    assert (box.value.strip(), box.get("aria-invalid")) == (typed, "true")
    assert page.tree.get_element_by_id("f-full_name").value == "X"
    assert "<svg" not in page.text
    assert kept(web) == before


async def test_nobody_overwrites_what_somebody_else_changed(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(f"{HERE}/meier")
    config.edit(web.paths.accounts / "meier.toml", {"quota": "5GB"})
    page = await chef.send(page, full_name="X")
    assert page.status == 409
    assert "Somebody else changed this account" in page.problems[0]
    assert "full_name" not in kept(web)
    assert (await chef.send(page, full_name="X")).status == 409


async def test_the_postmaster_moves(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(f"{HERE}/chef")
    assert "This account is the postmaster." in page.words
    assert not page.tree.xpath('//input[@name="postmaster"]')
    assert not page.tree.xpath('//*[@name="administrator" or @name="disabled"]')
    await chef.send(await chef.go(f"{HERE}/meier"), postmaster="yes")
    assert kept(web)["postmaster"] is True
    assert kept(web, "chef")["postmaster"] is False


async def test_what_does_not_work_is_told(web: webserver.Web, chef: Browser) -> None:
    config.edit(web.paths.accounts / "meier.toml", {"forward.to": ["fort"]})
    page = await chef.go(f"{HERE}/meier")
    assert "forward.to: nothing goes to fort" in page.problems[0]
    page = await chef.go(f"{HERE}/kaputt")
    assert "cannot be read" in page.problems[0]
    assert "is not a size" in page.words
    assert (await chef.send(await chef.go(f"{HERE}/kaputt/delete"), mail="keep")).note
    assert (await chef.go(f"{HERE}/niemand")).status == 404
    assert (await chef.go(f"{HERE}/%22%3E%3Csvg%20onload=alert(1)%3E")).status == 404


async def test_aliases_of_an_account(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(f"{HERE}/meier")
    assert "info (also to weber)" in page.words
    page = await chef.post(f"{HERE}/-/aliases", {"form": await chef.token(), "address": "info", "to": "meier",
                                                 "there": "meier", "remove": "yes"}, headers={"Origin": web.url})
    assert (page.url, page.note) == (f"{HERE}/meier", "info is removed.")
    form = {"form": await chef.token(), "address": "kontakt", "to": "meier", "there": "meier"}
    page = await chef.post(f"{HERE}/-/aliases", form, headers={"Origin": web.url})
    assert page.note == "kontakt leads to meier."
    assert config.load_aliases(web.paths.aliases)[("info", "")] == (("weber", ""),)
    assert config.load_aliases(web.paths.aliases)[("kontakt", "")] == (("meier", ""),)


@pytest.mark.parametrize(("address", "to", "said"), [
    ("weber", "meier", "there is an account 'weber' already"), ("neu", "niemand", "there is no account"),
    (EVIL, "meier", "neither a local name"), ("x@far.example", "meier", "is not a local domain"),
    ("neu", "neu", "cannot lead to itself"),
])
async def test_aliases_that_cannot_be(web: webserver.Web, chef: Browser, address: str, to: str, said: str) -> None:
    page = await chef.send(await chef.go(f"{HERE}/-/aliases"), f"{HERE}/-/aliases", address=address, to=to)
    assert page.status in (400, 404, 409, 200)
    assert "<svg" not in page.text
    assert len(config.load_aliases(web.paths.aliases)) == 2


async def test_a_password_is_changed_by_the_administrator(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go(f"{HERE}/meier"), f"{HERE}/meier/password", password="noch ein Wort")
    assert page.note.startswith("The password is changed")
    assert (await Browser(web).login("meier", "noch ein Wort")).title == "My account"
    page = await chef.send(page, f"{HERE}/meier/password", password="")
    assert (await Browser(web).login("meier", page.tree.xpath("//code/text()")[1])).title == "My account"


async def test_nobody_removes_the_postmaster_or_himself_by_accident(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go(f"{HERE}/chef/delete"), mail="delete")
    assert page.problems == ["You are logged in with this account."]
    await chef.send(await chef.go(f"{HERE}/meier"), postmaster="yes")
    page = await chef.send(await chef.go(f"{HERE}/meier/delete"), mail="keep")
    assert page.status == 422
    assert "is the postmaster" in page.problems[0]
    page = await chef.send(page, mail="keep", force="yes")
    assert page.note == "The account meier is removed."
    assert (web.paths.maildirs / "meier").is_dir()


async def test_another_name(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(f"{HERE}/meier/rename")
    assert page.title == "Rename meier"
    for name, said in (("chef", "already"), (EVIL, "letters a to z"), ("info", "alias already")):
        page = await chef.send(page, new_name=name)
        assert page.status in (400, 409)
        assert said in page.problems[0]
        assert "<svg" not in page.text
        assert page.tree.get_element_by_id("new_name").value == name
    page = await chef.send(page, new_name="Schmidt")
    assert (page.url, page.note[:8]) == (f"{HERE}/schmidt", "Renamed.")
    assert config.load_aliases(web.paths.aliases)[("meier", "")] == (("schmidt", ""),)
    assert (await Browser(web).login("schmidt")).title == "My account"
    assert (web.paths.maildirs / "schmidt").is_dir()


@pytest.mark.parametrize("path", [HERE, f"{HERE}/-/add", f"{HERE}/-/aliases", f"{HERE}/meier", f"{HERE}/meier/delete"])
async def test_not_for_everybody(web: webserver.Web, path: str) -> None:
    browser = Browser(web)
    await browser.login()
    assert (await browser.go(path)).status == 403


async def test_in_german(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    for path, title in ((HERE, "Konten"), (f"{HERE}/-/add", "Neues Konto"), (f"{HERE}/-/aliases", "Aliase"),
                        (f"{HERE}/meier/delete", "Konto entfernen: meier")):
        assert (await browser.go(path)).title == title
    page = await browser.go(f"{HERE}/meier")
    assert "Alle Mail weiterleiten an" in page.words
    assert "as for all" not in page.words
