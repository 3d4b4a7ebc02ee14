"""A browser without scripts for tests of the pages: it goes to paths, keeps cookies, fills forms and sends them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import lxml.html
import requests

from lanmail import passwords, paths
from tests import webserver

PASSWORD = "geheim wörtlich"
HASH = passwords.hash(PASSWORD)


@dataclass
class Page:
    """What came back."""

    status: int
    url: str
    text: str
    headers: Any

    @property
    def tree(self) -> Any:
        return lxml.html.fromstring(self.text)

    @property
    def title(self) -> str:
        return " ".join(self.tree.findtext(".//h1").split())

    @property
    def words(self) -> str:
        """What a reader sees of the content."""
        return " ".join(self.tree.find(".//main").text_content().split())

    @property
    def problems(self) -> list[str]:
        return [" ".join(one.text_content().split()) for one in self.tree.find_class("problem")]

    @property
    def note(self) -> str:
        return " ".join(" ".join(one.text_content().split()) for one in self.tree.find_class("note"))

    def form(self, action: str = "") -> Any:
        """The form that goes there, else the first of the content."""
        forms = self.tree.find(".//main").findall(".//form")
        return next(one for one in forms if not action or one.get("action") == action)

    def links(self) -> list[str]:
        return [one.get("href") for one in self.tree.iter("a")]


class Browser:
    """Somebody in front of the pages of a running httpd."""

    def __init__(self, web: webserver.Web, language: str = "en") -> None:
        self.web = web
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Accept-Language"] = language

    async def go(self, path: str, **more: Any) -> Page:
        """GET, on over redirects."""
        return await self._on("GET", path, **more)

    async def send(self, page: Page, action: str = "", *, fills: dict[str, Any] | None = None, button: str = "",
                   **given: Any) -> Page:
        """Send a form of the page with what it holds and what is given; None leaves a field out (an empty box).

        Names that are no words of Python go into `fills`; a button "name=value" is sent along.
        """
        form = page.form(action)
        data: dict[str, Any] = {}
        for name, value in form.form_values():
            data.setdefault(name, []).append(value)
        for name, value in {**given, **(fills or {})}.items():
            data.pop(name, None)
            if value is not None:
                data[name] = value
        if button:
            name, _, value = button.partition("=")
            data[name] = value
        where = form.get("action") or page.url
        return await self._on("POST", where, data=data, headers={"Origin": self.web.url})

    async def post(self, path: str, data: dict[str, Any], **more: Any) -> Page:
        """A form that no page had."""
        return await self._on("POST", path, data=data, **more)

    async def login(self, name: str = "meier", password: str = PASSWORD) -> Page:
        """Log in; the first page."""
        return await self.send(await self.go("/login"), "/login", user=name, password=password)

    async def token(self) -> str:
        """What forms of this session carry."""
        page = await self.go("/my/account")
        return str(page.tree.xpath('//form[@action="/logout"]/input[@name="form"]/@value')[0])

    async def _on(self, method: str, path: str, **more: Any) -> Page:
        answer = await asyncio.to_thread(self.session.request, method, urljoin(self.web.url, path), timeout=20, **more)
        return Page(answer.status_code, answer.url.removeprefix(self.web.url), answer.text, answer.headers)


def lay_out(root: Path, settings: str = "", *, httpd: str = "", **accounts: str) -> paths.Paths:
    """An office for pages: meier, and chef who is postmaster and administrator; both with PASSWORD. More accounts by
    name, with the text of their files."""
    where = webserver.lay_out(root, settings, httpd=httpd)
    for name, text in {"meier": "", "chef": "postmaster = true\nadministrator = true\n", **accounts}.items():
        (where.accounts / f"{name}.toml").write_text(f'password = "{HASH}"\n{text}')
        for sub in ("tmp", "new", "cur"):
            (where.maildirs / name / sub).mkdir(parents=True, exist_ok=True)
    return where
