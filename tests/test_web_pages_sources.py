"""The pages about external mailboxes, the log-in at a provider, and apps."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.incoming import Source
from lanmail.oauth import store
from lanmail.oauth.apps import App
from lanmail.oauth.store import Access, Store
from lanmail.secret import Secret
from lanmail.sources import explain, place, providers, status
from lanmail.web.api import selfservice
from lanmail.web.pages import apps, sources
from lanmail.web.words import app as app_words
from lanmail.web.words import source as source_words
from tests import browsing, webserver
from tests.browsing import Browser
from tests.pop3peer import Peer
from tests.provider import Mailserver, Provider, granted, id_token
from tests.test_cli_oauth import make

EVA = "eva@firma.example"
EVIL = '"><svg onload=alert(1)>'
OWN = '[sources.gmx]\ninterface = "standard"\nhost = "imap.gmx.net"\nuser = "meier@gmx.de"\n' \
      'password = "file:secrets/source-meier-gmx"\n'


@pytest.fixture(autouse=True)
def _no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfservice, "addresses", lambda _host: [])


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, meier=OWN, closed="self_service = false\n")
    async with webserver.serving(where) as made:
        yield made


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(token=[granted(id_token=id_token(email=EVA))]) as found:
        yield found


async def browser(web: webserver.Web, name: str = "meier", language: str = "en") -> Browser:
    made = Browser(web, language)
    await made.login(name)
    return made


def source(web: webserver.Web, name: str, account: str = "meier") -> Any:
    return config.load_account(web.paths.accounts / f"{account}.toml").sources.get(name)


async def test_what_there_is(web: webserver.Web) -> None:
    status.save(web.paths, "meier", "gmx", status.Status(
        tried=time.time(), failures=1, refused=1, error=f"log-in as meier@gmx.de refused: {EVIL}", fetched=7))
    page = await (await browser(web)).go("/my/sources")
    assert page.title == "External mailboxes"
    assert "log-in refused" in page.words
    assert "User name or password is wrong" in page.words
    assert "<svg" not in page.text
    german = await browser(web, language="de")
    page = await german.go("/my/sources")
    assert "Anmeldung abgelehnt" in page.words
    assert "Benutzername oder Passwort ist falsch" in page.words
    page = await german.go("/my/sources/gmx")
    assert "Das Abrufen muss im Webmail von GMX erlaubt werden" in page.words
    assert "<svg" not in page.text
    assert EVIL in page.tree.text_content()


async def test_a_mailbox_is_added_tried_changed_and_removed(web: webserver.Web, monkeypatch: Any) -> None:
    monkeypatch.setattr("lanmail.web.api.selfservice.check", lambda _changes: None)
    monkeypatch.setattr("lanmail.web.api.selfservice.server", lambda _loaded, _own: None)
    mine = await browser(web)
    async with Peer([b"From: x\r\n\r\nhi\r\n"], "UIDL", "USER", script={"PASS": "-ERR [AUTH] no"}) as peer:
        page = await mine.go("/my/sources/-add")
        there = {"address": "me@far.example", "password": "geheim", "protocol": "pop3", "host": "127.0.0.1",
                 "port": str(peer.port), "name": "far"}
        page = await mine.send(page, "/my/sources/-add", fills=there | {"tls": "auto"})
        assert page.status == 400
        assert page.problems
        assert "geheim" not in page.text
        assert page.tree.get_element_by_id("address").get("value") == "me@far.example"
        assert source(web, "far") is None
        page = await mine.send(page, "/my/sources/-add", untested="yes", password="geheim")
        assert page.note == "me@far.example is fetched from now on."
    (web.paths.accounts / "meier.toml").write_text(
        (web.paths.accounts / "meier.toml").read_text() + '\ntls = "none"\n')  # the last table is the new one
    async with Peer([b"From: x\r\n\r\nhi\r\n"], "UIDL", "USER") as peer:
        config.edit(web.paths.accounts / "meier.toml", {("sources", "far", "port"): peer.port})
        page = await mine.go("/my/sources/far")
        page = await mine.send(page, "/my/sources/far/-test")
        assert page.title.startswith("It works")
        assert "Mails there" in page.words
    page = await mine.go("/my/sources/far")
    page = await mine.send(page, "/my/sources/far", every="15m", fills={"folders": "INBOX\nBüro"})
    assert page.note == "Saved."
    assert (source(web, "far").every, source(web, "far").folders) == (900, ["INBOX", "Büro"])
    page = await mine.send(page, "/my/sources/far/-fetch")
    assert "is being fetched" in page.note
    assert ("meier", "far") in place.requested(web.paths)
    page = await mine.go("/my/sources/far/-remove")
    page = await mine.send(page, "/my/sources/far/-remove")
    assert page.note == "far is no longer fetched."
    assert source(web, "far") is None


async def test_wrong_values_are_told_at_their_field(web: webserver.Web) -> None:
    mine = await browser(web, language="de")
    page = await mine.go("/my/sources/gmx")
    page = await mine.send(page, "/my/sources/gmx", every="oft", max_size="20MB")
    assert (page.status, page.problems) == (400, ["Schreiben Sie eine Dauer wie 30s, 5m, 12h oder 3d."])
    assert page.tree.get_element_by_id("f-every").get("value") == "oft"
    assert page.tree.get_element_by_id("f-max_size").get("value") == "20MB"
    page = await mine.send(page, "/my/sources/gmx", every="5m", host="evil.example")
    assert "Passwort (noch einmal)" in page.problems[0]
    assert source(web, "gmx").host == "imap.gmx.net"
    page = await mine.send(page, "/my/sources/gmx", every="5m", host="127.0.0.1", password="x")
    assert "Administrator" in page.problems[0]


async def test_two_at_once_overwrite_nothing(web: webserver.Web) -> None:
    one, two = await browser(web), await browser(web, "chef")
    mine = await one.go("/my/sources/gmx")
    theirs = await two.go("/admin/accounts/meier/sources/gmx")
    assert (await two.send(theirs, "/admin/accounts/meier/sources/gmx", every="9m")).status == 200
    assert (await one.send(mine, "/my/sources/gmx", every="8m")).status == 400
    assert source(web, "gmx").every == 540


async def test_on_and_off(web: webserver.Web) -> None:
    mine = await browser(web)
    token = await mine.token()
    for word, expected in (("off", "disabled"), ("on", "standard")):
        await mine.post("/my/sources/gmx/-switch", {"form": token, "to": word}, headers={"Origin": web.url})
        assert source(web, "gmx").interface == expected


async def test_all_mail_once_more(web: webserver.Web) -> None:
    directory = place.directory(web.paths, "meier", "gmx")
    directory.mkdir(parents=True)
    (directory / "x.uids").write_text("1\n2\n3\n")
    mine = await browser(web)
    page = await mine.go("/my/sources/gmx/-forget")
    assert "3 mails" in page.words
    page = await mine.send(page, "/my/sources/gmx/-forget")
    assert page.note.startswith("3 mails are forgotten")


async def test_whose_pages_these_are(web: webserver.Web) -> None:
    mine = await browser(web)
    for path in ("/admin/accounts/chef/sources", "/admin/sources", "/admin/apps", "/admin/apps/-add"):
        assert (await mine.go(path)).status == 403
    closed = await browser(web, "closed")
    page = await closed.go("/my/sources")
    assert "The administrator makes changes here." in page.words
    token = await closed.token()
    page = await closed.post("/my/sources/-add", {"form": token, "address": "x@gmx.de", "password": "x", "protocol":
                             "imap", "untested": "yes"}, headers={"Origin": web.url})
    assert page.status == 400
    assert source(web, "gmx", "closed") is None
    assert (await mine.go("/my/sources/none")).status == 404
    for kind in ("-test", "-fetch", "-remove", "-forget", "-consent", "-answer"):
        assert (await mine.post(f"/my/sources/gmx/{kind}", {}, headers={"Origin": web.url})).status == 403
    assert source(web, "gmx") is not None


async def test_administrators_have_more_fields(web: webserver.Web) -> None:
    mine, office = await browser(web), await browser(web, "chef")
    assert "f-proxy" not in (await mine.go("/my/sources/gmx")).text
    page = await office.go("/admin/accounts/meier/sources/gmx")
    page = await office.send(page, "/admin/accounts/meier/sources/gmx", proxy="http://proxy.lan:3128",
                             proxy_password="geheim")
    assert page.note == "Saved."
    assert source(web, "gmx").proxy == "http://proxy.lan:3128"
    assert "geheim" not in page.text
    assert "proxy.lan" not in (await mine.go("/my/sources/gmx")).text


async def test_the_whole_office(web: webserver.Web) -> None:
    (web.paths.accounts / "chef.toml").write_text((web.paths.accounts / "chef.toml").read_text() + OWN)
    (web.paths.accounts / "broken.toml").write_text("what = \n")
    status.save(web.paths, "meier", "gmx", status.Status(tried=time.time(), stopped=True, failures=5, error="refused"))
    office = await browser(web, "chef", "de")
    page = await office.go("/admin/sources")
    assert "broken" in page.words
    rows = page.tree.xpath("//tbody/tr")
    assert len(rows) == 2
    assert "angehalten" in rows[0].text_content()
    page = await office.go("/admin/sources?only=wrong")
    assert len(page.tree.xpath("//tbody/tr")) == 1


# log-ins at providers

async def test_consent_there_and_back(web: webserver.Web, provider: Provider) -> None:
    with Mailserver() as mail:
        mail.good = {EVA: "access-1"}
        make(web.paths, provider, redirect_uri=f"{web.url}/oauth2/callback", use=["imap", "smtp"],
             servers={"imap": "imap.provider.example:993", "smtp": f"localhost:{mail.port}"})
        mine = await browser(web)
        page = await mine.send(await mine.go("/my/sources/-add"), "/my/sources/-add", address=EVA, app="test", name="x")
        assert page.note == "Added. Now log in at the provider."
        assert source(web, "x").interface == "disabled"
        page = await mine.send(page, "/my/sources/x/-consent")
        assert "your consent at test" in page.text
        state = await _state(mine, page.tree.find_class("go")[0].get("href"))
        page = await mine.go(f"/oauth2/callback?code=the-code-123&state={state}")
    assert (page.url, page.note) == ("/my/sources", f"You are logged in for {EVA}.")
    assert source(web, "x").interface == "standard"
    page = await mine.send(page, "/my/sources/-token", fills={"do": "sign_out"})
    assert "Signed out" in page.note
    assert Store(web.paths).read("test", EVA) is None


async def _state(who: Browser, path: str) -> str:
    import asyncio

    answer = await asyncio.to_thread(who.session.get, who.web.url + path, allow_redirects=False, timeout=20)
    found = re.search(r"state=([\w-]+)", answer.headers["location"])
    assert found
    return found[1]


async def test_consent_by_an_address_line(web: webserver.Web, provider: Provider) -> None:
    with Mailserver() as mail:
        mail.good = {EVA: "access-1"}
        make(web.paths, provider, use=["imap", "smtp"],
             servers={"imap": "imap.provider.example:993", "smtp": f"localhost:{mail.port}"})
        mine = await browser(web, language="de")
        page = await mine.send(await mine.go("/my/sources/-add"), "/my/sources/-add", address=EVA, app="test", name="x")
        page = await mine.send(page, "/my/sources/x/-consent")
        link = next(one for one in page.links() if one.startswith(provider.url))
        found = re.search(r"state=([\w-]+)", link)
        assert found
        bad = await mine.send(page, "/my/sources/x/-answer", answer="http://localhost/?error=access_denied&state=x")
        assert bad.status == 400
        assert bad.problems[0].startswith("So hat es nicht geklappt")
        page = await mine.send(page, "/my/sources/x/-answer", answer=f"http://localhost/?code=the-code-123&state={found[1]}")
    assert "ist erfolgt" in page.note
    assert source(web, "x").interface == "standard"


async def test_a_link_for_somebody_else(web: webserver.Web, provider: Provider) -> None:
    make(web.paths, provider, redirect_uri=f"{web.url}/oauth2/callback", servers={"imap": "imap.provider.example:993"})
    office = await browser(web, "chef")
    there = "/admin/accounts/meier/sources"
    page = await office.send(await office.go(f"{there}/-add"), f"{there}/-add", address=EVA, app="test", name="x")
    page = await office.send(page, f"{there}/x/-consent", send="yes")
    assert f"{web.url}/oauth2/start/" in page.words
    page = await office.send(await office.go("/admin/apps/test"), "/admin/apps/test/-login", address=EVA)
    assert f"{web.url}/oauth2/start/" in page.words


async def test_apps_from_their_making_to_their_end(web: webserver.Web) -> None:
    office = await browser(web, "chef")
    page = await office.go("/admin/apps")
    assert "None yet." in page.words
    page = await office.send(await office.go("/admin/apps/-add"), "/admin/apps/-add", name="google", preset="google",
                             client_id="4711", client_secret="GOCSPX-geheim")
    assert page.note.startswith("The app is made.")
    assert "geheim" not in page.text
    page = await office.send(page, "/admin/apps/google", client_id="4712", fills={"use": ["imap"]})
    assert page.note == "Saved."
    text = (web.paths.conf / "apps/google.toml").read_text()
    assert ('client_id = "4712"' in text, 'use = ["imap"]' in text) == (True, True)
    page = await office.send(page, "/admin/apps/google", fills={"client_secret_expires": "soon"})
    assert (page.status, len(page.problems)) == (400, 1)
    kept = Store(web.paths)
    kept.prepare()
    kept.save(store.Record("google", EVA, account="meier", granted=time.time(), refresh=Secret("r")))
    kept.publish(Access("google", EVA, issued=time.time(), expires=time.time() + 3600, secret=Secret("t")))
    page = await office.send(await office.go("/admin/apps"), "/admin/apps/-token", button="do=refresh",
                             one=f"google {EVA}")
    assert "is being renewed" in page.note
    page = await office.go("/admin/apps/google/-remove")
    assert EVA in page.words
    page = await office.send(page, "/admin/apps/google/-remove")
    assert page.note == "The app google is removed."
    page = await office.send(await office.go("/admin/apps/-add"), "/admin/apps/-add", name="../x", preset="google",
                             client_id=EVIL)
    assert page.status == 400
    assert "<svg" not in page.text


# words

def test_every_key_has_words() -> None:
    assert source_words.WORDS.keys() == Source.model_fields.keys()
    assert all(one.sentence for one in source_words.WORDS.values())
    assert {*apps.KEYS, *apps.URLS} == app_words.WORDS.keys()
    assert app_words.WORDS.keys() <= App.model_fields.keys()
    shown = {key for _, _, keys in sources.GROUPS + sources.OFFICE for key in keys}
    assert shown == Source.model_fields.keys()


def test_every_advice_is_german_too() -> None:
    for one in providers.known().values():
        assert bool(one.advice) == bool(one.german)
    for text in ("connection refused", "certificate has expired", "log-in as x refused", "timed out"):
        english, german = (explain.advice(text, "", language) for language in ("en", "de"))
        assert len(english) == len(german) == 1
        assert english != german
