"""The log-in pages of the OAuth2 server in Chromium: by a code, and with the way back to a program on the same machine.

That way back is what a browser may forbid: our policy must name where the form leads in the end.
"""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from playwright import sync_api

from lanmail.logins import grants
from lanmail.logins.grants import OFFLINE, SCOPES
from tests import webserver
from tests.browser import office, serving, tabs
from tests.browsing import PASSWORD

pytestmark = pytest.mark.slow
SCOPE = " ".join([*SCOPES.values(), OFFLINE])


@pytest.fixture(scope="module")
def chrome() -> Iterator[sync_api.Browser]:
    with tabs.running() as one:
        yield one


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webserver.Web]:
    with serving.httpd(office.lay_out(tmp_path_factory.mktemp("office"))) as one:
        yield one


@pytest.fixture
def client(web: webserver.Web) -> grants.Client:
    return grants.Register(web.paths.state).add_client("meier", office.EVIL, list(SCOPES.values()), public=True)[0]


@contextlib.contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A program that waits for its browser to come back; what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>back</h1>")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def faults(tab: tabs.Tab) -> list[str]:
    return [*tab.barriers(), *tab.too_wide(), *tab.wrong]


def log_in(tab: tabs.Tab, password: str = PASSWORD) -> None:
    tab.page.fill("input[name=user]", "meier")
    tab.page.fill("input[name=password]", password)
    tab.page.click("button[value=allow]")


def test_by_a_code(chrome: sync_api.Browser, web: webserver.Web, client: grants.Client) -> None:
    told = requests.post(f"{web.url}/oauth2/device_authorization", timeout=20, data={
        "client_id": client.id, "scope": SCOPE}).json()
    tab = tabs.Tab(chrome, web.url)
    tab.go("/oauth2/device")
    assert faults(tab) == []
    tab.page.keyboard.type("bbbb bbbb")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector("[role=alert]")
    assert faults(tab) == []
    tab.page.fill("input[name=user_code]", told["user_code"].lower())
    tab.page.click("main button")
    tab.page.wait_for_selector("input[name=password]")
    assert told["user_code"] in tab.page.inner_text("main")
    assert faults(tab) == []
    log_in(tab, "wrong")
    tab.page.wait_for_selector("[role=alert]")
    log_in(tab)
    tab.page.wait_for_selector("[role=status]")
    assert faults(tab) == []
    got = requests.post(f"{web.url}/oauth2/token", timeout=20, data={
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": told["device_code"],
        "client_id": client.id}).json()
    assert grants.verify_token(web.paths.state, got["access_token"], service="imap") == "meier"


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_the_way_back(chrome: sync_api.Browser, web: webserver.Web, client: grants.Client, answer: str) -> None:
    tab = tabs.Tab(chrome, web.url)
    with listening() as (port, asked):
        tab.go("/oauth2/auth?" + urlencode({
            "client_id": client.id, "scope": SCOPE, "response_type": "code", "state": "s",
            "redirect_uri": f"http://localhost:{port}/back", "code_challenge": "c" * 43,
            "code_challenge_method": "S256"}))
        assert faults(tab) == []
        if answer == "allow":
            log_in(tab)
        else:
            tab.page.click("button[value=deny]")
        tab.page.wait_for_url("**/back?*")
    found = parse_qs(urlsplit(next(one for one in asked if one.startswith("/back"))).query)
    assert found["state"] == ["s"]
    assert ("code" in found, found.get("error")) == ((True, None) if answer == "allow" else (False, ["access_denied"]))
    assert tab.wrong == []
