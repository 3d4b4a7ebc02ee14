"""The certified authorization server oidc-provider as a peer; `npm ci --prefix tests/oidc` puts it there (as .ci/run).

    with Oidc(life=60, rotate=True) as oidc:
        grant = oidc.consent("meier@firma.example")     what the token endpoint gave for a code
        oidc.faults({"kind": "429", "seconds": 2})      for the next token requests; see provider.mjs
        oidc.log()                                      what came to the token endpoint

Clients: public (no secret), secret, basic (SECRET in the form, in a header), certificate (with `jwks`), dovecot
(introspection only). LANMAIL_OIDC names another directory with a node_modules.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests

from tests import ports

HERE = Path(__file__).parent
SECRET = "a~b+c d&e"
SCOPE = "openid offline_access email mail"
CALLBACK = {"public": "http://localhost", "secret": "http://localhost/callback", "basic": "http://localhost/callback"}


class Oidc:
    """One authorization server on loopback."""

    def __init__(self, *, life: int = 60, rotate: bool = True, jwks: dict[str, Any] | None = None) -> None:
        node, home = shutil.which("node"), Path(os.environ.get("LANMAIL_OIDC", HERE))
        if node is None or not (home / "node_modules" / "oidc-provider").is_dir():
            pytest.skip("no oidc-provider here: npm ci --prefix tests/oidc (Node.js 20 or newer)")
        self.port = ports.free()
        self.url = f"http://localhost:{self.port}"
        wish = json.dumps({"port": self.port, "life": life, "rotate": rotate, "jwks": jwks})
        program = HERE / "provider.mjs"
        if home != HERE:  # modules are looked for beside the program
            program = home / "provider.mjs"
            shutil.copy(HERE / "provider.mjs", program)
        self._process = subprocess.Popen([node, str(program), wish], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> "Oidc":
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("ready"):
            self._process.kill()
            pytest.skip(f"oidc-provider does not start: {self._process.communicate()[1][-300:]}")
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def log(self) -> list[dict[str, Any]]:
        """Each request to the token endpoint: grant, client, status, error, fault."""
        return requests.get(f"{self.url}/test/log", timeout=30).json()

    def refreshes(self) -> list[dict[str, Any]]:
        """Those that spent a refresh token."""
        return [one for one in self.log() if one.get("grant") == "refresh_token"]

    def faults(self, *wished: dict[str, Any]) -> None:
        """One for each of the next token requests; {} is none."""
        requests.post(f"{self.url}/test/faults", json=list(wished), timeout=30).raise_for_status()

    def revoke(self, account: str = "") -> None:
        """As a user, or his administrator, does on the provider's pages."""
        requests.post(f"{self.url}/test/revoke", json={"account": account}, timeout=30).raise_for_status()

    def authorize_url(self, client: str = "public", **more: str) -> tuple[str, str]:
        """(URL for a browser, the verifier that belongs to it)."""
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {"client_id": client, "response_type": "code", "redirect_uri": CALLBACK[client], "scope": SCOPE,
                 "state": "s", "prompt": "consent", "code_challenge": challenge, "code_challenge_method": "S256"} | more
        return requests.Request("GET", f"{self.url}/auth", params=query).prepare().url or "", verifier

    def consent(self, account: str, client: str = "public") -> dict[str, Any]:
        """The whole of a consent: log in, consent, hand the code in."""
        url, verifier = self.authorize_url(client)
        code = parse_qs(urlsplit(self.browse(url, account)).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK[client],
                "code_verifier": verifier, "client_id": client}
        if client != "public":
            form["client_secret"] = SECRET
        answer = requests.post(f"{self.url}/token", data=form, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def browse(self, url: str, account: str) -> str:
        """Go through the pages as somebody with a browser; the URL that the provider sends him back to."""
        with requests.Session() as browser:
            answer = browser.get(url, allow_redirects=False, timeout=30)
            for _ in range(20):
                if answer.is_redirect:
                    there = urljoin(url, answer.headers["location"])
                    if not there.startswith(self.url):
                        return there
                    answer = browser.get(there, allow_redirects=False, timeout=30)
                    continue
                assert answer.status_code == 200, answer.text[:500]
                action = re.search(r'action="([^"]+)"', answer.text)
                fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
                assert action, answer.text[:500]
                form = fields | {"login": account, "password": "any"}
                answer = browser.post(urljoin(url, action[1]), data=form, allow_redirects=False, timeout=30)
        raise AssertionError("the provider's pages lead nowhere")
