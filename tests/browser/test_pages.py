"""Every page that a menu or a link leads to: no barriers, nothing sticks out on a telephone, nothing the browser
complains about, and no word of a mail or a person becomes a script."""

from collections.abc import Iterator

import pytest
from playwright import sync_api

from tests import webserver
from tests.browser import office, serving, sitemap, tabs
from tests.browsing import PASSWORD

pytestmark = pytest.mark.slow
# What only a form or a script leads to.
UNLINKED = {"/admin/status/now"}


@pytest.fixture(scope="module")
def chrome() -> Iterator[sync_api.Browser]:
    with tabs.running() as one:
        yield one


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webserver.Web]:
    with serving.httpd(office.lay_out(tmp_path_factory.mktemp("office"))) as one:
        yield one


@pytest.fixture(scope="module")
def site(web: webserver.Web) -> sitemap.Sitemap:
    return sitemap.look(web.url, "chef", more=("/admin/archive?account=chef",))


def test_each_page_can_be_reached(site: sitemap.Sitemap) -> None:
    assert site.broken == []
    assert [one for one in site.missing if one not in UNLINKED] == []


def test_all_pages(chrome: sync_api.Browser, web: webserver.Web, site: sitemap.Sitemap) -> None:
    tab = tabs.Tab(chrome, web.url)
    tab.login("chef", PASSWORD)
    faults = []
    for way in site.pages.values():
        tab.go(way)
        found = [*tab.barriers(), *(f"too wide, {one}" for one in tab.too_wide()), *tab.wrong]
        tab.page.emulate_media(color_scheme="dark")
        found += [f"dark: {one}" for one in tab.barriers("color-contrast")]
        tab.page.emulate_media(color_scheme="light")
        if tab.page.locator("h1").count() != 1:
            found.append("not one h1")
        tab.wrong.clear()
        faults += [f"{way}: {one}" for one in found]
    assert not faults, "\n".join(faults)


def test_all_pages_in_english(chrome: sync_api.Browser, web: webserver.Web, site: sitemap.Sitemap) -> None:
    """Other words, other widths: looked at once, wide and as on a telephone; colours are those of the German ones."""
    tab = tabs.Tab(chrome, web.url, language="en-GB")
    tab.login("chef", PASSWORD)
    faults = []
    for way in site.pages.values():
        tab.go(way)
        found = [*tab.barriers("wcag2a", "wcag2aa", "wcag21a", "wcag21aa"), *tab.wrong,
                 *(f"too wide, {one}" for one in tab.too_wide())]
        if tab.page.get_attribute("html", "lang") != "en":
            found.append("not in English")
        tab.wrong.clear()
        faults += [f"{way}: {one}" for one in found]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("way", ["/login", "/setup"])
def test_pages_before_the_login(chrome: sync_api.Browser, web: webserver.Web, way: str) -> None:
    tab = tabs.Tab(chrome, web.url)
    tab.go(way)
    assert [*tab.barriers(), *tab.too_wide(), *tab.wrong] == []


def test_by_keyboard(chrome: sync_api.Browser, web: webserver.Web) -> None:
    """Tab first leads past the menu; the log-in needs no mouse."""
    tab = tabs.Tab(chrome, web.url)
    tab.go("/login")
    tab.page.wait_for_function("document.activeElement.name === 'user'")
    tab.page.keyboard.type("meier")
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.type(PASSWORD)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/my/account")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    tab.page.keyboard.press("Enter")
    assert tab.page.url.endswith("#content")
    assert tab.wrong == []


BAD = """<!doctype html><html><head><title>Bad</title></head><body><h1 onclick="alert(1)">Bad</h1>
<img src="/static/none.png"><p style="color: #eee">pale</p><input name="x">
<script>document.title = "?"</script><pre>""" + "wide " * 200 + "</pre></body></html>"
FAULTS = ("html-has-lang (serious)", "image-alt (critical)", "label (critical)", "inline script", "inline style",
          "inline event handler", "404: ", " px: ")


def test_what_is_wrong_is_found(chrome: sync_api.Browser, web: webserver.Web) -> None:
    """The looks at pages are not blind: here is one that has every fault."""
    tab = tabs.Tab(chrome, web.url)
    policy = tab.go("/login").headers["content-security-policy"]
    tab.page.route("**/bad", lambda route: route.fulfill(body=BAD, headers={
        "Content-Type": "text/html", "Content-Security-Policy": policy}))
    tab.go("/bad")
    said = "\n".join([*tab.barriers(), *tab.too_wide(), *tab.wrong])
    assert tab.page.title() == "Bad"
    assert [fault for fault in FAULTS if fault not in said] == [], said
