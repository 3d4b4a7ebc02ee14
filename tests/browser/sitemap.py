"""All pages there are: the links of the menus are followed, one example of each path of the application."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import lxml.html
import requests

from lanmail.web import app
from tests.browsing import PASSWORD

PLACES = ("/my/", "/admin/")


@dataclass
class Sitemap:
    """`pages`: path of the application → an address of it. `missing`: those that no link leads to."""

    pages: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # downloads
    moved: set[str] = field(default_factory=set)  # that only lead on
    broken: list[str] = field(default_factory=list)  # links that lead nowhere, with where they stand

    missing: list[str] = field(default_factory=list)


def routes() -> dict[str, re.Pattern[str]]:
    """The paths of all pages for people who are logged in, that a link can lead to."""
    found = {}
    for page in app.PAGES:
        for route in page.router.routes:
            path = getattr(route, "path", "")
            if path.startswith(PLACES) and "GET" in getattr(route, "methods", ()):
                found[path] = re.compile(re.sub(r"\{[^}:]+(:path)?\}", lambda one: ".+" if one[1] else "[^/]+", path))
    return found


def look(url: str, user: str, *, more: tuple[str, ...] = ()) -> Sitemap:
    """Follow links from the first page on, and from those in `more`."""
    known, site = routes(), Sitemap()
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept-Language"] = "de"
        session.post(f"{url}/login", data={"user": user, "password": PASSWORD}, headers={"Origin": url}, timeout=20)
        ways = [(one, "") for one in ("/my/account", "/admin/status", *more)]
        seen: set[str] = set()
        for way, source in ways:  # grows while it is walked
            path = urlsplit(way).path
            route = _route(known, path)
            if route in site.pages or route in site.files or (way in seen):
                continue
            seen.add(way)
            answer = session.get(url + way, timeout=20, allow_redirects=False)
            if answer.is_redirect:
                site.moved.add(route)
                ways.append((answer.headers["location"], way))
            elif answer.status_code >= 400:
                site.broken += [f"{way}: {answer.status_code}, linked from {source}"] if source else []
            elif "text/html" not in answer.headers.get("content-type", ""):
                site.files[route] = way
            else:
                site.pages[route] = way
            ways += [(there, way) for there in links(answer) if there not in seen]
    there = {*site.pages, *site.files, *site.moved}
    site.missing = sorted(path for path in known if path not in there)
    return site


def links(answer: requests.Response) -> Iterator[str]:
    """Where a page leads inside our places, queries and all."""
    if "text/html" not in answer.headers.get("content-type", "") or not answer.text.strip():
        return
    for one in lxml.html.fromstring(answer.text).iter("a"):
        there = urlsplit(urljoin(answer.url, one.get("href") or ""))
        if there.netloc == urlsplit(answer.url).netloc and there.path.startswith(PLACES):
            yield there.path + (f"?{there.query}" if there.query else "")


def _route(known: dict[str, re.Pattern[str]], path: str) -> str:
    """The path of the application; those without places to fill in come first."""
    for route, pattern in sorted(known.items(), key=lambda one: one[0].count("{")):
        if pattern.fullmatch(path):
            return route
    return path
