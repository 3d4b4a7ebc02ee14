"""Log-ins by a code that is typed elsewhere (RFC 8628), as programs and browsers have them."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lxml.html
import pytest
import requests

from lanmail.logins import devicecodes, grants
from tests import oauthweb
from tests.oauthweb import HASH, PASSWORD, SCOPE, Office

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with oauthweb.running(tmp_path) as made:
        yield made


async def begin(office: Office, **other: str) -> requests.Response:
    form = {"client_id": office.client.id, "client_secret": office.secret, "scope": SCOPE, **other}
    return await office.post("/oauth2/device_authorization", data=form)


async def poll(office: Office, secret: str, **other: str) -> requests.Response:
    return await office.post("/oauth2/token", data={
        "grant_type": GRANT, "device_code": secret, "client_id": office.client.id, "client_secret": office.secret,
        **other})


def hidden(page: requests.Response) -> dict[str, str]:
    return {one.get("name"): one.get("value", "")
            for one in lxml.html.fromstring(page.text).findall(".//input") if one.get("type") == "hidden"}


async def type_code(office: Office, code: str) -> requests.Response:
    page = await office.get("/oauth2/device")
    assert page.status_code == 200
    return await office.post("/oauth2/device", data={**hidden(page), "user_code": code})


async def answer(office: Office, code: str, said: str = "allow", user: str = "meier",
                 password: str = PASSWORD) -> requests.Response:
    page = await type_code(office, code)
    assert page.status_code == 200, page.text
    return await office.post("/oauth2/device", data={
        **hidden(page), "user": user, "password": password, "answer": said})


def settle(office: Office, secret: str, **changes: Any) -> None:
    """As if time had passed."""
    waiting = devicecodes.Waiting(office.paths.state)
    known = waiting.get(secret)
    assert known is not None
    path = next((office.paths.state / "grants/devices").glob("*.json"))
    changed = replace(known, **changes)
    waiting._files.write("devices", path.stem, {one: getattr(changed, one) for one in devicecodes.Device.__slots__})


async def test_the_whole_way(office: Office) -> None:
    told = (await begin(office)).json()
    assert (told["expires_in"], told["interval"]) == (900, 5)
    assert told["verification_uri"] == "https://mail.office.lan:6443/oauth2/device"
    assert told["verification_uri_complete"].endswith(f"?user_code={told['user_code']}")
    assert all(told[one] in told["message"] for one in ("user_code", "verification_uri"))
    pending = await poll(office, told["device_code"])
    assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
    page = await type_code(office, told["user_code"].lower())
    assert "Thunder &lt;bird&gt;" in page.text
    assert told["user_code"] in page.text
    assert "send mail" in page.text
    assert "POP3" not in page.text
    done = await answer(office, told["user_code"])
    assert done.status_code == 200
    assert "let in" in done.text
    tokens = await poll(office, told["device_code"])
    assert tokens.status_code == 200, tokens.text
    assert tokens.headers["Cache-Control"] == "no-store"
    body = tokens.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, SCOPE)
    assert grants.verify_token(office.paths.state, body["access_token"], service="imap") == "meier"
    assert [one.account for one in office.register.consents()] == ["meier"]
    again = await poll(office, told["device_code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    newer = await office.post("/oauth2/token", data={
        "grant_type": "refresh_token", "refresh_token": body["refresh_token"], "client_id": office.client.id,
        "client_secret": office.secret})
    assert newer.status_code == 200


async def test_a_client_in_a_hurry_is_slowed_down(office: Office) -> None:
    told = (await begin(office)).json()
    errors = [(await poll(office, told["device_code"])).json()["error"] for _ in range(3)]
    assert errors == ["authorization_pending", "slow_down", "slow_down"]
    settle(office, told["device_code"], polled=time.time() - 15)
    assert (await poll(office, told["device_code"])).json()["error"] == "authorization_pending"


async def test_no_is_no(office: Office) -> None:
    told = (await begin(office)).json()
    assert "not let in" in (await answer(office, told["user_code"], "deny", password="")).text
    assert (await poll(office, told["device_code"])).json()["error"] == "access_denied"
    assert (await type_code(office, told["user_code"])).status_code == 403
    assert office.register.consents() == []


async def test_it_expires(office: Office) -> None:
    told = (await begin(office)).json()
    settle(office, told["device_code"], expires=time.time() - 1)
    assert (await poll(office, told["device_code"])).json()["error"] == "expired_token"
    assert (await type_code(office, told["user_code"])).status_code == 403


@pytest.mark.parametrize(("change", "status", "error"), [
    ({"client_secret": "wrong"}, 401, "invalid_client"), ({"client_id": "f" * 32}, 400, "invalid_client"),
    ({"scope": ""}, 400, "invalid_scope"), ({"scope": "POP.AccessAsUser.All"}, 400, "invalid_scope"),
    ({"scope": "smtp.send"}, 400, "invalid_scope"), ({"scope": "offline_access"}, 400, "invalid_scope"),
])
async def test_a_beginning_that_is_wrong(office: Office, change: dict[str, str], status: int, error: str) -> None:
    answered = await begin(office, **change)
    assert (answered.status_code, answered.json()["error"]) == (status, error)


async def test_a_server_that_asks_about_tokens_gets_none(office: Office) -> None:
    server, secret = office.register.add_client("", "Dovecot", [grants.INTROSPECT])
    answered = await begin(office, client_id=server.id, client_secret=secret)
    assert answered.json()["error"] == "unauthorized_client"


async def test_the_codes_are_their_clients_own(office: Office) -> None:
    other, secret = office.register.add_client("meier", "other", ["IMAP.AccessAsUser.All"])
    told = (await begin(office)).json()
    await answer(office, told["user_code"])
    foreign = await poll(office, told["device_code"], client_id=other.id, client_secret=secret)
    assert foreign.json()["error"] == "unauthorized_client"
    assert (await poll(office, told["device_code"], client_secret="x")).status_code == 401
    assert (await poll(office, told["user_code"])).json()["error"] == "invalid_grant"
    assert (await poll(office, told["device_code"])).status_code == 200


async def test_a_public_client_and_online_access(office: Office) -> None:
    public, _ = office.register.add_client("meier", "script", ["SMTP.Send"], public=True)
    asked = {"client_id": public.id, "scope": "SMTP.Send", "access_type": "online"}
    told = (await office.post("/oauth2/device_authorization", data=asked)).json()
    await answer(office, told["user_code"])
    body = (await office.post("/oauth2/token", data={
        "grant_type": GRANT, "device_code": told["device_code"], "client_id": public.id})).json()
    assert body["scope"] == "SMTP.Send"
    assert "refresh_token" not in body


async def test_a_program_that_asks_by_get_and_one_that_asks_for_nothing(office: Office) -> None:
    public, _ = office.register.add_client("meier", "script", ["SMTP.Send"], public=True)
    asked = {"client_id": public.id, "scope": "SMTP.Send"}
    assert (await office.get("/oauth2/device_authorization", params=asked)).json()["user_code"]
    for method in ("GET", "POST"):
        nothing = await office.ask(method, "/oauth2/device_authorization")
        assert (nothing.status_code, nothing.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(("user", "password"), [("meier", "wrong"), ("schmidt", PASSWORD), ("", "")])
async def test_only_the_owner_lets_it_in(office: Office, user: str, password: str) -> None:
    told = (await begin(office)).json()
    refused = await answer(office, told["user_code"], user=user, password=password)
    assert refused.status_code == 403
    assert 'role="alert"' in refused.text
    assert (await poll(office, told["device_code"])).json()["error"] == "authorization_pending"
    assert (await answer(office, told["user_code"])).status_code == 200


async def test_accounts_and_clients_that_are_disabled_meanwhile(office: Office) -> None:
    told = (await begin(office)).json()
    await answer(office, told["user_code"])
    (office.paths.accounts / "meier.toml").write_text(f'password = "{HASH}"\ndisabled = true\n')
    assert (await poll(office, told["device_code"])).json()["error"] == "invalid_grant"
    later = (await begin(office)).json()
    office.register.save_client(replace(office.client, disabled=True))
    assert (await type_code(office, later["user_code"])).status_code == 403
    assert (await poll(office, later["device_code"])).json()["error"] == "invalid_client"


async def test_who_guesses_codes_has_to_wait(office: Office) -> None:
    told = (await begin(office)).json()
    texts = [(await type_code(office, f"BBBB-BBB{letter}")).text for letter in devicecodes.LETTERS[:8]]
    assert "No program waits for this code" in texts[0]
    assert "please wait a moment" in texts[-1]
    late = await type_code(office, told["user_code"])
    assert late.status_code == 403, "the right one is not looked at either"
    assert "Thunder" not in late.text


async def test_a_form_from_elsewhere_is_not_taken(office: Office) -> None:
    told = (await begin(office)).json()
    data = {"user_code": told["user_code"], "user": "meier", "password": PASSWORD, "answer": "allow"}
    for more in ({}, {"form": ""}, {"form": "x", "cookies": {"lanmail-form": "y"}}):
        cookies = {"cookies": more.pop("cookies")} if "cookies" in more else {}
        refused = await office.post("/oauth2/device", data={**data, **more}, **cookies)
        assert refused.status_code == 403
    page = await office.get("/oauth2/device")
    evil = await office.post("/oauth2/device", data={**data, **hidden(page)}, headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
    assert (await poll(office, told["device_code"])).json()["error"] == "authorization_pending"


async def test_a_code_in_the_address_is_filled_in_and_not_sent(office: Office) -> None:
    told = (await begin(office)).json()
    page = await office.get("/oauth2/device", params={"user_code": told["user_code"]})
    assert f'value="{told["user_code"]}"' in page.text
    assert "Thunder" not in page.text
    for text in ('"><svg onload=alert(1)>', "x" * 5000):
        page = await office.get("/oauth2/device", params={"user_code": text})
        assert "<svg" not in page.text
        assert len(page.text) < 5000
        assert "<svg" not in (await type_code(office, text)).text
    assert page.headers["X-Frame-Options"] == "DENY"
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


async def test_in_german(office: Office) -> None:
    told = (await begin(office)).json()
    office.session.headers["Accept-Language"] = "de"
    assert "Anmelden mit einem Code" in (await office.get("/oauth2/device")).text
    assert "Auf diesen Code wartet kein Programm" in (await type_code(office, "BBBB-BBBB")).text
    assert "Machen Sie nur weiter" in (await type_code(office, told["user_code"])).text
    assert "angemeldet" in (await answer(office, told["user_code"])).text


async def test_it_stands_in_the_metadata(office: Office) -> None:
    found = (await office.get("/.well-known/oauth-authorization-server")).json()
    assert found["device_authorization_endpoint"] == "https://mail.office.lan:6443/oauth2/device_authorization"
    assert found["grant_types_supported"] == ["authorization_code", "refresh_token", GRANT]


async def test_labels_and_headings(office: Office) -> None:
    told = (await begin(office)).json()
    for page in (await office.get("/oauth2/device"), await type_code(office, told["user_code"])):
        tree = lxml.html.fromstring(page.text)
        assert len(tree.findall(".//h1")) == 1
        labelled = {one.get("for") for one in tree.iter("label")}
        assert {one.get("id") for one in tree.iter("input") if one.get("type") != "hidden"} <= labelled
        assert not re.search(r"<script|style=", page.text)
