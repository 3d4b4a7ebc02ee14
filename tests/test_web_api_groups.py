"""group.* of the HTTP API: like `lanmail group`, with the checks of both."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, groups
from lanmail.logins import apikeys
from tests import webserver
from tests.test_web_api import Api

START = '# who sells\n[Sales]  # here\nmembers = ["Meier"]\n'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path, 'extra_domains = ["firma.example"]')
    (where.accounts / "weber.toml").write_text("shared = true\n")
    where.aliases.write_text('info = ["sales"]\n')
    where.groups.write_text(START)
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


async def test_a_group_from_its_making_to_its_end(api: Api) -> None:
    made = await api.result("group.create", name="Team", settings={
        "members": ["meier", "sales", "eva@example.org"], "may_post": ["members"], "subject_tag": "[Team]"})
    assert made["name"] == "team"
    assert made["addresses"] == ["team@office.lan", "team@firma.example"]
    assert (made["accounts"], made["outside"], made["groups_in_it"], made["owner_is"]) == (
        ["meier"], ["eva@example.org"], ["sales"], ["chef"])
    assert made["own"] == ["may_post", "members", "subject_tag"]
    changed = await api.result("group.modify", name="TEAM", settings={"subject_tag": None, "owner": "meier"})
    assert (changed["settings"]["subject_tag"], changed["owner_is"]) == ("", ["meier"])
    assert (await api.result("group.add_member", name="team", members=["chef", "MEIER"]))["settings"]["members"] == [
        "meier", "sales", "eva@example.org", "chef"]
    await api.result("group.remove_member", name="team", members=["Eva@Example.org", "meier"])
    assert [one["name"] for one in (await api.result("group.list"))["groups"]] == ["sales", "team"]
    assert [one["name"] for one in (await api.result("group.list", search="SALES", limit=1))["groups"]] == ["sales"]
    assert (await api.result("group.list", search="meie", offset=5))["groups"] == []
    assert await api.result("group.delete", name="Team") == {"name": "team", "left": []}
    assert (await api.result("group.delete", name="sales"))["left"] == ["alias info still leads to sales"]
    assert await api.error("group.get", name="team") == (404, "not_found")


async def test_comments_and_spelling_stay(api: Api) -> None:
    await api.result("group.add_member", name="sales", members=["chef"])
    await api.result("group.modify", name="sales", settings={"reply_to": "group"})
    assert api.paths.groups.read_text() == (
        '# who sells\n[Sales]  # here\nmembers = ["Meier", "chef"]\nreply_to = "group"\n')
    assert [one for one in config.check(api.paths) if one.file.endswith('groups.toml')] == []


async def test_the_first_group_and_everyone(api: Api) -> None:
    api.paths.groups.unlink()
    assert await api.error("group.modify", name="x", settings={}) == (404, "not_found")
    made = await api.result("group.create", name="everyone")
    assert (made["accounts"], made["settings"]["may_post"]) == (["chef", "meier"], ["local"])
    assert api.paths.groups.read_text().startswith(groups.TITLE)


@pytest.mark.parametrize(("name", "status", "code"), [
    ("meier", 409, "exists"), ("INFO", 409, "exists"), ("SALES", 409, "exists"), ("postmaster", 400, "invalid_field"),
    ("a/b", 400, "invalid_field"), ("../x", 400, "invalid_field"), ("a b", 400, "invalid_field"),
    ("", 400, "invalid_field"), ("x\0", 400, "invalid_field"), ("müller", 400, "invalid_field"),
    ("x" * 201, 400, "invalid_field"), ('"><svg onload=x>', 400, "invalid_field"),
])
async def test_names_that_cannot_be(api: Api, name: str, status: int, code: str) -> None:
    assert await api.error("group.create", name=name, settings={"members": ["meier"]}) == (status, code)
    assert api.paths.groups.read_text() == START


@pytest.mark.parametrize(("settings", "field"), [
    ({"members": ["meir"]}, "members"), ({"members": ["x@office.lan"]}, "members"), ({"members": ["a b"]}, "members"),
    ({"members": "x y"}, "members"), ({"members": 5}, "members"), ({"members": [None]}, None),
    ({"members": [["meier"]]}, "members"), ({"owner": "nobody"}, "owner"), ({"owner": 5}, "owner"),
    ({"may_post": ["nobody"]}, "may_post"), ({"may_post": "all"}, "may_post"), ({"reply_to": "list"}, "reply_to"),
    ({"subject_tag": "a\nb"}, "subject_tag"), ({"subject_tag": "x" * 41}, "subject_tag"),
    ({"domains": ["a b"]}, "domains"),
    ({"no_such": 1}, None), ({"name": "other"}, None), ({"": 1}, None), ({"send_as": "yes"}, "send_as"),
    ({"members.x": 1}, None), ({"owner": "\ud800"}, None), ({"subject_tag": "\ud800"}, None),
])
async def test_settings_that_are_wrong_change_nothing(api: Api, settings: dict[str, object], field: str | None) -> None:
    for method, name in (("modify", "sales"), ("create", "team")):
        answer = await api.call(f"group.{method}", name=name, settings={"list_id": False, **settings})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field"), answer.text
        assert field is None or answer.json()["error"].get("field") == field, answer.text
        assert api.paths.groups.read_text() == START


async def test_who_is_named_already_may_be_gone(api: Api) -> None:
    """One name that nobody has any more does not stand in the way of all other changes; it is told."""
    api.paths.groups.write_text('[sales]\nmembers = ["gone", "meier", "sales"]\nowner = "away"\n')
    changed = await api.result("group.modify", name="sales", settings={"members": ["gone", "meier", "chef", "sales"]})
    assert changed["unknown"] == ["gone"]
    assert changed["in_a_ring"] == ["sales → sales"]
    assert [text.partition(": ")[2][:28] for text in changed["problems"]] == [
        "members: there is no account", "owner: there is no account, ", "is a member of itself, by ot"]
    assert await api.error("group.remove_member", name="sales", members=["eva"]) == (400, "invalid_field")
    await api.result("group.remove_member", name="sales", members=["gone"])


async def test_nobody_overwrites_what_he_has_not_seen(api: Api) -> None:
    version = (await api.result("group.get", name="sales"))["version"]
    await api.result("group.modify", name="sales", settings={"list_id": False}, if_version=version)
    assert await api.error("group.modify", name="sales", settings={"list_id": True}, if_version=version) == (
        409, "conflict")


async def test_members_that_come_at_the_same_time_are_all_there(api: Api) -> None:
    people = [f"p{number}@example.org" for number in range(20)]
    answers = await asyncio.gather(*(api.call("group.add_member", name="sales", members=[one]) for one in people),
                                   *(api.call("group.create", name="new", settings={"members": ["meier"]})
                                     for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200] * 21 + [409] * 3
    assert set(groups.load(api.paths.groups)["sales"].members) == {"meier", *people}
    await asyncio.gather(*(api.call("group.remove_member", name="sales", members=[one]) for one in people[5:]))
    assert set(groups.load(api.paths.groups)["sales"].members) == {"meier", *people[:5]}


async def test_a_broken_file_is_told_and_kept(api: Api) -> None:
    api.paths.groups.write_text("[sales\n")
    for method in ("get", "delete", "modify", "create"):
        more = {} if method in ("get", "delete") else {"settings": {}}
        answer = await api.call(f"group.{method}", name="sales", **more)
        assert answer.status_code == 400
        assert "is not TOML" in answer.json()["error"]["message"]
    assert api.paths.groups.read_text() == "[sales\n"


async def test_who_may(api: Api) -> None:
    assert (await api.result("group.list", "read"))["total"] == 1
    assert await api.error("group.delete", "read", name="sales") == (403, "forbidden")
    for method, more in (("list", {}), ("get", {"name": "sales"}), ("modify", {"name": "sales", "settings": {}}),
                         ("add_member", {"name": "sales", "members": ["meier"]})):
        assert await api.error(f"group.{method}", "meier", **more) == (403, "forbidden")
