"""config.* of the HTTP API: settings with the checks that lanmail.toml gets, whoever writes it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import config
from lanmail.administration import asking, audit
from lanmail.logins import apikeys
from tests import webserver
from tests.test_web_api import Api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path, "[smtpd]\nmax_size = '20MB'  # scanners\n# max_recipients = 1000\n")
    for path in where.accounts.iterdir():
        path.chmod(0o640)
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


async def test_settings_with_their_defaults(api: Api) -> None:
    found = await api.result("config.get", "read", section="smtpd")
    assert (found["settings"]["max_size"], found["settings"]["lan"]["port"]) == ("20MB", 0)
    assert found["own"] == ["server.domain", "smtpd.max_size", "httpd.enabled"]
    assert (await api.result("config.get", section="smtpd", key="lan.port"))["value"] == 0
    assert (await api.result("config.get", key="server.domain"))["value"] == "office.lan"
    assert "imapd" in (await api.result("config.get"))["settings"]
    for given in ({"section": "smtp"}, {"section": "smtpd", "key": "max"}, {"key": "server.domain.x"},
                  {"section": "\0"}, {"section": "smtpd.lan.port.x"}):
        assert await api.error("config.get", **given) == (404, "not_found"), given


async def test_set_and_taken_back(api: Api) -> None:
    lan = {"networks": ["10.0.0.0/8"], "senders": {"10.0.0.7": "scan@office.lan"}}
    made = await api.result("config.set", settings={"smtpd": {"max_recipients": 200, "lan": lan},
                                                    "server": {"extra_domains": ["b.lan"]}})
    assert made["changed"] == ["server.extra_domains", "smtpd.lan.networks", "smtpd.lan.senders",
                               "smtpd.max_recipients"]
    assert made["waits"] == []
    text = api.paths.config_file.read_text()
    assert "max_size = '20MB'  # scanners\nmax_recipients = 200\n" in text
    assert config.load(api.paths).smtpd.lan.senders == {"10.0.0.7": "scan@office.lan"}
    made = await api.result("config.set", section="smtpd", key="max_recipients", value=None)
    assert "# max_recipients = 1000" in api.paths.config_file.read_text()
    assert made["settings"]["smtpd"]["max_recipients"] == 1000
    made = await api.result("config.set", section="imapd", key="port", value=1143, if_version=made["version"])
    assert made["waits"] == ["imapd.port"]
    assert [(one.what, one.about) for one in audit.changes(api.paths)][:2] == [
        ("config.set", "imapd.port"), ("config.set", "smtpd.max_recipients")]
    assert await api.error("config.set", key="imapd.port", value=143, if_version="x") == (409, "conflict")


@pytest.mark.parametrize(("settings", "field"), [
    ({"smtpd": {"max_size": "much"}}, "smtpd.max_size"), ({"smtpd": {"max_sise": 5}}, None), ({"nothing": {}}, None),
    ({"smtpd": 5}, "smtpd"), ({"smtpd": {"mx_port": 70000}}, "smtpd.mx_port"), ({"server": {"domain": None}}, None),
    ({"smtpd": {"mx_port": 587}}, None), ({"smtpd": {"lan": {"port": 26}}}, "smtpd.lan.port"), ({"": {"": 1}}, None),
    ({"relay": {"retry": []}}, "relay.retry"), ({"relay": {"retry": [None]}}, None), ({"server": None}, None),
    ({"dkim": {"keys": [{"domain": "x"}]}}, None), ({"smtpd": {"max_size": {"secret": "x"}}}, "smtpd.max_size"),
    ({"outgoing": {"password": "geheim"}}, "outgoing.password"), ({"filter": {"use": ["rm -r"]}}, "filter.use"),
    ({"server": {"hostname": "\ud800"}}, None), ({"log": {"level": "loud"}}, "log.level"),
])
async def test_settings_that_are_wrong_change_nothing(api: Api, settings: dict[str, object], field: str | None) -> None:
    before = api.paths.config_file.read_text()
    answer = await api.call("config.set", settings={"log": {"keep_days": 5}} | settings)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field"), answer.text
    assert field is None or answer.json()["error"].get("field", "").startswith(field), answer.text
    assert "geheim" not in answer.text
    assert api.paths.config_file.read_text() == before


async def test_secrets_become_files(api: Api) -> None:
    made = await api.result("config.set", settings={"outgoing": {"user": "x", "password": {"secret": "geheim 77"}}})
    assert made["settings"]["outgoing"]["password"] == "file:secrets/lanmail.outgoing.password"
    assert (api.paths.secrets / "lanmail.outgoing.password").read_text() == "geheim 77\n"
    await api.result("config.set", settings={"outgoing": {"password": None}})
    assert not (api.paths.secrets / "lanmail.outgoing.password").exists()


async def test_a_file_that_is_broken(api: Api) -> None:
    api.paths.config_file.write_text("[smtpd]\nmax_size = 5x\n")
    (api.paths.accounts / "meier.toml").write_text("quota = 'x'\n")
    found = (await api.result("config.check", "read"))["problems"]
    assert [(one["file"], one["line"]) for one in found] == [("lanmail.toml", 2), ("accounts/meier.toml", 1)]
    for method in ("config.get", "config.reload"):
        assert await api.error(method) == (400, "invalid_field")
    assert not (api.paths.state / asking.FILE).exists()


async def test_check_and_reload(api: Api) -> None:
    assert await api.result("config.check") == {"problems": [], "accounts": 2}
    assert await api.result("config.reload") == {"asked": True}
    assert (api.paths.state / asking.FILE).exists()


async def test_who_may(api: Api) -> None:
    for method in ("config.set", "config.reload"):
        assert await api.error(method, "read") == (403, "forbidden")
    for method in ("config.get", "config.check", "config.set", "config.reload"):
        assert await api.error(method, "meier") == (403, "forbidden")


@pytest.mark.parametrize("given", [{"key": ".."}, {"key": ".", "value": 1}, {"section": "smtpd"},
                                   {"section": "smtpd", "settings": {"max_size": "1MB"}}])
async def test_a_key_that_is_none_is_refused(api: Api, given: dict[str, object]) -> None:
    before = api.paths.config_file.read_text()
    assert await api.error("config.set", **given) == (400, "invalid_field")
    assert api.paths.config_file.read_text() == before
