"""The HTTP API: what all its methods share, and the methods of servers and queues."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from lanmail import passwords, spool
from lanmail.administration import audit
from lanmail.logins import apikeys
from lanmail.web.api import frame
from tests import webserver
from tests.mailroot import DOMAIN
from tests.webserver import Web

PASSWORD = "geheim wörtlich"
HASH = passwords.hash(PASSWORD)
MAIL = b"Return-Path: <meier@office.lan>\nSubject: hi\n\nbody\n"


class Api(Web):
    """The server with keys of all kinds."""

    keys: dict[str, str]

    async def call(self, name_: str, _key: str = "admin", /, **params: object) -> requests.Response:
        return await self.post(f"/api/v1/{name_}", json=params, headers={"Authorization": f"Bearer {self.keys[_key]}"})

    async def result(self, name_: str, _key: str = "admin", /, **params: object) -> dict[str, object]:
        answer = await self.call(name_, _key, **params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["ok"] is True
        found: dict[str, object] = answer.json()["result"]
        return found

    async def error(self, name_: str, _key: str = "admin", /, **params: object) -> tuple[int, str]:
        answer = await self.call(name_, _key, **params)
        assert answer.json()["ok"] is False
        return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = webserver.lay_out(tmp_path)
    (where.accounts / "meier.toml").write_text(f'password = "{HASH}"\n')
    file = where.conf / "api.toml"
    keys = {name: apikeys.add(file, name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"), ("chef", "account:chef"))}
    keys["far"] = apikeys.add(file, "far", "admin", ["192.0.2.0/24"])
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


def put(web: Web, *to: str, where: str = "outbound", account: str = "meier") -> str:
    """An entry of an account's; its id."""
    from lanmail import address, envelope

    one = spool.Spool(web.paths.spool / where, state=web.paths.state / where, hold=web.paths.hold)
    one.ensure()
    head = envelope.Envelope(address.parse(f"{account}@{DOMAIN}"), [envelope.Recipient(address.parse(a)) for a in to],
                             origin=envelope.Origin("submission", (("account", account),)))
    return spool.parse_name(one.put(head, MAIL)).id


async def test_a_call(api: Api) -> None:
    assert set(await api.result("server.version")) == {"version"}
    found = await api.get("/api/v1/server.version", headers={"Authorization": f"Bearer {api.keys['read']}"})
    assert found.json()["ok"] is True
    assert found.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("header", [
    None, "Bearer x", "Bearer ", "Basic !", "Basic bWVpZXI6d3Jvbmc=", "Basic eDp5", "Digest x", "Bearer é",
])
async def test_who_is_it(api: Api, header: str | None) -> None:
    headers = {"Authorization": header.encode("utf-8")} if header is not None else {}
    answer = await api.post("/api/v1/server.version", json={}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_an_account_by_its_password(api: Api) -> None:
    answer = await api.post("/api/v1/server.version", json={}, auth=("meier", PASSWORD.encode()))
    assert answer.status_code == 200
    answer = await api.post("/api/v1/server.status", json={}, auth=("meier", PASSWORD.encode()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


async def test_a_key_counts_from_its_networks_and_until_it_is_removed(api: Api) -> None:
    assert await api.error("server.version", "far") == (401, "unauthorized")
    assert apikeys.remove(api.paths.conf / "api.toml", "admin")
    assert await api.error("server.version") == (401, "unauthorized")


@pytest.mark.parametrize(("body", "code"), [
    (b"{", "bad_json"), (b"[]", "bad_json"), (b"null", "bad_json"), (b"\xff", "bad_json"), (b'{"a":NaN}', "bad_json"),
    (b'{"x":"\\ud800"}', "invalid_field"), (b'{"\\udcff":1}', "invalid_field"),
    (b'{"a":1,"a":2}', "bad_json"), (b'{"a":' + b"[" * 60 + b"]" * 60 + b"}", "bad_json"),
    (b"[" * 100_000, "bad_json"), (b'{"x":1}', "unknown_field"), (b'{"limit":"5"}', "invalid_field"),
    (b'{"limit":0}', "invalid_field"), (b'{"limit":501}', "invalid_field"), (b'{"limit":1e999}', "invalid_field"),
    (b'{"spool":"../x"}', "invalid_field"), (b'{"spool":["queue"]}', "invalid_field"),
])
async def test_what_is_no_call(api: Api, body: bytes, code: str) -> None:
    headers = {"Authorization": f"Bearer {api.keys['admin']}", "Content-Type": "application/json"}
    answer = await api.post("/api/v1/queue.list", data=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), answer.text


async def test_forms_and_texts_are_not_taken(api: Api) -> None:
    """What a page elsewhere can make a browser send without asking."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = {"Authorization": f"Bearer {api.keys['admin']}", "Content-Type": kind}
        answer = await api.post("/api/v1/queue.list", data=b"{}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_what_is_not_there(api: Api) -> None:
    assert await api.error("no.such") == (404, "unknown_method")
    assert await api.error("queue.get", id="1.x") == (404, "not_found")
    wrong = await api.get("/api/v1/queue.delete?id=x", headers={"Authorization": f"Bearer {api.keys['admin']}"})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(("key", "name", "good"), [
    ("read", "server.status", True), ("meier", "server.status", False), ("read", "queue.list", True),
    ("meier", "queue.list", True), ("read", "queue.retry", False), ("meier", "queue.retry", False),
    ("read", "queue.delete", False), ("meier", "server.version", True),
])
async def test_rights(api: Api, key: str, name: str, good: bool) -> None:
    params = {} if name in ("server.status", "server.version", "queue.list") else {"id": put(api, "x@far.example")}
    answer = await api.call(name, key, **params)
    assert (answer.status_code == 200) == good, answer.text
    assert good or answer.json()["error"]["code"] == "forbidden"


async def test_the_queue(api: Api) -> None:
    first, second = put(api, "x@far.example"), put(api, "y@other.example", account="chef")
    found = await api.result("queue.list")
    assert [one["id"] for one in found["entries"]] == [first, second]
    assert (await api.result("queue.list", domain="other.example"))["total"] == 1
    assert (await api.result("queue.list", limit=1, offset=1))["entries"][0]["id"] == second
    known = await api.result("queue.get", id=first)
    assert known["header"] == "Return-Path: <meier@office.lan>\nSubject: hi\n\n"
    assert (await api.result("queue.hold", id=first, why="look"))["done"] == "held"
    assert (await api.result("queue.list", state="held"))["entries"][0]["reason"] == "look"
    assert (await api.result("queue.release", id=first))["done"] == "released"
    assert (await api.result("queue.delete", id=first))["done"] == "deleted"
    assert await api.error("queue.delete", id=first) == (404, "not_found")
    assert (await api.result("server.status"))["spools"]["outbound"]["entries"] == 1


async def test_an_account_sees_and_cancels_its_own(api: Api) -> None:
    mine, other = put(api, "x@far.example"), put(api, "y@other.example", account="chef")
    assert [one["id"] for one in (await api.result("queue.list", "meier"))["entries"]] == [mine]
    assert await api.error("queue.list", "meier", account="chef") == (403, "forbidden")
    assert await api.error("queue.get", "meier", id=other) == (404, "not_found")
    assert await api.error("queue.delete", "meier", id=other) == (404, "not_found")
    assert (await api.result("queue.delete", "meier", id=mine))["done"] == "deleted"


async def test_not_too_fast(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_BURST", 3.0)
    monkeypatch.setattr(frame, "_RATE", 0.0001)
    codes = [(await api.call("server.version", "read")).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert (await api.call("server.version")).status_code == 200, "others are not held up"


async def test_changes_are_noted_with_who_what_and_from_where(api: Api) -> None:
    await api.result("account.modify", name="meier", settings={"full_name": "E.", "forward": {"to": ["x@y.example"]}})
    await api.result("account.get", name="meier")
    await api.result("queue.delete", id=put(api, "x@far.example"))
    delete, modify = audit.last(api.paths, 10)
    assert " by=admin client=127.0.0.1 what=queue.delete about=" in delete
    assert modify.partition(" ")[2] == (
        "by=admin client=127.0.0.1 what=account.modify about=meier keys=forward.to,full_name")
    assert list(audit.last(api.paths, 1)) == [delete]


async def test_it_describes_itself(api: Api) -> None:
    found = (await api.get("/api/v1/openapi.json")).json()
    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]) == {f"/api/v1/{name}" for name in frame.METHODS}
    for path in found["paths"].values():
        assert path["post"]["summary"]
        name = path["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert name in found["components"]["schemas"]
    assert "#/$defs" not in json.dumps(found)


async def test_what_nobody_thought_of_is_temporary_and_json(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(frame.METHODS, "server.version", replace(frame.METHODS["server.version"], work=fail))
    assert await api.error("server.version") == (503, "busy")


async def test_a_large_body_without_a_length_is_told_so_in_json(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.keys['admin']}", "Content-Type": "application/json"}
    answer = await api.post("/api/v1/server.version", data=iter([b" " * 400_000] * 3), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_basic_that_is_none(api: Api) -> None:
    """Letters that base64 cannot have ended in an error of ours."""
    for word in ("\xe9", "x", "====", "/w=="):
        answer = await api.post("/api/v1/account.get", json={},
                                headers={"Authorization": f"Basic {word}".encode("latin-1")})
        assert answer.status_code == 401
