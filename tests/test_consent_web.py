"""oauth/web.py: the consent by pages of a server of ours, from a mailed link to the answer."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import config, paths
from lanmail.oauth import web
from lanmail.oauth.pending import Wish
from lanmail.oauth.store import Store
from lanmail.settings import Settings
from tests.provider import Mailserver, Provider, granted, id_token
from tests.test_cli_oauth import EVA, make

BASE = "https://mail.firma.example"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    found = paths.of_root(tmp_path)
    found.accounts.mkdir(parents=True)
    found.config_file.write_text(config.sample())
    Store(found).prepare()
    return found


@pytest.fixture
def settings(where: paths.Paths) -> Settings:
    return config.load(where)


@pytest.fixture
def provider(where: paths.Paths) -> Iterator[Provider]:
    with Provider(token=[granted(id_token=id_token(email=EVA))]) as found:
        make(where, found, title="Test & Co", redirect_uri=f"{BASE}/oauth2/callback")
        yield found


def begun(where: paths.Paths) -> str:
    """A link that was followed; the state that the provider was given."""
    word = web.link(where, BASE, Wish("test", EVA)).rpartition("/")[2]
    location = dict(web.start(where, word, "en").headers)["Location"]
    found = re.search(r"state=([\w-]+)", location)
    assert found
    return found[1]


def test_a_link_shows_who_wants_what_and_then_leads_on_once(where: paths.Paths, provider: Provider) -> None:
    link = web.link(where, BASE + "/", Wish("test", EVA))
    assert link.startswith(f"{BASE}/oauth2/start/")
    word = link.rpartition("/")[2]
    for tongue, text in (("de", "Zustimmung bei Test &amp; Co"), ("en", "your consent at Test &amp; Co")):
        page = web.look(where, word, tongue)
        assert page.status == 200
        assert text in page.body.decode()
        assert f'href="/oauth2/start/{word}/go"' in page.body.decode()
    page = web.start(where, word, "en")
    headers = dict(page.headers)
    assert page.status == 303
    assert headers["Location"].startswith(f"{provider.url}/authorize?")
    assert "redirect_uri=https%3A%2F%2Fmail.firma.example%2Foauth2%2Fcallback" in headers["Location"]
    assert headers["Cache-Control"] == "no-store"
    for again in (web.start(where, word, "en"), web.look(where, word, "en"), web.look(where, "guessed", "en")):
        assert (again.status, b"no longer good" in again.body) == (410, True)


async def test_the_answer_counts_and_may_be_loaded_again(where: paths.Paths, settings: Settings,
                                                         provider: Provider) -> None:
    state = begun(where)
    for _ in range(2):
        page = await web.callback(where, settings, f"code=the-code&state={state}", "en")
        assert (page.status, b"You are logged in" in page.body) == (200, True)
    assert len(provider.requests) == 1, "a code is handed in once"
    assert Store(where).read("test", EVA) is not None


async def test_two_at_the_same_time(where: paths.Paths, settings: Settings, provider: Provider) -> None:
    state = begun(where)
    answers = await asyncio.gather(*(
        web.callback(where, settings, f"code=the-code&state={state}", "en") for _ in range(4)))
    assert sum(b"You are logged in" in page.body for page in answers) == 1
    assert len(provider.requests) == 1


@pytest.mark.parametrize("query", [
    "", "code=1", "code=1&state=guessed", "error=access_denied&state=x", "code=1&code=2"])
async def test_answers_to_nothing(where: paths.Paths, settings: Settings, provider: Provider, query: str) -> None:
    begun(where)
    page = await web.callback(where, settings, query, "de")
    assert (page.status, "nicht erwartet" in page.body.decode()) == (400, True)
    assert not provider.requests


async def test_what_went_wrong_is_shown(where: paths.Paths, settings: Settings, provider: Provider) -> None:
    page = await web.callback(where, settings, f"error=access_denied&state={begun(where)}", "en")
    assert b"access_denied" in page.body
    provider.script["/token"] = [granted(id_token=id_token(email="max@firma.example"))]
    page = await web.callback(where, settings, f"code=the-code&state={begun(where)}", "en")
    assert b"max@firma.example logged in" in page.body
    provider.script["/token"] = [granted()]
    with Mailserver() as mail:
        make(where, provider, servers={"smtp": f"localhost:{mail.port}"})
        page = await web.callback(where, settings, f"code=the-code&state={begun(where)}", "en")
    assert b"no mail server takes the token" in page.body
    (where.conf / "apps" / "test.toml").unlink()
    assert Store(where).read("test", EVA) is None
