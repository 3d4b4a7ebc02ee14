"""account.* of the HTTP API: nothing that a caller does skips what the files in conf/ are checked for."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config, passwords
from lanmail.logins import apikeys, grants
from tests import webserver
from tests.test_web_api import Api

PASSWORD = "geheim wörtlich"
HASH = passwords.hash(PASSWORD)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path)
    (where.accounts / "meier.toml").write_text(f'# Eva\npassword = "{HASH}"\nfull_name = "Eva Meier"  # married\n')
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


async def test_an_account_from_its_making_to_its_end(api: Api) -> None:
    made = await api.result("account.create", name="Weber", password="geheim 12", settings={
        "full_name": "W. Weber", "forward": {"to": ["x@far.example"], "keep": True}, "quota": "1GB"})
    assert (made["name"], made["addresses"]) == ("weber", ["weber@office.lan"])
    assert made["settings"]["forward"] == {"to": ["x@far.example"], "keep": True}
    assert (made["password"], made["password_set"]) == (None, True)
    assert (await api.result("account.exists", name="WEBER"))["exists"] is True
    changed = await api.result("account.modify", name="weber", settings={"forward": {"to": None}, "disabled": True})
    assert changed["settings"]["forward"] == {"to": [], "keep": True}
    assert changed["settings"]["disabled"] is True
    assert (await api.result("account.list"))["total"] == 3
    assert (await api.result("account.delete", name="weber"))["mail"] == "keep"
    assert (api.paths.maildirs / "weber/new").is_dir()
    assert await api.error("account.get", name="weber") == (404, "not_found")


@pytest.mark.parametrize("name", [
    "../x", "a/b", "a\0b", "x" * 65, "müller", "a b", "", ".", "postmaster", "con\nx", "-x", "x@office.lan", "..",
    "meier/.",
])
async def test_names_that_cannot_be(api: Api, name: str) -> None:
    before = set(api.paths.root.rglob("*"))
    status, code = await api.error("account.create", name=name, password="geheim 12")
    assert (status, code) == (400, "invalid_field")
    made = set(api.paths.root.rglob("*")) - before
    assert [path for path in made if not {"log", "metrics"} & set(path.parts)] == []
    assert (await api.error("account.get", name=name))[0] in (400, 404)


@pytest.mark.parametrize(("settings", "field"), [
    ({"quota": "much"}, "quota"), ({"no_such": 1}, None), ({"forward": {"nowhere": 1}}, None),
    ({"forward": {"to": ["a b"]}}, "forward.to"), ({"disabled": "yes"}, "disabled"), ({"forward": 5}, "forward"),
    ({"name": "other"}, None), ({"services": ["ftp"]}, "services"),
])
async def test_settings_that_are_wrong_change_nothing(api: Api, settings: dict[str, object], field: str | None) -> None:
    before = (api.paths.accounts / "meier.toml").read_text()
    answer = await api.call("account.modify", name="meier", settings={"full_name": "X", **settings})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field"), answer.text
    if field is not None:
        assert answer.json()["error"].get("field", "").startswith(field), answer.text
    assert (api.paths.accounts / "meier.toml").read_text() == before
    assert (await api.error("account.create", name="neu", password="geheim 12", settings=settings))[0] == 400
    assert not (api.paths.accounts / "neu.toml").exists()


async def test_passwords_are_no_settings_and_never_come_out(api: Api) -> None:
    for key in ("password", "scram"):
        assert await api.error("account.modify", name="meier", settings={key: "x"}) == (400, "invalid_field")
    for name in ("account.get", "account.list"):
        text = (await api.call(name, **({"name": "meier"} if name.endswith("get") else {}))).text
        assert HASH not in text
        assert "argon2" not in text


async def test_comments_stay(api: Api) -> None:
    await api.result("account.modify", name="meier", settings={"full_name": "Eva Weber"})
    text = (api.paths.accounts / "meier.toml").read_text()
    assert text.startswith("# Eva\n")
    assert 'full_name = "Eva Weber"  # married' in text


async def test_nobody_overwrites_what_he_has_not_seen(api: Api) -> None:
    version = (await api.result("account.get", name="meier"))["version"]
    newer = (await api.result("account.modify", name="meier", settings={"quota": "1GB"}, if_version=version))["version"]
    assert newer != version
    assert await api.error("account.modify", name="meier", settings={"quota": "2GB"}, if_version=version) == (
        409, "conflict")


async def test_writers_at_the_same_time_lose_nothing(api: Api) -> None:
    """Twenty keys changed at once, each by a call of its own: all are there."""
    keys = {"full_name": "A", "quota": "1GB", "quota_messages": 5, "sent_copy": True, "archive": True,
            "deny_internet": True, "disabled": True}
    answers = await asyncio.gather(*(api.call("account.modify", name="meier", settings={key: value})
                                     for key, value in keys.items() for _ in range(3)))
    assert {one.status_code for one in answers} == {200}
    read = config.load_account(api.paths.accounts / "meier.toml")
    assert (read.full_name, read.quota, read.quota_messages) == ("A", 1 << 30, 5)
    assert [read.sent_copy, read.archive, read.deny_internet, read.disabled] == [True] * 4


async def test_the_postmaster_moves_and_stays(api: Api) -> None:
    assert await api.error("account.delete", name="chef") == (422, "refused_by_rule")
    moved = await api.result("account.modify", name="meier", settings={"postmaster": True})
    assert moved["settings"]["postmaster"] is True
    assert (await api.result("account.get", name="chef"))["settings"]["postmaster"] is False
    assert (await api.result("account.delete", name="chef", mail="delete"))["mail"] == "delete"


async def test_who_comes_under_an_old_name_finds_no_log_ins(api: Api) -> None:
    register = grants.Register(api.paths.state)
    client, _ = register.add_client("meier", "x", [grants.SCOPES["imap"]])
    code = register.code(client, "meier", [grants.SCOPES["imap"]], "http://localhost/")
    token = register.exchange(code, client.id, time.time()).access
    assert grants.verify_token(api.paths.state, token, service="imap") == "meier"
    await api.result("account.delete", name="meier")
    await api.result("account.create", name="meier", password="geheim 12")
    assert grants.verify_token(api.paths.state, token, service="imap") is None
    assert register.clients() == []


async def test_passwords(api: Api) -> None:
    assert (await api.result("account.verify", name="meier", password=PASSWORD))["right"] is True
    assert (await api.result("account.verify", name="meier", password="wrong"))["right"] is False
    assert await api.error("account.password", "meier", name="meier", password="neu 12345", old="wrong") == (
        403, "forbidden")
    await api.result("account.password", "meier", name="meier", password="neu 12345", old=PASSWORD)
    assert (await api.result("account.verify", name="meier", password="neu 12345"))["right"] is True
    await api.result("account.password", name="meier", password=PASSWORD)
    assert passwords.verify(config.load_account(api.paths.accounts / "meier.toml").password, PASSWORD)


async def test_what_an_account_may_do_itself(api: Api) -> None:
    found = await api.result("account.forwarding", "meier", name="meier", settings={"to": ["chef"], "keep": True})
    assert found["settings"] == {"to": ["chef"], "keep": True}
    found = await api.result("account.autoresponder", "meier", name="meier", settings={"enabled": True, "text": "Weg"})
    assert (found["settings"]["enabled"], found["answered"]) == (True, 0)
    assert (await api.result("account.get", "meier", name="meier"))["settings"]["forward"]["to"] == ["chef"]
    for name, more in (("account.forwarding", {}), ("account.get", {}),
                       ("account.password", {"password": "x", "old": "y"})):
        assert await api.error(name, "meier", **{"name": "chef", **more}) == (403, "forbidden")
    for name, more in (("account.modify", {"settings": {}}), ("account.delete", {}), ("account.list", {}),
                       ("account.create", {"password": "x"}), ("account.verify", {"password": "x"})):
        given = {} if name == "account.list" else {"name": "meier", **more}
        assert await api.error(name, "meier", **given) == (403, "forbidden")


async def test_whoever_reads_changes_nothing(api: Api) -> None:
    assert (await api.result("account.forwarding", "admin", name="meier"))["settings"]["to"] == []
    for name, more in (("account.modify", {"settings": {}}), ("account.forwarding", {"settings": {"to": ["chef"]}})):
        assert await api.error(name, "read", name="meier", **more) == (403, "forbidden")
