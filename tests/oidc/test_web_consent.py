"""Somebody's own mailbox at a provider, by our pages: added, consented to there, fetched with the token, taken back."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lanmail import config, fetchmail, paths, spool
from lanmail.oauth import store
from tests import browsing, webserver
from tests.browsing import Browser
from tests.oidc import Oidc, mailserver
from tests.oidc.mailserver import MailServer
from tests.oidc.test_mail import MAIL, fetched, once
from tests.oidc.test_refreshing import office
from tests.tokenroot import ADDRESS, Root, Running

pytestmark = pytest.mark.slow
PUBLIC = 'rotation = "strict"'
SECRET = 'rotation = "strict"\nclient_secret = "file:secrets/own"\nredirect_uri = "http://localhost:{port}/oauth2/callback"'


@pytest.fixture
def oidc() -> Iterator[Oidc]:
    with Oidc(life=600) as one:
        yield one


@pytest.fixture
def server(oidc: Oidc) -> Iterator[MailServer]:
    one = MailServer(mailserver.asking(oidc), 1)
    yield one
    one.stop()


@pytest.fixture
async def home(tmp_path: Path, oidc: Oidc, server: MailServer,
               monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Root, webserver.Web]]:
    """An office with pages whose app is at that provider; its mail server is on this machine, which is else refused."""
    monkeypatch.setattr("lanmail.web.api.selfservice._is_here", lambda _host: False)
    root = office(tmp_path / "root", oidc)
    prepare(root.paths)
    async with webserver.serving(root.paths) as web:
        web.url = f"http://localhost:{web.port}"
        yield root, web


def prepare(where: paths.Paths) -> None:
    where.config_file.write_text(where.config_file.read_text() + "[httpd]\nenabled = true\n")
    for name in ("meier", "chef"):
        path = where.accounts / f"{name}.toml"
        path.write_text(f'password = "{browsing.HASH}"\n' + ("administrator = true\n" if name == "chef" else ""))
    for name in paths.SPOOLS:
        for sub in ("tmp", "new", "cur"):
            (where.spool / name / sub).mkdir(parents=True, exist_ok=True)
    spool.queue(where).ensure()


def app(root: Root, oidc: Oidc, server: MailServer, client: str, more: str) -> None:
    root.describe(f'client_id = "{client}"\ntoken_url = "{oidc.url}/token"\nauthorize_url = "{oidc.url}/auth"\n'
                  f'revoke_url = "{oidc.url}/token/revocation"\nuse = ["imap"]\nuserinfo_url = "{oidc.url}/me"\n'
                  f'servers = {{ imap = "127.0.0.1:{server.imap}" }}\n'
                  f'scopes = {{ common = ["openid", "offline_access", "email"], imap = ["mail"] }}\n{more}\n')


async def add(mine: Browser) -> Any:
    page = await mine.go("/my/sources/-add")
    return await mine.send(page, "/my/sources/-add", address=ADDRESS, app="own", name="x")


async def away(mine: Browser, path: str) -> str:
    answer = await asyncio.to_thread(mine.session.get, mine.web.url + path, allow_redirects=False, timeout=20)
    return str(answer.headers["location"])


def interface(root: Root) -> str:
    return config.load_account(root.paths.accounts / "meier.toml").sources["x"].interface


async def arrives(root: Root, server: MailServer) -> None:
    """fetchmail gets in with the token; the certificate of the test's server is said by an administrator."""
    config.edit(root.paths.accounts / "meier.toml", {("sources", "x", "tls_ca"): f"{server.base}/ca.pem"})
    async with Running(root):
        assert await once(fetchmail, root) == os.EX_OK, root.logged()
    assert len(fetched(root)) == 1


async def test_there_and_back(home: tuple[Root, webserver.Web], oidc: Oidc, server: MailServer) -> None:
    root, web = home
    server.put("meier", MAIL)
    app(root, oidc, server, "secret", SECRET.format(port=web.port))
    mine = Browser(web)
    await mine.login()
    page = await add(mine)
    assert (page.title, interface(root)) == (f"Log in for {ADDRESS}", "disabled")
    page = await mine.send(page, "/my/sources/x/-consent")
    there = await away(mine, page.tree.find_class("go")[0].get("href"))
    assert there.startswith(f"{oidc.url}/auth?")
    back = urlsplit(await asyncio.to_thread(oidc.browse, there, ADDRESS))
    assert back.netloc == f"localhost:{web.port}"
    page = await mine.go(f"{back.path}?{back.query}")
    assert (page.url, page.note) == ("/my/sources", f"You are logged in for {ADDRESS}."), page.text
    assert interface(root) == "standard"
    await arrives(root, server)
    page = await mine.send(page, "/my/sources/-token", fills={"do": "revoke"})
    assert page.note.startswith("Taken back at the provider"), page.note
    assert store.Store(root.paths).read("own", ADDRESS) is None


async def test_by_an_address_line(home: tuple[Root, webserver.Web], oidc: Oidc, server: MailServer) -> None:
    root, web = home
    server.put("meier", MAIL)
    app(root, oidc, server, "public", PUBLIC)
    mine = Browser(web, "de")
    await mine.login()
    page = await mine.send(await add(mine), "/my/sources/x/-consent")
    link = next(one for one in page.links() if one.startswith(oidc.url))
    answer = await asyncio.to_thread(oidc.browse, link, ADDRESS)
    assert re.match(r"http://localhost/?\?code=", answer)
    page = await mine.send(page, "/my/sources/x/-answer", answer=answer)
    assert "ist erfolgt" in page.note, page.problems
    await arrives(root, server)


async def test_the_wrong_person(home: tuple[Root, webserver.Web], oidc: Oidc, server: MailServer) -> None:
    """The browser was logged in at the provider as somebody else: nothing counts, and it is said."""
    root, web = home
    app(root, oidc, server, "secret", SECRET.format(port=web.port))
    mine = Browser(web)
    await mine.login()
    page = await mine.send(await add(mine), "/my/sources/x/-consent")
    there = await away(mine, page.tree.find_class("go")[0].get("href"))
    back = urlsplit(await asyncio.to_thread(oidc.browse, there, "chef@firma.example"))
    page = await mine.go(f"{back.path}?{back.query}")
    assert "chef@firma.example" in page.text
    assert "/my/sources/x" in page.links()
    assert interface(root) == "disabled"
    assert store.Store(root.paths).read("own", ADDRESS) is None
