"""An office whose mail programs log in by OAuth2, and the browser of one of its people, played by hand."""

import contextlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session

from tests.e2e.office import DOMAIN, HOST, Office, mail


def hidden(page: requests.Response) -> dict[str, str]:
    """What a form brings along by itself."""
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    return {name: html.unescape(value) for name, value in found}


class House(Office):
    """An office with httpd and a client of meier's."""

    client: dict[str, str]

    def session(self, scope: str) -> OAuth2Session:
        """Authlib's client, as a program uses it; TLS is checked against our CA."""
        made = OAuth2Session(self.client["client_id"], self.client["client_secret"], scope=scope,
                             redirect_uri="http://localhost:8888/", code_challenge_method="S256")
        made.verify = str(self.ca)
        made.trust_env = False
        return made

    def at(self, path: str) -> str:
        return f"https://{HOST}:{self.port(6443)}{path}"

    def browser(self) -> requests.Session:
        """With a memory for cookies, as people have one."""
        made = requests.Session()
        made.verify, made.trust_env = str(self.ca), False
        return made

    def allow(self, browser: requests.Session, page: requests.Response, path: str) -> requests.Response:
        """Name and password, and a yes."""
        return browser.post(self.at(path), allow_redirects=False, data={
            **hidden(page), "user": "meier", "password": self.passwords["meier"], "answer": "allow"})

    def log_in(self, there: str) -> str:
        """The log-in page of a request; where it leads back to."""
        browser = self.browser()
        return self.allow(browser, browser.get(there), "/oauth2/auth").headers["Location"]

    def type_code(self, code: str) -> None:
        """Let in a program that shows this code."""
        browser = self.browser()
        page = browser.post(self.at("/oauth2/device"), data={
            **hidden(browser.get(self.at("/oauth2/device"))), "user_code": code})
        assert self.allow(browser, page, "/oauth2/device").status_code == 200

    def first(self) -> None:
        """meier has one mail, whose subject is "first"."""
        self.put("meier", mail("first", to=f"meier@{DOMAIN}"))
        self.arrived("meier", 1)

    def token(self, scope: str = "IMAP.AccessAsUser.All POP.AccessAsUser.All SMTP.Send") -> dict[str, str]:
        """The log-in in a browser, played by hand."""
        session = self.session(scope)
        verifier = "v" * 50
        there, state = session.create_authorization_url(self.at("/oauth2/auth"), code_verifier=verifier)
        back = parse_qs(urlsplit(self.log_in(there)).query)
        assert back["state"] == [state]
        found = session.fetch_token(self.at("/oauth2/token"), code=back["code"][0], code_verifier=verifier)
        return dict(found)


@contextlib.contextmanager
def running(root: Path) -> Iterator[House]:
    """Started, with meier, schmidt and a client of meier's."""
    made = House(root, **{"httpd.enabled": True})
    made.account("meier")
    made.account("schmidt")
    made.client = json.loads(made.lanmail("client", "add", "meier", "Thunderbird", "--json"))
    made.start()
    made.first()
    try:
        yield made
    finally:
        assert made.stop() == 0
