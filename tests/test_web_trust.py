"""All pages and methods, whatever there will be: who may not see a page cannot send its forms either, no form counts
without its word, hostile words of mails and people come out as text, nothing secret comes out, calls come from here."""

from collections.abc import Iterator

import pytest
import requests

from lanmail.logins import apikeys
from lanmail.web import app
from tests import webserver
from tests.browser import office, serving, sitemap
from tests.browsing import PASSWORD

SECRETS = ("$argon2", "SCRAM-SHA-256$", "refresh word", "word of the mailbox")
FILLS = {"name": "meier", "account": "meier", "key": "own", "id": "1.x", "client": "0" * 32, "file": "x"}
PUBLIC = {"/", "/login", "/language/{language}"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webserver.Web]:
    with serving.httpd(office.lay_out(tmp_path_factory.mktemp("office"))) as one:
        yield one


def session(web: webserver.Web, user: str = "") -> requests.Session:
    """Somebody's browser."""
    made = requests.Session()
    made.trust_env = False
    if user:
        given = {"user": user, "password": PASSWORD}
        made.post(f"{web.url}/login", data=given, headers={"Origin": web.url}, timeout=20)
        assert made.cookies, "not logged in"
    return made


def ways(verb: str, place: str = "/") -> list[str]:
    """The addresses of all pages that take this method."""
    found = []
    for page in app.PAGES:
        for route in page.router.routes:
            path = getattr(route, "path", "")
            if path.startswith(place) and verb in getattr(route, "methods", ()) and path not in PUBLIC:
                for name in getattr(route, "param_convertors", {}):
                    path = path.replace(f"{{{name}}}", FILLS.get(name, "x")).replace(f"{{{name}:path}}", "x")
                found.append(path)
    return sorted(set(found))


@pytest.mark.parametrize("user", ["chef", "meier"])
def test_words_are_text_and_secrets_stay(web: webserver.Web, user: str) -> None:
    site = sitemap.look(web.url, user)
    assert len(site.pages) > 3
    one = session(web, user)
    for way in site.pages.values():
        answer = one.get(web.url + way, timeout=20)
        assert office.EVIL not in answer.text, way
        assert "<svg onload" not in answer.text, way
        assert "<script>" not in answer.text, way
        assert [secret for secret in SECRETS if secret in answer.text] == [], way
        assert answer.headers["content-type"] == "text/html; charset=utf-8", way
        assert answer.headers["content-security-policy"].startswith("default-src 'none';"), way
        assert "unsafe" not in answer.headers["content-security-policy"], way
        assert answer.headers["cache-control"] == "no-store", way


def test_hostile_words_were_there(web: webserver.Web) -> None:
    """Else the test before says nothing."""
    one = session(web, "meier")
    assert "&lt;svg onload" in one.get(f"{web.url}/my/account", timeout=20).text


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_administrators_pages_are_for_administrators(web: webserver.Web, verb: str) -> None:
    one = session(web, "meier")
    found = ways(verb, "/admin/")
    assert found
    for way in found:
        answer = one.request(verb, web.url + way, headers={"Origin": web.url}, timeout=20, allow_redirects=False)
        assert answer.status_code == 403, way


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_nobody_sees_a_page_without_a_login(web: webserver.Web, verb: str) -> None:
    one = session(web)
    for way in ways(verb, "/my/") + ways(verb, "/admin/"):
        answer = one.request(verb, web.url + way, headers={"Origin": web.url}, timeout=20, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login"), way


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_no_form_counts_that_is_not_ours(web: webserver.Web, headers: dict[str, str]) -> None:
    """Without the word of the session, and with it from another site."""
    one = session(web, "chef")
    page = one.get(f"{web.url}/my/account", timeout=20).text
    word = page.partition('name="form" value="')[2].partition('"')[0]
    assert word
    for way in ways("POST"):
        sent = {"form": word} if headers else {}
        answer = one.post(web.url + way, data=sent, headers=headers, timeout=20, allow_redirects=False)
        assert answer.status_code == 403, way
    assert one.get(f"{web.url}/my/account", timeout=20).url.endswith("/my/account"), "still logged in"


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-origin"}, 200),
])
def test_calls_from_pages_elsewhere_are_not_taken(web: webserver.Web, headers: dict[str, str], status: int) -> None:
    """Not even with a password that the browser remembers."""
    answer = requests.get(f"{web.url}/api/v1/account.get?name=meier", headers=headers, timeout=20,
                          auth=("meier", PASSWORD.encode()))
    assert answer.status_code == status
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_a_name_as_long_as_a_body_may_be(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "long", "admin", [])
    for length, status in ((900_000, 400), (1_100_000, 413)):
        answer = requests.post(f"{web.url}/api/v1/account.create", json={"name": "x" * length, "password": "x"},
                               headers={"Authorization": f"Bearer {key}"}, timeout=20)
        assert answer.status_code == status
        assert len(answer.text) < 1000
