"""outgoing.* and the tab "Outgoing mail": what counts, own ways and that of all, the test without a mail."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.browsing import Browser
from tests.smtppeer import Peer

EVIL = '"><svg onload=alert(1)>'
TAB = "/admin/accounts/meier/outgoing"
ALL = """[outgoing]
host = "smtp.provider.example"
user = "firma"
password = "file:secrets/provider"
max_size = "20MB"
"""


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path, ALL, drin="deny_internet = true\n")
    async with webserver.serving(where) as made:
        made.key = apikeys.add(where.conf / "api.toml", "admin", "admin", [])  # type: ignore[attr-defined]
        yield made


@pytest.fixture
async def chef(web: webserver.Web) -> Browser:
    browser = Browser(web)
    await browser.login("chef")
    return browser


async def call(web: webserver.Web, method: str, **given: Any) -> Any:
    answer = await web.post(f"/api/v1/outgoing.{method}", json=given,
                            headers={"Authorization": f"Bearer {web.key}"})  # type: ignore[attr-defined]
    said = answer.json()
    return said["result"] if said["ok"] else (answer.status_code, said["error"].get("field"))


def own(web: webserver.Web, name: str = "meier") -> dict[str, Any]:
    found: dict[str, Any] = config.conffile.read(web.paths.accounts / f"{name}.toml").data.get("outgoing", {})
    return found


async def test_what_counts(web: webserver.Web) -> None:
    found = await call(web, "get", name="meier")
    assert (found["own"], found["destination"]) == ([], "smtp:smtp.provider.example:587:firma")
    assert found["settings"]["max_size"] == "20MB"
    found = await call(web, "set", name="meier", settings={"host": "smtp.own.example", "max_recipients": 1,
                                                           "password": {"secret": "geheim"}, "user": "me"})
    assert found["own"] == ["host", "max_recipients", "password", "user"]
    assert found["destination"] == "smtp:smtp.own.example:587:me"
    assert found["settings"]["max_size"] == "20MB"
    assert {"what": "recipients", "how": "at most 1 a mail"} in found["changes"]
    assert own(web)["password"] == "file:secrets/meier.outgoing.password"
    assert (web.paths.secrets / "meier.outgoing.password").read_text() == "geheim\n"
    found = await call(web, "set", name="meier", settings=None)
    assert (found["own"], found["destination"]) == ([], "smtp:smtp.provider.example:587:firma")
    assert own(web) == {}
    assert list(web.paths.secrets.iterdir()) == []
    assert (await call(web, "get"))["own"] == ["host", "max_size", "password", "user"]


@pytest.mark.parametrize("settings", [{"port": 70_000}, {"nothing": 1}, {"transport": "pigeon"}, {"password": "clear"},
                                      {"folder": {"path": "relative"}}, {"folder": 5}])
async def test_what_is_refused_changes_nothing(web: webserver.Web, settings: dict[str, Any]) -> None:
    answer = await call(web, "set", name="meier", settings={"host": "x.example", **settings})
    assert answer[0] == 400
    assert own(web) == {}


async def test_versions(web: webserver.Web) -> None:
    version = (await call(web, "get", name="meier"))["version"]
    await call(web, "set", name="meier", settings={"rate": 5}, if_version=version)
    assert await call(web, "set", name="meier", settings={"rate": 6}, if_version=version) == (409, "if_version")


async def test_not_for_accounts(web: webserver.Web) -> None:
    key = apikeys.add(web.paths.conf / "api.toml", "meier", "account:meier", [])
    for method, given in (("get", {}), ("set", {"settings": {"proxy": "http://x:1"}}), ("test", {})):
        answer = await web.post(f"/api/v1/outgoing.{method}", json={"name": "meier", **given},
                                headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403


async def test_a_way_is_tried(web: webserver.Web, chef: Browser) -> None:
    async with Peer("PIPELINING") as peer:
        await call(web, "set", name="meier", settings={"host": "127.0.0.1", "port": peer.port, "tls": "none",
                                                       "auth": "none"})
        found = await call(web, "test", name="meier", to="eva@far.example")
        assert (found["ok"], found["problem"], found["own"]) == (True, None, True)
        assert any("connecting to" in one for one in found["steps"])
        page = await chef.send(await chef.go(TAB), f"{TAB}/test")
        assert "It works" in page.note
        assert not peer.taken
    found = await call(web, "test", name="meier")
    assert found["ok"] is False
    assert found["problem"]
    page = await chef.send(await chef.go(TAB), f"{TAB}/test", to="")
    assert page.problems
    assert await call(web, "test", name="meier", to="chef@office.lan") == (400, "to")
    assert await call(web, "test", name="meier", to=EVIL) == (400, "to")
    assert "deny_internet" in (await call(web, "test", name="drin"))["problem"]
    await call(web, "set", name="meier", settings={"transport": "mx"})
    assert await call(web, "test", name="meier") == (400, "to")


async def test_the_tab(web: webserver.Web, chef: Browser) -> None:
    page = await chef.go(TAB)
    assert page.title == "Outgoing mail of meier"
    assert "as for all" in page.words
    page = await chef.send(page, TAB)
    assert (page.note, own(web)) == ("Saved.", {})
    page = await chef.send(page, TAB, fills={"transport": "folder", "folder.path": "/srv/out",
                                             "overwrite_sender": "%localpart%@firma.example", "smime.sign": "yes"})
    assert page.note == "Saved."
    assert own(web) == {"transport": "folder", "folder": {"path": "/srv/out"},
                        "overwrite_sender": "%localpart%@firma.example", "smime": {"sign": True}}
    assert "folder:/srv/out own settings" in page.words
    page = await chef.send(page, TAB, transport="smtp")
    assert own(web) == {"folder": {}, "overwrite_sender": "%localpart%@firma.example", "smime": {"sign": True}}
    assert "smtp:smtp.provider.example:587:firma" in page.words
    page = await chef.send(page, TAB, button="default=yes")
    assert "smtp:smtp.provider.example:587:firma as for all" in page.words
    assert own(web).get("smime") == {}


async def test_further_headers(web: webserver.Web, chef: Browser) -> None:
    page = await chef.send(await chef.go(TAB), TAB, fills={"http.headers": "X-Source = office\nX-Kind=mail = 1"})
    assert own(web)["http"] == {"headers": {"X-Source": "office", "X-Kind": "mail = 1"}}
    assert "X-Source = office" in page.form(TAB).fields["http.headers"]
    await chef.send(page, TAB, fills={"http.headers": ""})
    assert own(web)["http"] == {}


async def test_secret_headers(web: webserver.Web, chef: Browser) -> None:
    """What is typed goes into a file each; what stays, stays; what is taken out goes with its file."""
    typed = {"http.secret_headers": "X-Key = geheim eins\nX-Two=zwei = 2"}
    page = await chef.send(await chef.go(TAB), TAB, fills=typed)
    found = own(web)["http"]["secret_headers"]
    assert set(found) == {"X-Key", "X-Two"}
    files = {name: web.paths.conf / one.removeprefix("file:") for name, one in found.items()}
    assert {name: file.read_text() for name, file in files.items()} == {
        "X-Key": "geheim eins\n", "X-Two": "zwei = 2\n"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files.values())
    assert "geheim" not in page.text
    assert "zwei" not in page.text
    page = await chef.send(page, TAB, fills={"http.secret_headers": f"X-Key = {found['X-Key']}"})
    assert own(web)["http"] == {"secret_headers": {"X-Key": found["X-Key"]}}
    assert list(web.paths.secrets.iterdir()) == [files["X-Key"]]
    page = await chef.send(page, TAB, fills={"http.secret_headers": "X-Key = neu", "port": "x"})
    assert (page.status, "neu\n" in page.text, files["X-Key"].read_text()) == (400, False, "geheim eins\n")
    await chef.send(await chef.go(TAB), TAB, fills={"http.secret_headers": ""})
    assert (own(web)["http"], list(web.paths.secrets.iterdir())) == ({}, [])


async def test_what_is_wrong_says_so_at_the_field(web: webserver.Web, chef: Browser) -> None:
    for key, typed in (("port", "x"), ("overwrite_sender", EVIL), ("folder.path", "x"), ("max_size", "much")):
        page = await chef.send(await chef.go(TAB), TAB, fills={key: typed})
        assert page.status == 400
        assert page.problems[0] == "Nothing was saved: see below."
        assert page.tree.get_element_by_id(f"f-{key}").get("aria-invalid") == "true"
        assert "<svg" not in page.text
    page = await chef.send(await chef.go(TAB), TAB, fills={"webspace.script_password": "x" * 30})
    assert "x" * 30 not in page.text
    assert own(web)["webspace"] == {"script_password": "file:secrets/meier.outgoing.webspace.script_password"}


async def test_in_german(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    page = await browser.go("/admin/accounts/drin/outgoing")
    assert page.title == "Ausgehende Mails von drin"
    assert "darf nichts ins Internet senden" in page.problems[0]
    assert "Absender überschreiben" in page.words
