"""oauth_app.*, oauth_token.* and external.authorize: apps, log-ins, and whose browser may end one."""

import re
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.logins import apikeys
from lanmail.oauth import store
from lanmail.oauth.store import Access, Store
from lanmail.secret import Secret
from lanmail.sources import place
from tests import browsing, webserver
from tests.browsing import Browser
from tests.provider import Mailserver, Provider, granted, id_token
from tests.test_cli_oauth import make
from tests.test_web_api import Api

EVA = "eva@firma.example"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = browsing.lay_out(tmp_path)
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(token=[granted(id_token=id_token(email=EVA))]) as found:
        yield found


def grant(api: Api, address: str = EVA, account: str = "", app: str = "test") -> None:
    kept = Store(api.paths)
    kept.prepare()
    kept.save(store.Record(app, address, account=account, granted=time.time(), refresh=Secret("refresh-geheim")))
    kept.publish(Access(app, address, issued=time.time(), expires=time.time() + 3600, secret=Secret("access-geheim")))


async def test_an_app_from_its_making_to_its_end(api: Api) -> None:
    made = await api.result("oauth_app.create", name="google", preset="google", client_id="4711",
                            settings={"client_secret": {"secret": "GOCSPX-geheim"}})
    assert (made["title"], made["secret_set"], made["client_secret"]) == ("Google", True, None)
    secret = api.paths.secrets / "oauth-google"
    assert (secret.read_text(), stat.S_IMODE(secret.stat().st_mode)) == ("GOCSPX-geheim\n", 0o600)
    assert await api.error("oauth_app.create", name="google", preset="google", client_id="1") == (409, "exists")
    changed = await api.result("oauth_app.modify", name="google", settings={"client_id": "4712", "use": ["imap"]})
    assert (changed["settings"]["client_id"], changed["settings"]["use"]) == ("4712", ["imap"])
    assert await api.error("oauth_app.modify", name="google", settings={"use": ["ftp"]}) == (400, "invalid_field")
    assert await api.error("oauth_app.modify", name="google", settings={"x": 1},
                           if_version="0") == (400, "invalid_field")
    assert await api.error("oauth_app.modify", name="google", settings={"client_id": "1"},
                           if_version="0") == (409, "conflict")
    grant(api, app="google")
    assert (await api.result("oauth_app.list", "read"))["apps"][0]["addresses"] == [EVA]
    assert await api.error("oauth_app.delete", name="google") == (422, "refused_by_rule")
    assert (await api.result("oauth_app.delete", name="google", force=True))["again"] == [EVA]
    assert not secret.exists()
    record = Store(api.paths).read("google", EVA)
    assert record is not None
    assert record.state == store.NEEDS_CONSENT
    assert "geheim" not in "".join(path.read_text() for path in (api.paths.state / "audit").iterdir())


@pytest.mark.parametrize("name", ["../x", "A", "", "access.keys", "x/y", "x" * 65])
async def test_names_that_cannot_be(api: Api, name: str) -> None:
    assert (await api.error("oauth_app.create", name=name, preset="google", client_id="1"))[0] == 400


async def test_an_app_that_describes_itself(api: Api, provider: Provider) -> None:
    provider.script["/meta"] = [(200, {"issuer": provider.url, "authorization_endpoint": f"{provider.url}/authorize",
                                       "token_endpoint": f"{provider.url}/token"})]
    made = await api.result("oauth_app.create", name="own", metadata=f"{provider.url}/meta", client_id="us",
                            settings={"scopes": {"imap": ["mail"]}})
    assert made["settings"]["token_url"] == f"{provider.url}/token"
    provider.script["/meta"] = [(404, b"")]
    assert (await api.error("oauth_app.create", name="other", metadata=f"{provider.url}/meta",
                            client_id="us"))[0] == 400


async def test_apps_are_for_administrators(api: Api, provider: Provider) -> None:
    make(api.paths, provider)
    for method, more in (("list", {}), ("get", {"name": "test"}), ("delete", {"name": "test"}), ("presets", {}),
                         ("create", {"name": "x"}), ("modify", {"name": "test", "settings": {}}),
                         ("authorize_url", {"app": "test", "address": EVA})):
        assert await api.error(f"oauth_app.{method}", "meier", **more) == (403, "forbidden")
    for method, more in (("delete", {"name": "test"}), ("authorize_url", {"app": "test", "address": EVA})):
        assert await api.error(f"oauth_app.{method}", "read", **more) == (403, "forbidden")


async def test_log_ins_are_told_renewed_and_ended(api: Api, provider: Provider) -> None:
    make(api.paths, provider, revoke_url=f"{provider.url}/revoke")
    provider.script["/revoke"] = [(500, b"no"), (200, b"")]
    for address in (EVA, "max@firma.example", "leo@firma.example"):
        grant(api, address)
    told = (await api.result("oauth_token.list", "read"))["tokens"]
    assert next((one["address"], one["state"], one["revocable"]) for one in told) == (EVA, "ok", True)
    assert "geheim" not in str(told)
    await api.result("oauth_token.refresh", app="test", address=EVA)
    assert [path.name for path in (api.paths.state / "tokens/request").iterdir()] == [f"test,{EVA},mail,now"]
    assert (await api.result("oauth_token.sign_out", app="test", address=EVA))["address"] == EVA
    first = await api.result("oauth_token.revoke", app="test", address="max@firma.example")
    assert "500" in first["problem"]
    assert (await api.result("oauth_token.revoke", app="test", address="leo@firma.example"))["problem"] is None
    assert (await api.result("oauth_token.list"))["tokens"] == []
    assert await api.error("oauth_token.refresh", app="test", address=EVA) == (404, "not_found")


async def test_an_account_looks_after_its_own_log_ins_only(api: Api, provider: Provider) -> None:
    make(api.paths, provider, revoke_url=f"{provider.url}/revoke")
    grant(api, EVA, "chef")
    grant(api, "meier@firma.example", "meier")
    assert [one["address"] for one in (await api.result("oauth_token.list", "meier"))["tokens"]] == [
        "meier@firma.example"]
    for method in ("refresh", "sign_out", "revoke"):
        assert await api.error(f"oauth_token.{method}", "meier", app="test", address=EVA) == (404, "not_found")
    (api.paths.accounts / "chef.toml").write_text('[sources.x]\ninterface = "standard"\nhost = "x.example"\n'
                                                  'auth = "oauth2"\napp = "test"\nuser = "meier@firma.example"\n')
    assert await api.error("oauth_token.sign_out", "meier", app="test", address="meier@firma.example") == (
        422, "refused_by_rule")


# log-ins

def callback(api: Api) -> str:
    return f"{api.url}/oauth2/callback"


async def begun(api: Api, provider: Provider, browser: Browser, link: str) -> str:
    """Follow a link of ours; the state that the provider gets."""
    page = await browser.go(link.removeprefix(api.url))
    answer = await browser_ask(browser, page.tree.find_class("go")[0].get("href"))
    found = re.search(r"state=([\w-]+)", answer)
    assert found
    assert answer.startswith(f"{provider.url}/authorize?")
    return found[1]


async def browser_ask(browser: Browser, path: str) -> str:
    import asyncio

    answer = await asyncio.to_thread(browser.session.get, browser.web.url + path, allow_redirects=False, timeout=20)
    return str(answer.headers.get("location", answer.status_code))


async def test_only_the_browser_of_the_account_ends_what_it_began(api: Api, provider: Provider) -> None:
    """Nobody can be talked into opening his mailbox to somebody else."""
    with Mailserver() as mail:
        mail.good = {EVA: "access-1"}
        make(api.paths, provider, redirect_uri=callback(api), use=["imap", "smtp"],
             servers={"imap": "imap.provider.example:993", "smtp": f"localhost:{mail.port}"})
        made = await api.result("external.create", "meier", address=EVA, settings={"app": "test"}, name="x")
        assert made["state"] == "off"
        asked = await api.result("external.authorize", "meier", name="x")
        assert (asked["way"], asked["person"]) == ("link", EVA)
        stranger = Browser(api)
        page = await stranger.go(asked["link"].removeprefix(api.url))
        assert page.url.startswith("/login?next=")
        page = await stranger.send(page, "/login", user="chef", password=browsing.PASSWORD)
        assert (page.status, "begun by somebody else" in page.text) == (403, True)
        assert (await stranger.go(asked["link"].removeprefix(api.url) + "/go")).status == 403
        mine = Browser(api)
        await mine.login()
        state = await begun(api, provider, mine, asked["link"])
        page = await stranger.go(f"/oauth2/callback?code=the-code-123&state={state}")
        assert page.status == 403
        assert not provider.requests
        assert await browser_ask(mine, f"/oauth2/callback?code=the-code-123&state={state}") == "/my/sources"
    assert config.load_account(api.paths.accounts / "meier.toml").sources["x"].interface == "standard"
    record = Store(api.paths).read("test", EVA)
    assert record is not None
    assert record.account == "meier"
    assert ("meier", "x") in place.requested(api.paths)


async def test_an_answer_that_is_pasted(api: Api, provider: Provider) -> None:
    with Mailserver() as mail:
        mail.good = {EVA: "access-1"}
        make(api.paths, provider, use=["imap", "smtp"],
             servers={"imap": "imap.provider.example:993", "smtp": f"localhost:{mail.port}"})
        await api.result("external.create", "meier", address=EVA, settings={"app": "test"}, name="x")
        asked = await api.result("external.authorize", "meier", name="x")
        assert asked["way"] == "paste"
        assert asked["link"].startswith(f"{provider.url}/authorize?")
        assert "redirect_uri=http%3A%2F%2Flocalhost" in asked["link"]
        for bad in ("nonsense?", "http://localhost/?code=the-code-123&state=guessed"):
            assert await api.error("external.answer", "meier", name="x", answer=bad) == (422, "refused_by_rule")
        state = re.search(r"state=([\w-]+)", asked["link"])
        assert state
        done: dict[str, Any] = await api.result("external.answer", "meier", name="x",
                                                answer=f"http://localhost/?code=the-code-123&state={state[1]}")
        assert {"ok"} <= {one["verdict"] for one in done["servers"]}
        assert (done["state"], done["consent"]["state"]) == ("new", "ok")


async def test_a_link_to_be_sent(api: Api, provider: Provider) -> None:
    """By an administrator, for a browser that knows nothing of us."""
    make(api.paths, provider, redirect_uri=callback(api), use=["imap"], servers={})
    asked = await api.result("oauth_app.authorize_url", app="test", address=EVA, account="meier")
    stranger = Browser(api)
    state = await begun(api, provider, stranger, asked["link"])
    page = await stranger.go(f"/oauth2/callback?code=the-code-123&state={state}")
    assert "You are logged in" in page.text
    assert await api.error("oauth_app.authorize_url", app="none", address=EVA) == (404, "not_found")
    assert await api.error("oauth_app.authorize_url", app="test", address="eva") == (400, "invalid_field")


async def test_an_account_takes_nobodys_log_in_over(api: Api, provider: Provider) -> None:
    make(api.paths, provider, servers={"imap": "imap.provider.example:993"})
    await api.result("external.create", "meier", address=EVA, settings={"app": "test"}, name="x")
    grant(api, EVA, "")
    assert await api.error("external.authorize", "meier", name="x") == (422, "refused_by_rule")
    assert (await api.result("external.authorize", account="meier", name="x"))["way"] == "paste"
