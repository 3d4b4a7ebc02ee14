"""alias.*, and what account.list and account.get tell besides settings."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config
from lanmail.logins import apikeys
from tests import webserver
from tests.test_web_api import Api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path)
    (where.accounts / "meier.toml").write_text('full_name = "Eva Meier"\n[forward]\nto = ["fort"]\n')
    (where.accounts / "kaputt.toml").write_text("quota = 'x'\n")
    where.groups.write_text('[verkauf]\nmembers = ["meier"]\n')
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


async def test_an_alias_from_its_making_to_its_end(api: Api) -> None:
    assert await api.result("alias.create", address="Info", to=["meier"]) == {"address": "Info", "to": ["meier"]}
    assert (await api.result("alias.create", address="info", to=["chef", "Meier"]))["to"] == ["meier", "chef"]
    await api.result("alias.create", address="x@office.lan", to=["eva@far.example"])
    found = await api.result("alias.list")
    assert (found["total"], [one["address"] for one in found["aliases"]]) == (2, ["info", "x@office.lan"])
    assert [one["address"] for one in (await api.result("alias.list", to="MEIER"))["aliases"]] == ["info"]
    assert (await api.result("alias.list", search="far"))["total"] == 1
    assert (await api.result("account.get", name="meier"))["aliases"] == ["info"]
    assert (await api.result("alias.delete", address="INFO", to=["meier"]))["to"] == ["chef"]
    assert (await api.result("alias.delete", address="info"))["to"] == []
    assert await api.error("alias.delete", address="info") == (404, "not_found")


@pytest.mark.parametrize(("address", "to", "said"), [
    ("meier", ["chef"], (409, "exists")), ("verkauf", ["chef"], (409, "exists")), ("postmaster", ["chef"], (400, "")),
    ("a b@c@d", ["chef"], (400, "")), ("x@far.example", ["chef"], (400, "")), ("x", ["niemand"], (400, "")),
    ("x", ["x"], (400, "")), ("x", [], (400, "")), ("x", [""], (400, "")), ("x\0", ["chef"], (400, "")),
])
async def test_aliases_that_cannot_be(api: Api, address: str, to: list[str], said: tuple[int, str]) -> None:
    assert await api.error("alias.create", address=address, to=to) == (said[0], said[1] or "invalid_field")
    assert not api.paths.aliases.exists()


async def test_targets_that_are_added_at_once_are_all_there(api: Api) -> None:
    addresses = [f"a{number}@far.example" for number in range(10)]
    answers = await asyncio.gather(*(api.call("alias.create", address="alle", to=[one]) for one in addresses))
    assert {one.status_code for one in answers} == {200}
    assert sorted((await api.result("alias.list"))["aliases"][0]["to"]) == addresses


async def test_a_broken_file_is_told(api: Api) -> None:
    api.paths.aliases.write_text("x = 5\n")
    assert await api.error("alias.list") == (400, "invalid_field")
    assert await api.error("alias.create", address="info", to=["meier"]) == (400, "invalid_field")
    assert api.paths.aliases.read_text() == "x = 5\n"


@pytest.mark.parametrize("method", ["alias.list", "alias.create", "alias.delete"])
async def test_aliases_are_not_for_accounts(api: Api, method: str) -> None:
    answer = await api.call(method, "meier", address="info", to=["meier"])
    assert answer.status_code == 403


async def test_the_list_finds_and_shows_what_is_wanted(api: Api) -> None:
    found = await api.result("account.list", search="EVA mei", fields=["full_name", "forward.to", "password_set"])
    assert found == {"total": 1, "accounts": [{"name": "meier", "password_set": False, "settings": {
        "full_name": "Eva Meier", "forward": {"to": ["fort"]}}}]}
    found = await api.result("account.list", fields=[], limit=2)
    assert (found["total"], [one["name"] for one in found["accounts"]]) == (3, ["chef", "kaputt"])
    assert "is not a size" in found["accounts"][1]["problem"]
    assert len((await api.result("account.list", fields=["version"], search="chef"))["accounts"][0]["version"]) == 16
    for field in ("password", "scram", "nothing", "forward.nothing", "outgoing.http.x", "", "forward.to.x"):
        assert await api.error("account.list", fields=[field]) == (400, "invalid_field"), field
    answer = await api.get("/api/v1/account.list?fields=full_name,version&search=meier",
                           headers={"Authorization": f"Bearer {api.keys['read']}"})
    assert answer.json()["result"]["accounts"][0]["settings"] == {"full_name": "Eva Meier"}


async def test_what_is_said_of_an_account(api: Api) -> None:
    found = await api.result("account.get", name="meier")
    assert found["own"] == ["forward.to", "full_name"]
    assert found["member_of"] == ["verkauf"]
    assert found["warnings"] == ["forward.to: nothing goes to fort: there is no such account, alias or group"]


async def test_new_targets_must_lead_somewhere(api: Api) -> None:
    changed = await api.result("account.modify", name="meier", settings={"forward": {"to": ["fort"], "keep": True}})
    assert changed["settings"]["forward"] == {"to": ["fort"], "keep": True}
    for section, key in (("forward", "to"), ("autoresponder", "forward"), ("einvoice", "other_forward")):
        answer = await api.call("account.modify", name="meier", settings={section: {key: ["niemand"]}})
        assert (answer.status_code, answer.json()["error"]["field"]) == (404, f"{section}.{key}")


async def test_what_goes_with_an_account(api: Api) -> None:
    await api.result("account.modify", name="meier", settings={"outgoing": {"password": {"secret": "geheim"}}})
    assert (api.paths.secrets / "meier.outgoing.password").exists()
    await api.result("account.delete", name="meier")
    assert sorted(apikeys.load(api.paths.conf / "api.toml")) == ["admin", "read"]
    assert list(api.paths.secrets.iterdir()) == []


async def test_a_team_mailbox_needs_no_password(api: Api) -> None:
    assert await api.error("account.create", name="team", settings={}) == (400, "invalid_field")
    made = await api.result("account.create", name="team", settings={"shared": True, "members": ["meier"]})
    assert made["password_set"] is False
    assert config.load_account(api.paths.accounts / "team.toml").password == ""


async def test_another_name(api: Api) -> None:
    version = (await api.result("account.get", name="meier"))["version"]
    assert await api.error("account.modify", name="meier", new_name="chef") == (409, "exists")
    assert await api.error("account.modify", name="meier", new_name="verkauf") == (400, "invalid_field")
    assert await api.error("account.modify", name="meier", new_name="x", if_version="x") == (409, "conflict")
    made = await api.result("account.modify", name="meier", new_name="Weber", if_version=version,
                            settings={"full_name": "Eva Weber"})
    assert (made["name"], made["settings"]["full_name"], made["aliases"]) == ("weber", "Eva Weber", ["meier"])
    assert made["member_of"] == ["verkauf"]
    assert await api.error("account.get", name="meier") == (404, "not_found")
    assert (await api.result("account.get", "meier", name="weber"))["name"] == "weber"  # the key came along
    assert (await api.result("account.modify", name="weber", new_name="weber"))["name"] == "weber"


async def test_mail_goes_into_the_archive_with_the_account(api: Api) -> None:
    new = api.paths.maildirs / "meier/new"
    new.mkdir(parents=True)
    (new / "1763759701.M1P2Q3.host").write_text("Subject: x\n\nbody\n")
    await api.result("account.delete", name="meier", mail="archive")
    assert len(list((api.paths.spool / "archive/new").iterdir())) == 1
    assert not new.exists()
