"""The pages about groups: the list, one group, adding and removing one, as administrators do it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import groups
from tests import browsing, webserver
from tests.browsing import Browser

SVG = '"><svg onload=alert(1)>'


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, 'extra_domains = ["firma.example"]', weber="")
    where.aliases.write_text('info = ["sales"]\n')
    async with webserver.serving(where) as made:
        yield made


@pytest.fixture
async def chef(web: webserver.Web) -> Browser:
    browser = Browser(web)
    await browser.login("chef")
    return browser


async def test_from_an_empty_list_to_a_group_and_back(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go("/admin/groups")
    assert "There are no groups yet" in page.words
    page = await chef.go("/admin/new-group")
    page = await chef.send(page, name="Sales", members="meier\r\neva@example.org\r\n", may_post=["local", "members"],
                           may_post_more="boss@far.example")
    assert (page.url, page.title) == ("/admin/groups/sales", "Group sales")
    assert page.note == "sales@office.lan is there; it counts at once."
    found = groups.load(web.paths.groups)["sales"]
    assert (found.members, found.may_post) == (["meier", "eva@example.org"], ["local", "members", "boss@far.example"])
    reached = [" ".join(one.text_content().split()) for one in page.tree.iter("dd")]
    assert reached == ["sales@office.lan, sales@firma.example", "meier", "eva@example.org", "chef"]
    page = await chef.send(page, fills={"may_post": ["anyone"], "may_post_more": "", "reply_to": "group",
                                        "members": "weber", "send_as": None, "owner": "meier"})
    assert page.note == "Saved; it counts from now on."
    found = groups.load(web.paths.groups)["sales"]
    assert (found.members, found.may_post, found.reply_to, found.send_as, found.owner) == (
        ["weber"], ["anyone"], "group", False, "meier")
    page = await chef.go("/admin/groups?search=WEB")
    assert "/admin/groups/sales" in page.links()
    assert "Everybody" in page.words
    assert "No group has this" in (await chef.go("/admin/groups?search=nix")).words
    page = await chef.go("/admin/groups/sales/remove")
    assert page.title == "Remove the group sales?"
    page = await chef.send(page)
    assert (page.url, page.note) == (
        "/admin/groups", "The group sales is removed. Still to be mended: alias info still leads to sales.")
    assert groups.load(web.paths.groups) == {}


async def test_nothing_changed_writes_nothing(web: webserver.Web, chef: Browser) -> None:
    text = '[sales]\nmembers = ["meier"]  # she knows\nmay_post = "local"\n'
    web.paths.groups.write_text(text)
    page = await chef.send(await chef.go("/admin/groups/sales"), "/admin/groups/sales")
    assert page.status == 200
    assert web.paths.groups.read_text() == text


@pytest.mark.parametrize(("fills", "english", "german"), [
    ({"members": "meyer"}, "there is no account, alias or group 'meyer'; did you mean 'meier'?",
     "„meyer“ gibt es hier nicht. Meinten Sie „meier“?"),
    ({"members": f"meier\r\n{SVG}"}, "members[1]: ", f"„{SVG}“: Schreiben Sie einen Namen wie meier oder"),
    ({"owner": "x y"}, "owner: 'x y' is neither", "„x y“: Schreiben Sie einen Namen"),
    ({"may_post_more": "nobody"}, "there is no account, alias or group 'nobody'", "„nobody“ gibt es hier nicht: kein"),
    ({"subject_tag": "x" * 41}, "is not a tag", "Höchstens 40 Zeichen"),
    ({"domains": "a b"}, "is not a domain", "„a b“: Schreiben Sie eine Domain"),
])
async def test_problems_stand_at_their_field(web: webserver.Web, fills: dict[str, str], english: str,
                                             german: str) -> None:
    web.paths.groups.write_text('[sales]\nmembers = ["meier"]\n')
    for language, said in (("en", english), ("de", german)):
        browser = Browser(web, language)
        await browser.login("chef")
        page = await browser.send(await browser.go("/admin/groups/sales"), "/admin/groups/sales", fills=fills)
        assert page.status == 400
        problem, = page.problems
        assert said in problem
        assert page.tree.find_class("wrong")[0].find_class("problem")
        assert "<svg" not in page.text
        assert web.paths.groups.read_text() == '[sales]\nmembers = ["meier"]\n'


async def test_names_that_are_taken_or_cannot_be(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    for name, said in (("meier", "Diesen Namen gibt es schon"), ("info", "Diesen Namen gibt es schon"),
                       ("ä b", "Ein Name hat nur die Buchstaben"), (SVG, "Ein Name hat nur"),
                       ("postmaster", "Ein Name hat nur")):
        page = await browser.send(await browser.go("/admin/new-group"), name=name, members="weber")
        assert page.status == 400
        assert said in page.problems[0]
        assert page.tree.get_element_by_id("f-name").value == name
        assert page.tree.get_element_by_id("f-members").value.strip() == "weber"
        assert "<svg" not in page.text
    assert not web.paths.groups.exists()


async def test_what_is_wrong_in_the_file_is_told(web: webserver.Web) -> None:
    web.paths.groups.write_text('[sales]\nmembers = ["gone", "inner"]\n[inner]\nmembers = ["sales"]\n'
                                'domains = ["other.example"]\n')
    browser = Browser(web, "de")
    await browser.login("chef")
    page = await browser.go("/admin/groups/sales")
    assert page.title == "Gruppe sales"
    assert page.problems == ["„gone“ gibt es hier nicht: kein Konto, kein Alias und keine Gruppe.",
                             "Die Gruppe ist über andere Gruppen oder selbst ihr Mitglied; jeder bekommt trotzdem "
                             "nur eine Kopie."]
    assert "niemanden; sie gehen an den Eigentümer" in page.words
    assert "„other.example“ ist keine Domain dieses Servers." in (await browser.go("/admin/groups/inner")).problems
    assert (await browser.go("/admin/groups/none")).status == 404
    web.paths.groups.write_text("[sales\n")
    page = await browser.go("/admin/groups")
    assert (page.status, "ist kein TOML" in page.words) == (400, True)


async def test_two_at_the_same_time(web: webserver.Web, chef: Browser) -> None:
    web.paths.groups.write_text('[sales]\nmembers = ["meier"]\n')
    page = await chef.go("/admin/groups/sales")
    web.paths.groups.write_text('[sales]\nmembers = ["weber"]\n')
    page = await chef.send(page, "/admin/groups/sales", members="chef")
    assert (page.status, page.problems) == (400, ["it was changed meanwhile; look at it again"])
    assert groups.load(web.paths.groups)["sales"].members == ["weber"]


async def test_everyone(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go("/admin/new-group"), name="everyone", members="", may_post=None)
    assert page.status == 200
    assert {"/admin/accounts/meier", "/admin/accounts/weber"} <= set(page.links())


async def test_only_administrators(web: webserver.Web) -> None:
    browser = Browser(web)
    await browser.login()
    token = await browser.token()
    for path in ("/admin/groups", "/admin/new-group", "/admin/groups/sales", "/admin/groups/sales/remove"):
        assert (await browser.go(path)).status == 403
    page = await browser.post("/admin/new-group", {"form": token, "name": "x", "members": "meier"},
                              headers={"Origin": web.url})
    assert page.status == 403
    assert not web.paths.groups.exists()
