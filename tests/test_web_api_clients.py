"""oauth_client.*: a mail program from its registration to its end, by administrators and by the account itself."""

import base64
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.logins import apikeys, grants, mailprograms
from tests import webserver
from tests.test_web_api import Api

EVIL = '"><svg onload=alert(1)>'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path)
    (where.accounts / "fest.toml").write_text("self_service = false\n")
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"), ("chef", "account:chef"),
        ("fest", "account:fest"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


def logged_in(api: Api, client_id: str) -> tuple[str, str]:
    """A log-in by the client: its access token and consent."""
    register = grants.Register(api.paths.state)
    client = register.client(client_id)
    assert client is not None
    issued = register.exchange(register.code(client, client.account, list(client.scopes), "http://localhost/"),
                               client.id, time.time())
    return issued.access, issued.consent


def account_of(api: Api, token: str, service: str = "imap") -> str | None:
    return grants.verify_token(api.paths.state, token, service=service)


@pytest.mark.parametrize("key", ["admin", "meier"])
async def test_from_its_registration_to_its_end(api: Api, key: str) -> None:
    made = await api.result("oauth_client.create", key, account="Meier", name=EVIL, services=["imap", "smtp"],
                            redirect_uris=["https://web.example/back"])
    client_id = str(made["id"])
    assert (made["account"], made["name"], made["services"]) == ("meier", EVIL, ["imap", "smtp"])
    assert made["scope"] == "IMAP.AccessAsUser.All SMTP.Send offline_access"
    assert str(made["urls"]["token_endpoint"]).endswith("/oauth2/token")  # type: ignore[index]
    known = grants.Register(api.paths.state).client(client_id)
    assert known is not None
    assert known.has_secret(str(made["secret"]))
    token, consent = logged_in(api, client_id)
    listed = await api.call("oauth_client.list", key, account="meier")
    assert str(made["secret"]) not in listed.text
    assert known.secret not in listed.text
    one = listed.json()["result"]["clients"][0]
    assert (one["id"], one["secret"], one["secret_set"], one["connected"][0]["id"]) == (client_id, None, True, consent)
    assert abs(one["used"] - time.time()) < 60
    assert account_of(api, token, "smtp") == "meier"
    changed = await api.result("oauth_client.modify_scope", key, id=client_id, services=["imap"])
    assert changed["services"] == ["imap"]
    assert (account_of(api, token, "smtp"), account_of(api, token)) == (None, "meier")
    assert (await api.result("oauth_client.disable", key, id=client_id))["disabled"] is True
    assert account_of(api, token) is None
    assert (await api.result("oauth_client.disable", key, id=client_id, disabled=False))["disabled"] is False
    assert account_of(api, token) == "meier"
    assert (await api.result("oauth_client.disconnect", key, id=consent))["ended"] is True
    assert account_of(api, token) is None
    assert await api.error("oauth_client.disconnect", key, id=consent) == (404, "not_found")
    await api.result("oauth_client.delete", key, id=client_id)
    assert (await api.result("oauth_client.list", key))["clients"] == []
    noted = next((api.paths.state / "audit").iterdir()).read_text()
    assert "what=oauth_client.create" in noted
    assert str(made["secret"]) not in noted


async def test_whose_it_is_is_nobody_elses_business(api: Api) -> None:
    made = await api.result("oauth_client.create", account="chef", name="x")
    _, consent = logged_in(api, str(made["id"]))
    server = await api.result("oauth_client.create", name="Dovecot")
    assert (server["account"], server["services"], server["scope"]) == ("", [], "introspect")
    for method, more in (("modify_scope", {"services": ["imap"]}), ("disable", {}), ("delete", {}), ("addon", {})):
        for client in (made, server):
            assert await api.error(f"oauth_client.{method}", "meier", id=client["id"], **more) == (404, "not_found")
    assert await api.error("oauth_client.disconnect", "meier", id=consent) == (404, "not_found")
    assert await api.error("oauth_client.list", "meier", account="chef") == (403, "forbidden")
    assert await api.error("oauth_client.list", "meier", account="") == (403, "forbidden")
    assert await api.error("oauth_client.create", "meier", account="chef", name="x") == (403, "forbidden")
    assert await api.error("oauth_client.create", "meier", name="x") == (403, "forbidden")
    assert (await api.result("oauth_client.list", "meier"))["clients"] == []
    assert len((await api.result("oauth_client.list", "read"))["clients"]) == 2  # type: ignore[arg-type]
    assert len((await api.result("oauth_client.list", "read", account="chef"))["clients"]) == 1  # type: ignore[arg-type]
    assert await api.error("oauth_client.disable", "read", id=made["id"]) == (403, "forbidden")


async def test_without_self_service_one_can_only_end(api: Api) -> None:
    made = await api.result("oauth_client.create", account="fest", name="x")
    _, consent = logged_in(api, str(made["id"]))
    assert await api.error("oauth_client.create", "fest", account="fest", name="y") == (403, "forbidden")
    assert await api.error("oauth_client.modify_scope", "fest", id=made["id"], services=["imap"]) == (403, "forbidden")
    await api.result("oauth_client.disconnect", "fest", id=consent)
    await api.result("oauth_client.disable", "fest", id=made["id"])
    assert await api.error("oauth_client.disable", "fest", id=made["id"], disabled=False) == (403, "forbidden")
    await api.result("oauth_client.delete", "fest", id=made["id"])


@pytest.mark.parametrize(("given", "field"), [
    ({"name": ""}, "name"), ({"name": "  "}, "name"), ({"name": "a\nb"}, "name"), ({"name": "x" * 101}, "name"),
    ({"name": "\u202eevil"}, "name"), ({"services": ["ftp"]}, "services.0"), ({"services": "imap"}, "services"),
    ({"redirect_uris": ["http://web.example/"]}, "redirect_uris"),
    ({"redirect_uris": ["javascript:x"]}, "redirect_uris"),
    ({"redirect_uris": ["https://w.example/"] * 21}, "redirect_uris"), ({"account": "niemand"}, "account"),
    ({"account": "../x"}, "account"), ({"public": 1}, "public"),
])
async def test_what_cannot_be_registered(api: Api, given: dict[str, object], field: str) -> None:
    answer = await api.call("oauth_client.create", **{"account": "meier", "name": "x", **given})
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["field"] == field
    assert grants.Register(api.paths.state).clients() == []


@pytest.mark.parametrize("client_id", ["", "x", "0" * 31, "0" * 32, "../" + "0" * 29, "A" * 32])
async def test_ids_that_are_none(api: Api, client_id: str) -> None:
    for method, more in (("delete", {}), ("modify_scope", {"services": ["imap"]}), ("disconnect", {}), ("addon", {})):
        assert (await api.error(f"oauth_client.{method}", id=client_id, **more))[0] in (400, 404)


async def test_one_account_has_no_end_of_programs(api: Api) -> None:
    register = grants.Register(api.paths.state)
    for _ in range(mailprograms.MOST):
        register.add_client("meier", "x", [grants.SCOPES["imap"]])
    assert await api.error("oauth_client.create", "meier", account="meier", name="x") == (422, "refused_by_rule")


async def test_no_service_is_no_program(api: Api) -> None:
    made = await api.result("oauth_client.create", account="meier", name="x")
    assert made["services"] == ["imap", "pop3", "smtp"]
    assert await api.error("oauth_client.modify_scope", id=made["id"], services=[]) == (400, "invalid_field")


async def test_what_programs_ask_for(api: Api) -> None:
    found = await api.result("oauth_client.urls", "meier")
    assert set(found["urls"]) >= {"issuer", "authorization_endpoint", "token_endpoint", "scope"}  # type: ignore[call-overload]
    assert {one["kind"] for one in found["servers"]} == {"imap", "pop3", "smtp"}  # type: ignore[attr-defined]


async def test_the_add_on(api: Api) -> None:
    public = await api.result("oauth_client.create", "meier", account="meier", name="x", public=True)
    assert public["secret"] is None
    made = await api.result("oauth_client.addon", "meier", id=public["id"])
    assert made["filename"] == "meier-oauth2.xpi"
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(str(made["content"])))) as packed:
        known = json.loads(packed.read("manifest.json"))["oauth_provider"]
    assert (known["clientId"], "clientSecret" in known) == (public["id"], False)
    secret = await api.result("oauth_client.create", "meier", account="meier", name="y")
    assert await api.error("oauth_client.addon", "meier", id=secret["id"], secret="x") == (403, "forbidden")
    made = await api.result("oauth_client.addon", "meier", id=secret["id"], secret=secret["secret"])
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(str(made["content"])))) as packed:
        assert json.loads(packed.read("manifest.json"))["oauth_provider"]["clientSecret"] == secret["secret"]
    server = await api.result("oauth_client.create", name="Dovecot")
    assert await api.error("oauth_client.addon", id=server["id"]) == (422, "refused_by_rule")
