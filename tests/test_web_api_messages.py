"""message.submit: a mail handed in over HTTP passes what smtpd asks of a client that has logged in."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail import envelope
from lanmail.administration import audit
from lanmail.logins import apikeys
from tests import browsing, webserver
from tests.browsing import HASH, PASSWORD
from tests.test_web_api import Api

MAIL = "From: Eva <meier@office.lan>\r\nTo: chef@office.lan\r\nSubject: Grüße\r\n\r\nhallo\r\n".encode()
LIMITS = """[smtpd]
max_size = "100KB"
max_header = "8KB"
max_recipients = 100
min_free = "0B"
check_author = true
"""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    where = browsing.lay_out(tmp_path, LIMITS, httpd='max_body = "20KB"', inside="deny_internet = true\n",
                             old="disabled = true\n", reader='services = ["imap"]\n')
    (where.conf / "groups.toml").write_text('[team]\nmembers = ["chef"]\nmay_post = ["chef"]\n')
    keys = {name: apikeys.add(where.conf / "api.toml", name, rights, []) for name, rights in (
        ("admin", "admin"), ("read", "read"), ("meier", "account:meier"), ("inside", "account:inside"),
        ("reader", "account:reader"))}
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = keys
        yield made
        made.session.close()


def queued(api: Api) -> list[tuple[envelope.Envelope, bytes]]:
    """What lies in the queue."""
    found = []
    for path in sorted((api.paths.spool / "queue/new").iterdir()):
        raw = path.read_bytes()
        head, offset = envelope.decode(raw)
        assert head is not None
        found.append((head, raw[offset:]))
    assert not list((api.paths.spool / "queue/tmp").iterdir())
    return found


async def submit(api: Api, key: str = "meier", *, data: bytes = MAIL, to: tuple[str, ...] = ("chef@office.lan",),
                 sender: str = "meier@office.lan", **more: object) -> tuple[int, dict[str, object]]:
    """The status, and the result or the error."""
    given = {"from": sender, "to": list(to), "data": base64.b64encode(data).decode(), **more}
    answer = await api.call("message.submit", key, **given)
    found = answer.json()
    return answer.status_code, found["result"] if found["ok"] else found["error"]


async def test_a_mail(api: Api) -> None:
    status, found = await submit(api, to=("chef@office.lan", "x@far.example", "chef@office.lan"))
    assert status == 200
    (head, text), = queued(api)
    assert [path.name.partition(",")[0] for path in (api.paths.spool / "queue/new").iterdir()] == [found["id"]]
    assert str(head.sender) == "meier@office.lan"
    assert [str(one.address) for one in head.recipients] == ["chef@office.lan", "x@far.example"]
    assert head.origin == envelope.Origin("submission", (("account", "meier"), ("client", "127.0.0.1")))
    assert head.params == (("BODY", "8BITMIME"),)
    lines = text.decode().split("\n")
    assert lines[0] == "Return-Path: <meier@office.lan>"
    assert lines[1].startswith("Received: from api ([127.0.0.1])")
    assert f"id {found['id']}" in text.decode()
    assert b"\r" not in text
    assert f"Message-ID: {found['message_id']}\n" in text.decode()
    assert text.endswith("Subject: Grüße\n\nhallo\n".encode())
    noted = next(audit.last(api.paths, 1))
    assert "what=message.submit" in noted
    assert "hallo" not in noted
    log = "".join(path.read_text() for path in api.paths.log.glob("*.log"))
    assert f"accepted id={found['id']} origin=submission account=meier client=127.0.0.1" in log or not log


@pytest.mark.parametrize(("given", "status", "words"), [
    ({"sender": "chef@office.lan"}, 422, "553 5.7.1 <chef@office.lan> is not an address of meier"),
    ({"sender": "x@far.example"}, 422, "553 5.7.1"), ({"to": ("nobody@office.lan",)}, 422, "550 5.1.1"),
    ({"to": ("chef@office.lan", "nobody@office.lan")}, 422, "550 5.1.1"),
    ({"to": ("team@office.lan",)}, 422, "550 5.7.1"), ({"key": "inside", "sender": "inside@office.lan",
                                                        "to": ("x@far.example",)}, 422, "521 5.7.1"),
    ({"to": tuple(f"x{number}@far.example" for number in range(101))}, 422, "554 5.5.3"),
    ({"data": b"From: chef@office.lan\n\nx"}, 422, "550 5.7.1"),
    ({"data": b"X: y\n" + b"\n" + b"x" * 110_000}, 413, "552"),
    ({"data": b"X: " + b"y" * 9000 + b"\n\nx"}, 413, "552 5.3.4"),
    ({"data": b"Received: x\n" * 200 + b"\nx"}, 422, "554 5.4.6"),
    ({"data": b"x" * 190_000}, 413, ""), ({"key": "read"}, 403, ""),
    ({"account": "chef"}, 403, ""), ({"to": ()}, 400, ""), ({"to": ("a b@x",)}, 400, "to[0]: "),
    ({"to": ("x@far.example\nX-Receiver: <y@far.example>",)}, 400, "to[0]: "), ({"sender": "<>"}, 400, "from: "),
    ({"key": "admin", "sender": "x@far.example"}, 400, "account: "), ({"key": "admin", "account": "none"}, 404, ""),
    ({"key": "reader", "sender": "reader@office.lan"}, 422, "may not send"),
    ({"key": "admin", "account": "old", "sender": "old@office.lan"}, 422, "disabled"),
])
async def test_what_is_refused(api: Api, given: dict[str, object], status: int, words: str) -> None:
    if "inside" in str(given.get("key")):
        given = {**given, "data": MAIL.replace(b"meier", b"inside")}
    found_status, found = await submit(api, str(given.pop("key", "meier")), **given)  # type: ignore[arg-type]
    assert found_status == status, found
    assert words in str(found["message"])
    assert queued(api) == []


async def test_base64(api: Api) -> None:
    for data in ("%%%", "AAA", "é"):
        answer = await api.call("message.submit", "meier", **{"from": "", "to": ["chef@office.lan"], "data": data})
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "data")
    folded = base64.encodebytes(MAIL).decode()
    assert await api.result("message.submit", "meier", **{"from": "", "to": ["chef@office.lan"], "data": folded})


async def test_a_full_disk_and_a_full_mailbox_say_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.paths.full.mkdir(parents=True)
    (api.paths.full / "chef").touch()
    status, found = await submit(api)
    assert (status, found["code"], found["field"]) == (503, "busy", "to[0]")
    assert "452 4.2.2" in str(found["message"])
    (api.paths.full / "chef").unlink()
    monkeypatch.setattr("lanmail.acceptance.free_space", lambda _path: 0)
    status, found = await submit(api)
    assert (status, str(found["message"])[:9]) == (503, "452 4.3.1")
    assert queued(api) == []


async def test_an_administrators_key_sends_for_the_account_of_the_sender(api: Api) -> None:
    assert (await submit(api, "admin"))[0] == 200
    assert (await submit(api, "admin", sender="", account="Meier"))[0] == 200
    assert [head.origin.get("account") for head, _ in queued(api) if head.origin] == ["meier", "meier"]
    assert [str(head.sender or "") for head, _ in queued(api)] == ["meier@office.lan", ""]


async def test_with_name_and_password(api: Api) -> None:
    given = {"from": "meier@office.lan", "to": ["chef@office.lan"], "data": base64.b64encode(MAIL).decode()}
    assert (await api.post("/api/v1/message.submit", json=given, auth=("meier", PASSWORD.encode()))).status_code == 200
    (api.paths.accounts / "meier.toml").write_text(f'password = "{HASH}"\nself_service = false\n')
    assert (await submit(api))[0] == 200, "sending is no change"


@pytest.mark.parametrize(("text", "body"), [
    (b"a\nb", b"a\nb\n"), (b"a\r\nb\r\n", b"a\nb\n"), (b"a\rb\r\n", b"a b\n"), (b".\r\na\n.\n", b".\na\n.\n"),
    (b"a\r\n.\r\nMAIL FROM:<x>\r\n", b"a\n.\nMAIL FROM:<x>\n"), (b"a\r", b"a\n"),
])
async def test_line_ends(api: Api, text: bytes, body: bytes) -> None:
    assert (await submit(api, data=b"Subject: x\n\n" + text))[0] == 200
    assert queued(api)[0][1].endswith(b"Subject: x\n\n" + body)


async def test_a_text_without_header_is_no_part_of_ours(api: Api) -> None:
    assert (await submit(api, data=b"X-Receiver <y@far.example>\nhallo"))[0] == 200
    (head, text), = queued(api)
    assert len(head.recipients) == 1
    assert b"\n\nX-Receiver <y@far.example>\nhallo\n" in text
    assert (await submit(api, data=b"X-Receiver: <y@far.example>\n\nhallo"))[0] == 200
    assert [len(head.recipients) for head, _ in queued(api)] == [1, 1]


async def test_bare_line_ends_as_smtpd_has_them(tmp_path: Path) -> None:
    where = browsing.lay_out(tmp_path, '[smtpd]\nbare_lf = "reject"\n')
    key = apikeys.add(where.conf / "api.toml", "meier", "account:meier", [])
    async with webserver.serving(where) as web:
        made = Api(where, web.port)
        made.keys = {"meier": key}
        assert (await submit(made, data=b"X: y\n\na\n"))[0] == 200
        status, found = await submit(made, data=b"X: y\r\n\r\na\nb\r\n")
        assert (status, str(found["message"])[:10]) == (422, "550 5.6.11")
        made.session.close()
