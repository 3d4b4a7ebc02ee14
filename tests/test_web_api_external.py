"""external.* of the HTTP API: what administrators do, and what an account may do for itself and never more."""

import ipaddress
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lanmail import config
from lanmail.administration import audit
from lanmail.logins import apikeys
from lanmail.oauth import store
from lanmail.oauth.store import Store
from lanmail.secret import Secret
from lanmail.sources import place, status
from lanmail.web.api import selfservice
from tests import webserver
from tests.pop3peer import Peer
from tests.provider import Provider
from tests.test_cli_oauth import make
from tests.test_web_api import Api

GMX = {"password": {"secret": "geheim wörtlich"}}
MAIL = b"From: x@far.example\r\nDate: Mon, 02 Nov 2026 12:00:00 +0000\r\n\r\nhi\r\n"


@pytest.fixture(autouse=True)
def _no_dns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "api" in request.fixturenames:
        monkeypatch.setattr(selfservice, "addresses", lambda _host: [])


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path)
    (where.accounts / "closed.toml").write_text("self_service = false\n")
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"), ("closed", "account:closed"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


def source(api: Api, name: str, account: str = "meier") -> Any:
    return config.load_account(api.paths.accounts / f"{account}.toml").sources[name]


def write(api: Api, text: str, account: str = "meier") -> None:
    (api.paths.accounts / f"{account}.toml").write_text(text)


def secrets_of(api: Api) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(api.paths.secrets.glob("*"))} if \
        api.paths.secrets.is_dir() else {}


async def test_a_mailbox_from_its_making_to_its_end(api: Api) -> None:
    made = await api.result("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False)
    assert (made["account"], made["name"], made["host"], made["port"]) == ("meier", "gmx", "imap.gmx.net", 993)
    assert (made["password"], made["password_set"], made["state"]) == (None, True, "new")
    assert "POP3/IMAP Abruf" in str(made["hint"])
    assert list(secrets_of(api).values()) == ["geheim wörtlich\n"]
    assert place.requested(api.paths) == [("meier", "gmx")]
    changed = await api.result("external.modify", account="meier", name="gmx", settings={
        "every": "15m", "folders": ["INBOX", "Büro"], "password": {"secret": "neu"}})
    assert source(api, "gmx").folders == ["INBOX", "Büro"]
    assert list(secrets_of(api).values()) == ["neu\n"]
    assert "every" in changed["own"]
    await api.result("external.modify", account="meier", name="gmx", settings={"every": None})
    assert source(api, "gmx").every == 300
    assert (await api.result("external.list"))["total"] == 1
    await api.result("external.delete", account="meier", name="gmx")
    assert secrets_of(api) == {}
    assert await api.error("external.get", account="meier", name="gmx") == (404, "not_found")
    assert "geheim" not in str(list(audit.last(api.paths, 100)))
    assert any("about=meier/gmx" in line for line in audit.last(api.paths, 100))


async def test_a_mailbox_is_tried_before_anything_is_stored(api: Api) -> None:
    async with Peer([MAIL, MAIL], "UIDL", "USER") as peer:
        there = {"host": "127.0.0.1", "port": peer.port, "tls": "none", "protocol": "pop3", **GMX}
        made = await api.result("external.create", account="meier", address="x@far.example", settings=there, name="x")
        assert made["found"]["messages"] == 2
        seen = await api.result("external.test", account="meier", name="x")
        assert (seen["ok"], seen["found"]["messages"], seen["problem"]) == (True, 2, None)
        assert seen["steps"]
    async with Peer([], "UIDL", "USER", script={"PASS": "-ERR [AUTH] no"}) as peer:
        answer = await api.call("external.create", account="meier", address="y@far.example", name="y",
                                settings=there | {"port": peer.port})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "refused_by_rule")
        assert "User name or password is wrong" in answer.json()["error"]["message"]
        assert list(config.load_account(api.paths.accounts / "meier.toml").sources) == ["x"]
        assert len(secrets_of(api)) == 1
    seen = await api.result("external.test", account="meier", name="x")
    assert (seen["ok"], seen["found"]) == (False, None)
    assert seen["advice"]


NO_MAILBOX: list[tuple[dict[str, Any], str]] = [
    ({"address": "a@far.example", "settings": GMX}, "settings.host"),
    ({"address": "a@gmx.de", "settings": {"password": {"secret": ""}}}, "settings.password"),
    ({"address": "a@gmx.de", "settings": {"password": {"secret": "a\nb"}}}, "settings.password"),
    ({"address": "a@gmx.de", "settings": {"password": {"secret": "a", "x": 1}}}, "settings.password"),
    ({"address": "a@gmx.de", "settings": {"password": "geheim"}}, "settings.password"),
    ({"address": "a@gmx.de", "settings": GMX | {"every": "often"}}, "settings.every"),
    ({"address": "a@gmx.de", "settings": GMX | {"nothing": 1}}, "settings.nothing"),
    ({"address": "a@gmx.de", "settings": GMX, "name": "../x"}, "name"),
    ({"address": "a@gmx.de", "settings": GMX, "name": "x.y"}, "name"),
    ({"address": "a@gmx.de", "settings": GMX, "provider": "nobody"}, "provider"),
    ({"address": "a@hotmail.com", "settings": GMX}, "settings.app"),
    ({"address": "a@icloud.com", "settings": GMX | {"protocol": "pop3"}}, "settings.protocol"),
]


async def test_what_cannot_be_a_mailbox(api: Api) -> None:
    before = (api.paths.accounts / "meier.toml").read_text()
    for given, field in NO_MAILBOX:
        for key in ("admin", "meier"):
            if key == "meier" and given["settings"].get("password") == "geheim":
                continue  # not even references are for accounts
            trial = field == "settings.host"
            error = (await api.call("external.create", key, account="meier", test=trial, **given)).json()
            assert error["ok"] is False, error
            if not trial:
                assert (error["error"]["code"], error["error"].get("field")) == ("invalid_field", field)
    assert (api.paths.accounts / "meier.toml").read_text() == before
    assert secrets_of(api) == {}


async def test_names_are_found_and_not_given_twice(api: Api) -> None:
    for expected in ("gmx", "gmx-2"):
        made = await api.result("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False)
        assert made["name"] == expected
    assert await api.error("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False,
                           name="gmx") == (409, "exists")
    assert len(secrets_of(api)) == 2


async def test_two_accounts_never_share_the_file_of_a_password(api: Api) -> None:
    for account in ("a-b", "a"):
        write(api, "disabled = false\n", account)
    await api.result("external.create", account="a-b", address="x@gmx.de", name="c", settings=GMX, test=False)
    await api.result("external.create", account="a", address="x@gmx.de", name="b-c", test=False,
                     settings={"password": {"secret": "other"}})
    assert sorted(secrets_of(api).values()) == ["geheim wörtlich\n", "other\n"]


async def test_nobody_overwrites_what_he_has_not_seen(api: Api) -> None:
    made = await api.result("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False)
    await api.result("external.modify", account="meier", name="gmx", settings={"every": "9m"},
                     if_version=made["version"])
    assert await api.error("external.modify", account="meier", name="gmx", settings={"every": "8m"},
                           if_version=made["version"]) == (409, "conflict")


async def test_fetch_and_forget(api: Api) -> None:
    await api.result("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False)
    place.requested(api.paths)
    directory = place.directory(api.paths, "meier", "gmx")
    directory.mkdir(parents=True)
    (directory / "box.uids").write_text("1\n2\n")
    assert (await api.result("external.get", account="meier", name="gmx"))["remembered"] == {"box": 2}
    assert (await api.result("external.fetch_now", "meier", name="gmx"))["asked"] is True
    assert place.requested(api.paths) == [("meier", "gmx")]
    assert (await api.result("external.forget", "meier", name="gmx"))["forgotten"] == 2
    status.save(api.paths, "meier", "gmx", status.Status(tried=time.time(), failures=1, refused=1, error="refused"))
    assert await api.error("external.fetch_now", "meier", name="gmx") == (429, "rate_limited")
    assert (await api.result("external.fetch_now", account="meier", name="gmx"))["asked"] is True
    seen = await api.result("external.get", "meier", name="gmx")
    assert (seen["state"], seen["problem"], seen["level"]) == ("refused", "refused", 2)
    await api.result("external.modify", "meier", name="gmx", settings={"interface": "disabled"})
    assert await api.error("external.fetch_now", account="meier", name="gmx") == (422, "refused_by_rule")


# what an account may not

async def test_an_account_speaks_for_itself_only(api: Api) -> None:
    write(api, '[sources.x]\nuser = "x"\n', "chef")
    for method, more in (("get", {}), ("modify", {"settings": {"every": "5m"}}), ("delete", {}), ("test", {}),
                         ("fetch_now", {}), ("forget", {}), ("authorize", {}), ("answer", {"answer": "x"})):
        assert await api.error(f"external.{method}", "meier", account="chef", name="x", **more) == (403, "forbidden")
    assert await api.error("external.create", "meier", account="chef", address="x@gmx.de",
                           settings=GMX) == (403, "forbidden")
    assert (await api.result("external.list", "meier"))["total"] == 0
    assert await api.error("external.list", "meier", account="chef") == (403, "forbidden")
    assert await api.error("external.create", "closed", address="x@gmx.de", settings=GMX) == (403, "forbidden")
    assert await api.error("external.create", "read", account="meier", address="x@gmx.de") == (403, "forbidden")


NOT_FOR_ACCOUNTS: list[dict[str, Any]] = [
    {"password": "file:secrets/source-chef-x"}, {"password": "credential:key"}, {"proxy": "http://127.0.0.1:3128"},
    {"proxy_user": "x"}, {"proxy_password": {"secret": "x"}}, {"proxy_password": "file:tls/server.key"},
    {"tls_ca": "/etc/passwd"}, {"tls_verify": False}, {"tls_fingerprint": ["00"]}, {"tls_min": "TLSv1"},
    {"tls": "none"}, {"auth": "none"}, {"port": 22}, {"port": 6379}, {"multidrop": True}, {"fallback": "chef"},
    {"shared": "chef@office.lan"}, {"shared_login": "%shared*%user"}, {"every": "10s"}, {"every": 1}, {"timeout": "1d"},
    {"host": "localhost"}, {"host": "127.0.0.1"}, {"host": "127.1"}, {"host": "2130706433"}, {"host": "::1"},
    {"host": "[::1]"}, {"host": "0.0.0.0"}, {"host": "169.254.169.254"}, {"host": "::ffff:127.0.0.1"},
    {"host": "mail.office.lan"}, {"host": "x.localhost"}, {"user": ""}, {"user": None}, {"headers": ["To"]},
    {"mails_per_pass": 100000}, {"jitter": 0}, {"dedupe": ""}, {"prefix": "x"}, {"mechanism": "PLAIN"},
]


async def test_what_an_account_may_not_set(api: Api) -> None:
    """Neither in a new mailbox nor in one that there is; nothing is left behind."""
    await api.result("external.create", "meier", address="meier@gmx.de", settings=GMX, test=False)
    before, kept = (api.paths.accounts / "meier.toml").read_text(), secrets_of(api)
    for settings in NOT_FOR_ACCOUNTS:
        found = await api.error("external.modify", "meier", name="gmx", settings=settings)
        assert found in ((403, "forbidden"), (400, "invalid_field")), settings
        if settings != {"user": None}:  # then it is the address
            assert (await api.error("external.create", "meier", address="x@gmx.de", test=False,
                                    settings=GMX | settings))[0] in (400, 403), settings
    assert (api.paths.accounts / "meier.toml").read_text() == before
    assert secrets_of(api) == kept


async def test_this_machine_under_another_name_is_no_provider(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail that is fetched from here comes to here: it would be fetched for ever, twice as much each time."""
    leads = {"mine.far.example": ["198.51.100.9", "127.0.0.1"], "six.far.example": ["::1"],
             "own.far.example": ["203.0.113.5"], "pop.far.example": ["198.51.100.7"]}
    monkeypatch.setattr(selfservice, "addresses", lambda host: leads.get(host, []))
    monkeypatch.setattr(selfservice, "_is_ours", lambda found: str(found) == "203.0.113.5")
    for host in (*list(leads)[:3], "203.0.113.5"):
        assert await api.error("external.create", "meier", address="x@far.example", test=False,
                               settings=GMX | {"host": host}) == (403, "forbidden"), host
    await api.result("external.create", "meier", address="x@far.example", test=False,
                     settings=GMX | {"host": "pop.far.example"})


def test_what_addresses_are_ours() -> None:
    assert selfservice._is_ours(ipaddress.ip_address("127.0.0.1"))
    assert not selfservice._is_ours(ipaddress.ip_address("198.51.100.7"))
    assert "127.0.0.1" in selfservice.addresses("localhost")
    assert selfservice.addresses("a" * 64 + ".invalid") == []


async def test_a_password_goes_nowhere_else(api: Api) -> None:
    """Whoever names another server or user types the password again."""
    await api.result("external.create", account="meier", address="meier@gmx.de", settings=GMX, test=False)
    for settings in ({"host": "evil.example"}, {"port": 143}, {"user": "other"}, {"protocol": "pop3"}, {"host": None},
                     {"tls": "starttls"}):
        answer = await api.call("external.modify", "meier", name="gmx", settings=settings)
        assert answer.json()["error"]["field"] == "password", settings
    await api.result("external.modify", "meier", name="gmx", settings={"host": "mail.example", "every": "10m", **GMX})
    assert source(api, "gmx").host == "mail.example"


async def test_the_offices_own_log_in_is_never_inherited(api: Api) -> None:
    """[incoming] may have a user and a password: an account names its own."""
    api.paths.config_file.write_text(api.paths.config_file.read_text() + '[incoming]\ninterface = "standard"\n'
                                     'host = "mail.example"\nuser = "all"\npassword = "file:secrets/all"\n')
    write(api, '[sources.x]\nuser = "meier"\npassword = "file:secrets/source-meier-x"\n')
    assert await api.error("external.modify", "meier", name="x", settings={"user": None, "password": None}) == (
        400, "invalid_field")


async def test_a_collective_mailbox_is_not_for_one_of_them(api: Api) -> None:
    write(api, '[sources.all]\ninterface = "standard"\nhost = "mail.example"\nuser = "all"\nmultidrop = true\n'
               'proxy = "http://proxy.lan:3128"\n')
    seen = await api.result("external.get", "meier", name="all")
    assert seen["changeable"] is False
    assert "proxy.lan" not in json.dumps(seen)
    for method, more in (("modify", {"settings": {"delete": True}}), ("delete", {}), ("test", {}), ("forget", {})):
        assert await api.error(f"external.{method}", "meier", name="all", **more) == (403, "forbidden")


# log-ins at a provider

@pytest.fixture
def app(api: Api) -> Any:
    with Provider() as provider:
        yield make(api.paths, provider, servers={"imap": "imap.provider.example:993"})


def grant(api: Api, address: str, account: str) -> None:
    kept = Store(api.paths)
    kept.prepare()
    kept.save(store.Record("test", address, account=account, granted=time.time(), refresh=Secret("r")))


async def test_a_token_is_only_used_for_whoever_logged_in(api: Api, app: Any) -> None:
    """Who names somebody else's address gets nothing, whoever logs in later and in whatever order."""
    grant(api, "chef@far.example", "chef")
    made = await api.result("external.create", "meier", address="chef@far.example", settings={"app": "test"}, name="x")
    assert (made["state"], made["consent"]["state"]) == ("off", "none")
    assert source(api, "x").interface == "disabled"
    await api.result("external.modify", "meier", name="x", settings={"interface": "standard"})
    assert source(api, "x").interface == "disabled"
    await api.result("external.modify", "meier", name="x", settings={"interface": "office365"})
    assert source(api, "x").interface == "disabled"
    assert await api.error("external.authorize", "meier", name="x") == (422, "refused_by_rule")
    grant(api, "meier@far.example", "meier")
    await api.result("external.modify", "meier", name="x", settings={"user": "meier@far.example",
                                                                     "interface": "standard"})
    assert source(api, "x").interface == "standard"
    await api.result("external.modify", "meier", name="x", settings={"user": "chef@far.example"})
    assert source(api, "x").interface == "disabled"


async def test_a_token_goes_to_its_provider_only(api: Api, app: Any) -> None:
    grant(api, "meier@far.example", "meier")
    made = await api.result("external.create", "meier", address="meier@far.example", settings={"app": "test"}, name="x")
    assert (made["host"], made["port"], made["state"]) == ("imap.provider.example", 993, "new")
    for settings in ({"host": "evil.example"}, {"port": 143}):
        assert (await api.error("external.modify", "meier", name="x", settings=settings))[1] == "forbidden"
    await api.result("external.create", "meier", address="meier@gmx.de", settings=GMX, test=False, name="y")
    assert (await api.error("external.modify", "meier", name="y", settings={"app": "test", "auth": "oauth2"}))[0] == 403
    await api.result("external.modify", "meier", name="y", settings={
        "app": "test", "auth": "oauth2", "host": None, "port": None, "user": "meier@far.example"})
    assert (source(api, "y").host, source(api, "y").password) == ("imap.provider.example", "")


async def test_apps_that_open_any_mailbox_are_for_administrators(api: Api) -> None:
    with Provider() as provider:
        make(api.paths, provider, name="service", grant="client_credentials", client_secret="file:secrets/x",
             app_scopes={"mail": ["x"]}, servers={"imap": "imap.provider.example:993"})
        assert await api.error("external.create", "meier", address="chef@far.example",
                               settings={"app": "service"}) == (403, "forbidden")
        assert (await api.result("external.providers", "meier"))["apps"] == []


async def test_providers_are_told_without_secrets(api: Api, app: Any) -> None:
    told = await api.result("external.providers", "meier")
    assert {"gmx", "gmail", "office365"} <= {one["name"] for one in told["providers"]}
    assert told["apps"] == [{"name": "test", "title": "test", "hint": "", "protocols": ["imap"]}]
