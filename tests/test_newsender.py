"""newsender.py: who the outside sees as the author."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import address, newsender
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer

NEW = address.parse("info@firma.example")


@pytest.mark.parametrize(("before", "after"), [
    (b"From: meier@office.lan\n", b"From: info@firma.example\nReply-To: meier@office.lan\n"),
    (b"From: Hans Meier <meier@office.lan>\n",
     b"From: Hans Meier <info@firma.example>\nReply-To: Hans Meier <meier@office.lan>\n"),
    (b'FROM : "Meier, Hans <x>"\n <meier@office.lan>\n',
     b'From: "Meier, Hans <x>" <info@firma.example>\nReply-To: "Meier, Hans <x>" <meier@office.lan>\n'),
    (b"From: =?utf-8?q?M=C3=BCller?= <m@office.lan>\nReply-To: a@b.example\n",
     b"From: =?utf-8?q?M=C3=BCller?= <info@firma.example>\nReply-To: a@b.example\n"),
    (b"From: M\xfcller <m@office.lan>, Chef <c@office.lan>\nSender: m@office.lan\n",
     b"From: M\xfcller <info@firma.example>\nReply-To: M\xfcller <m@office.lan>, Chef <c@office.lan>\n"),
    (b"From: m@office.lan (Hans (H.) Meier)\n",
     b"From: info@firma.example (Hans (H.) Meier)\nReply-To: m@office.lan (Hans (H.) Meier)\n"),
    (b"From: Vertrieb: m@office.lan, c@office.lan;\n",
     b"From: info@firma.example\nReply-To: Vertrieb: m@office.lan, c@office.lan;\n"),
    (b"Subject: x\n", b"Subject: x\nFrom: info@firma.example\n"),
    (b"From: a@b.example\nFrom: c@d.example\n", b"From: info@firma.example\nReply-To: a@b.example\n"),
    (b"From: I <info@firma.example>\n", b"From: I <info@firma.example>\n"),
    (b"From: \"open <a@b.example>\n", b"From: \"open <info@firma.example>\nReply-To: \"open <a@b.example>\n"),
])
def test_the_author_is_another(before: bytes, after: bytes) -> None:
    for end in (b"\n", b""):
        assert newsender.overwrite(before + end, NEW) == after + end


def test_all_else_stays() -> None:
    header = b"Received: from x\n\tby y\nsubject:x\n  y\nFrom: m@office.lan\nX-From: m@office.lan\nno field\n\n"
    changed = newsender.overwrite(header, NEW)
    assert changed == header.replace(b"\nFrom: m@office.lan", b"\nFrom: info@firma.example").replace(
        b"no field\n", b"no field\nReply-To: m@office.lan\n")


@pytest.mark.parametrize(("template", "account", "sender", "expected"), [
    ("info@firma.example", "meier", "x@y.example", "info@firma.example"),
    ("%localpart%@firma.example", "meier", "hans.meier@office.lan", "meier@firma.example"),
    ("office+%localpart%@firma.example", None, "hans@office.lan", "office+hans@firma.example"),
    ("%localpart%@firma.example", None, None, "author@firma.example"),
    ("x-%localpart%@firma.example", None, '"a b"@office.lan', "x-mail@firma.example"),
])
def test_the_placeholder(template: str, account: str | None, sender: str | None, expected: str) -> None:
    one = address.parse(sender) if sender else None
    assert str(newsender.of(template, account, b"From: A <author@office.lan>\n\n", one)) == expected


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_nothing_an_author_writes_makes_another_line(value: bytes, other: bytes) -> None:
    header = b"From: " + value.replace(b"\n", b" ") + b"\nX-A: " + other.replace(b"\n", b" ") + b"\n\n"
    changed = newsender.overwrite(header, NEW)
    lines = changed.split(b"\n")
    assert lines[0].startswith(b"From: ")
    assert b"info@firma.example" in lines[0]
    assert len(lines) in (4, 5)


async def test_a_bcc_that_was_left_in_goes_out_to_nobody(tmp_path: Path) -> None:
    text = b"From: m@office.lan\nBCC: a@far.example,\n b@far.example\nSubject: x\nX-Bcc: 1\n\nBcc: body\n"
    async with Peer("PIPELINING") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("a@far.example", message=text)
        root.put("b@far.example", message=text, origin="mx", client="192.0.2.1")
        assert await root.once() == 0
    ours, passed_on = sorted(peer.taken, key=lambda mail: mail.recipients)
    assert ours.text == b"From: m@office.lan\r\nSubject: x\r\nX-Bcc: 1\r\n\r\nBcc: body\r\n"
    assert passed_on.text == text.replace(b"\n", b"\r\n")
