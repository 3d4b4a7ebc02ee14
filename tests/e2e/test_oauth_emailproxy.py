"""emailproxy gives programs that know only passwords a log-in by token; here at our OAuth2 server, IMAP and SMTP."""

import concurrent.futures
import contextlib
import imaplib
import json
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from tests import ports
from tests.e2e import oauth
from tests.e2e.oauth import House
from tests.e2e.office import DOMAIN, HOST, mail, until

pytestmark = pytest.mark.slow
USER, PASSWORD = f"meier@{DOMAIN}", "only between the program and the proxy"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    pytest.importorskip("emailproxy")
    with oauth.running(tmp_path_factory.mktemp("oauth")) as made:
        yield made


class Proxy:
    """emailproxy at work, without a window."""

    def __init__(self, house: House, client: dict[str, str], flow: str) -> None:
        self.imap, self.smtp, back = ports.free(), ports.free(), ports.free()
        self.config, self.said = house.home / f"proxy-{flow}", house.home / f"proxy-{flow}.log"
        start = "/oauth2/device_authorization" if flow == "device" else "/oauth2/auth"
        self.config.write_text(f"""[Server setup]
[IMAP-{self.imap}]
server_address = {HOST}
server_port = {house.port(993)}
local_address = 127.0.0.1
[SMTP-{self.smtp}]
server_address = {HOST}
server_port = {house.port(465)}
local_address = 127.0.0.1
[Account setup]
[{USER}]
permission_url = {house.at(start)}
token_url = {house.at("/oauth2/token")}
oauth2_scope = offline_access IMAP.AccessAsUser.All SMTP.Send
oauth2_flow = {flow}
redirect_uri = http://localhost:{back}/
client_id = {client["client_id"]}
client_secret = {client["client_secret"] or ""}
""")
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emailproxy", "--no-gui", "--local-server-auth", "--config-file", self.config,
                 "--log-file", house.home / f"proxy-{flow}.full"], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                cwd=house.home, env={"PATH": "/usr/bin:/bin", "HOME": str(house.home), "PYTHONUNBUFFERED": "1",
                                     "SSL_CERT_FILE": str(house.ca)})

    def shows(self, pattern: str) -> str:
        """What it wants its user to see."""
        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.text()
            return re.search(pattern, self.text())
        found = until(look, 60, pattern)
        assert found is not None
        return found[1]

    def text(self) -> str:
        return "".join(path.read_text(errors="replace") for path in (self.said, self.said.with_suffix(".full"))
                       if path.exists())

    def read(self) -> str:
        """The first mail, by a program that has a password."""
        with imaplib.IMAP4(HOST, self.imap, timeout=90) as imap:
            imap.login(USER, PASSWORD)
            imap.select("INBOX", readonly=True)
            return str(imap.fetch("1", "(BODY[HEADER])")[1])


@contextlib.contextmanager
def proxy(house: House, client: dict[str, str], flow: str) -> Iterator[Proxy]:
    made = Proxy(house, client, flow)
    try:
        made.shows("(Initialised|initialised)")
        yield made
    finally:
        made.process.terminate()
        made.process.wait(30)


def test_by_a_browser(house: House) -> None:
    with proxy(house, house.client, "authorization_code") as one, concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(one.read)
        there = one.shows(r"(https://\S+/oauth2/auth\?\S+)")
        back = house.log_in(there)
        until(lambda: knocked(house, back), what="the proxy's own server")
        assert "first" in reading.result(90)
        before = len(house.inbox("schmidt"))
        with smtplib.SMTP(HOST, one.smtp, timeout=60) as smtp:
            smtp.login(USER, PASSWORD)
            smtp.sendmail(USER, [f"schmidt@{DOMAIN}"], mail("by the proxy"))
        until(lambda: len(house.inbox("schmidt")) == before + 1, what="the mail")


def test_by_a_code(house: House) -> None:
    public = json.loads(house.lanmail("client", "add", "meier", "proxy", "--public", "--json"))
    with proxy(house, public, "device") as one, concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(one.read)
        house.type_code(one.shows(r"use code ([A-Z]{4}-[A-Z]{4})"))
        assert "first" in reading.result(90)


def knocked(house: House, back: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return house.browser().get(back, timeout=20).status_code < 500
    return False
