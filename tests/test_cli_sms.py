"""lanmail sms test: the gateway tried by hand."""

import asyncio
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from lanmail import admin
from tests import httppeer
from tests.mailroot import Root, files


def call(root: Root, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(admin.cli, ["sms", "test", *words, "--root", str(root.paths.root)])
    assert result.exit_code == code, result.output
    return result.output


def office(base: Path, sms: str = "") -> Root:
    return Root(base, settings=f"[sms]\n{sms}\n")


def test_without_a_gateway_it_says_what_to_set(tmp_path) -> None:
    assert "sms.gateway" in call(office(tmp_path), "0179123456", code=os.EX_CONFIG)


@pytest.mark.parametrize("number", ["123456", "abc", "+0123456", "0049", "+49 179 x"])
def test_a_number_that_is_none_is_refused(tmp_path, number) -> None:
    root = office(tmp_path, 'gateway = "smstools"\ndirectory = "/nowhere"')
    assert "write it like 0049" in call(root, number, code=os.EX_USAGE)


def test_a_file_is_left_for_the_program(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    root = office(tmp_path / "root", f'gateway = "smstools"\ndirectory = "{tmp_path}/out"')
    said = call(root, "0179/123 45-67", "--text", "Hallo „Welt“")
    assert 'text:     Hallo "Welt"   (12 characters, GSM)' in said
    assert "answer:   stored as lanmail." in said
    assert files(tmp_path / "out") == [b'To: 491791234567\nAlphabet: UTF-8\n\nHallo "Welt"']


def test_a_directory_that_is_missing_is_named(tmp_path) -> None:
    root = office(tmp_path, 'gateway = "gammu"\ndirectory = "/nonexistent/outbox"')
    assert "/nonexistent/outbox is not there" in call(root, "0179123456", code=os.EX_TEMPFAIL)


def test_a_request_is_shown_without_its_secret(tmp_path) -> None:
    root = office(tmp_path, 'gateway = "http"\nurl = "https://gw.example/send"\npassword = "file:secrets/gw"\n'
                  'headers = { X-Api-Key = "{secret}" }\nform = { to = "{to}", text = "{text}" }')
    said = call(root, "0179123456", "--dry", "--text", "a&b")
    assert "POST https://gw.example/send\nX-Api-Key: ***\n" in said
    assert "to=%2B49179123456&text=a%26b" in said


async def test_the_answer_of_a_gateway_is_shown(tmp_path) -> None:
    async with httppeer.Peer(httppeer.ok(b"100 queued")) as peer:
        root = office(tmp_path, f'gateway = "http"\nurl = "http://127.0.0.1:{peer.port}/{{text}}"\nmethod = "GET"')
        said = await asyncio.to_thread(call, root, "0179123456", "--text", "a b")
    assert "HTTP 200 OK 100 queued" in said
    assert peer.requests[0][0].startswith(b"GET /a%20b HTTP/1.1\r\n")


def test_a_mail_is_queued_for_a_gateway_that_takes_mail(tmp_path) -> None:
    root = office(tmp_path, 'gateway = "mail"\nmail_to = "{digits}@gw.example"')
    assert "queued as a mail" in call(root, "0179123456")
    (text,) = files(root.paths.queue / "new")
    assert b"X-Receiver: <49179123456@gw.example>" in text


@pytest.mark.parametrize(("wrong", "complaint"), [
    ('gateway = "http"', "sms.url must be given"), ('gateway = "smstools"', "sms.directory must be given"),
    ('gateway = "mail"\nmail_to = "x@y.example"', "{digits}"),
    ('gateway = "http"\nurl = "https://x.example/"\nform = { k = "{secret}" }', "sms.password"),
    ('ok_pattern = "("', "ok_pattern is no regular expression"), ("json_body = '{'", "json_body is no JSON"),
    ('headers = { "a b" = "c" }', "is no header"), ('url = "https://user:pw@x.example/"', "is not a URL"),
    ('quiet = ["whenever"]', "no time of the week"), ('country_code = "0"', "country_code"),
])
def test_settings_that_cannot_work_are_refused(tmp_path, wrong, complaint) -> None:
    assert complaint in call(office(tmp_path, wrong), "0179123456", code=os.EX_CONFIG)
