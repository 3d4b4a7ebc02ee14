"""Our OAuth2 server in a test, with a client of meier's, asked as clients and browsers ask it."""

import base64
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from lanmail import passwords
from lanmail.logins import grants
from tests import webserver
from tests.webserver import Web

PASSWORD = "geheim wörtlich"
HASH = passwords.hash(PASSWORD)
SCOPE = "IMAP.AccessAsUser.All SMTP.Send offline_access"
HERE = "http://localhost:5555/back"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class Office(Web):
    """The server, with a client of meier's; `secret` belongs to it."""

    client: grants.Client
    secret: str
    register: grants.Register

    def query(self, **other: str | None) -> dict[str, str]:
        """A good request, changed; None takes a parameter away."""
        good = {"client_id": self.client.id, "scope": SCOPE, "response_type": "code", "redirect_uri": HERE,
                "state": "xyz &"}
        return {key: value for key, value in {**good, **other}.items() if value is not None}

    async def log_in(self, query: dict[str, str], user: str = "meier", password: str = PASSWORD,
                     **fields: str) -> requests.Response:
        """The page as a browser has it, filled in and sent."""
        page = await self.get("/oauth2/auth?" + urlencode(query))
        assert page.status_code == 200, page.text
        hidden = {name: value.replace("&amp;", "&")
                  for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)}
        return await self.post("/oauth2/auth", data={**hidden, "user": user, "password": password, **fields})

    async def code(self, **other: str | None) -> str:
        answer = await self.log_in(self.query(**other))
        assert answer.status_code == 302, answer.text
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]

    async def exchange(self, code: str | None, **other: str | None) -> requests.Response:
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.client.id,
                "client_secret": self.secret, "redirect_uri": HERE, **other}
        return await self.post("/oauth2/token", data={key: value for key, value in form.items() if value is not None})

    async def tokens(self, **other: str | None) -> dict[str, str]:
        answer = await self.exchange(await self.code(**other))
        assert answer.status_code == 200, answer.text
        found: dict[str, str] = answer.json()
        return found


@contextlib.asynccontextmanager
async def running(root: Path, settings: str = "") -> AsyncIterator[Office]:
    """httpd on it."""
    where = webserver.lay_out(root, settings)
    for name in ("meier", "schmidt"):
        (where.accounts / f"{name}.toml").write_text(f'password = "{HASH}"\n')
    register = grants.Register(where.state)
    scopes = ["IMAP.AccessAsUser.All", "SMTP.Send"]
    client, secret = register.add_client("meier", "Thunder <bird>", scopes, redirect_uris=("https://web.example/cb?a=1",))
    async with webserver.serving(where) as web:
        made = Office(where, web.port)
        made.client, made.secret, made.register = client, secret, register
        yield made
        made.session.close()
