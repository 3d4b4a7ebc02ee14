"""What a message handed in without SMTP becomes: its envelope, its header, its bytes."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import envelope, pickup

DOMAIN = "office.lan"
ORIGIN = envelope.Origin("pickup")


def accept(text, **more):
    header = pickup.read(text, DOMAIN)
    return pickup.accept(header, domain=DOMAIN, hostname="mail.office.lan", entry_id="17.M1P1Q1.host", origin=ORIGIN,
                         **more)


def parties(text):
    handed = accept(text)
    return str(handed.envelope.sender or ""), [str(one.address) for one in handed.envelope.recipients]


@pytest.mark.parametrize(("text", "sender", "to"), [
    (b"From: Max <max@office.lan>\nTo: a@x.example\n\n", "max@office.lan", ["a@x.example"]),
    (b"From: max\nTo: root, \"B, C\" <b@x.example>\nCc: d@x.example\nBcc: e@x.example\n\n",
     "max@office.lan", ["root@office.lan", "b@x.example", "d@x.example", "e@x.example"]),
    (b"From: a@x.example, b@x.example\nSender: s@x.example\nTo: t\n\n", "s@x.example", ["t@office.lan"]),
    (b"Return-Path: <r@x.example>\nSender: s@x.example\nFrom: f@x.example\nTo: t\n\n", "r@x.example", ["t@office.lan"]),
    (b"Return-Path: <>\nFrom: f@x.example\nTo: t\n\n", "", ["t@office.lan"]),
    (b"To: t\n\n", "postmaster@office.lan", ["t@office.lan"]),
    (b"To: t\nto: T2\nTO: t\n\n", "postmaster@office.lan", ["t@office.lan", "T2@office.lan"]),
    (b"To: friends: a@x.example, b@x.example;, c@x.example (me)\n\n", "postmaster@office.lan",
     ["a@x.example", "b@x.example", "c@x.example"]),
    (b"To: =?utf-8?q?M=C3=BCller=2C_Jan?=\n <jan@x.example>\n\n", "postmaster@office.lan", ["jan@x.example"]),
    # the newest group of Resent fields counts, and no other address
    (b"Resent-From: r@x.example\nResent-To: n@x.example\nResent-Bcc: h@x.example\nReceived: x\n"
     b"Resent-To: old@x.example\nFrom: f@x.example\nTo: t@x.example\n\n",
     "r@x.example", ["n@x.example", "h@x.example"]),
    (b"Resent-To: n@x.example\nResent-From: r@x.example\nResent-Sender: s@x.example\nResent-To: old@x.example\n"
     b"To: t@x.example\n\n", "s@x.example", ["n@x.example"]),
    # an envelope at the top wins over everything
    (b"X-Sender: <s@x.example> BODY=8BITMIME\nX-Receiver: <a@x.example>\nX-Receiver: b\nFrom: f\nTo: t\n\n",
     "s@x.example", ["a@x.example", "b@office.lan"]),
    (b"x-sender: <>\nX-RECEIVER:a@x.example\nFrom: f\n\n", "", ["a@x.example"]),
    (b"X-Receiver: a@x.example\nFrom: f\nTo: t\n\n", "f@office.lan", ["a@x.example"]),
    (b"X-Sender: s@x.example\nFrom: f\nTo: t\n\n", "s@x.example", ["t@office.lan"]),
    (b"From max Sat Nov 21 22:15:01 2026\nTo: t\n\n", "postmaster@office.lan", ["t@office.lan"]),
    (b">From max Sat Nov 21 22:15:01 2026\r\nX-Sender: s@x.example\r\nX-Receiver: a@x.example\r\n\r\n",
     "s@x.example", ["a@x.example"]),
    # only the run at the top is envelope
    (b"Subject: x\nX-Receiver: evil@x.example\nTo: t\n\n", "postmaster@office.lan", ["t@office.lan"]),
])
def test_envelope(text, sender, to):
    assert parties(text) == (sender, to)
    assert parties(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == (sender, to)


@pytest.mark.parametrize(("text", "why"), [
    (b"Subject: x\n\nhello\n", "no recipients"),
    (b"just some text\nwithout a header\n", "no recipients"),
    (b"To: undisclosed-recipients:;\nSubject: x\n\n", "no recipients"),
    (b"X-Sender: s@x.example\nX-Sender: t@x.example\nX-Receiver: a@x.example\n\n", "two X-Sender"),
    (b"X-Sender: s@x.example\nX-Receiver: a@@x.example\n\n", "X-Receiver"),
    (b"X-Sender: s@x.example\nX-Receiver: <>\n\n", "X-Receiver"),
    (b"X-Sender: s@x.example\nX-Receiver: <a@x.example> NOTIFY=a=b\n\n", "X-Receiver"),
    (b"X-Sender: s@x.example\nX-Receiver: <a\xff\x00@x.example>\n\n", "X-Receiver"),
    (b"X-Sender: s@x.example\nX-Receiver: <a@x.example\n\tX-Origin: submission>\n\n", "X-Receiver"),
    (b"Subject: " + b"x" * pickup.MAX_HEADER, "does not end"),
    (b"X: y\n" * (pickup.MAX_HEADER // 5 + 1), "does not end"),
])
def test_what_cannot_be_sent_says_why(text, why):
    with pytest.raises(pickup.Unusable, match=why):
        accept(text[: pickup.MAX_HEADER])


def test_the_header_changes_where_it_must_and_nowhere_else():
    text = (b"From a b\r\nX-Origin: submission account=chef\r\nReceived: from there\r\n"
            b"SUBJECT :  odd   spacing \r\n\tfold\r\n"
            b"Bcc: secret@x.example,\r\n other@x.example\r\nX-Origin: submission\r\nReturn-Path: <r@x.example>\r\n"
            b"resent-BCC: x@x.example\r\nFrom: m@x.example\r\nTo: t@x.example\r\nDate: today\r\n"
            b"message-id: <own@x.example>\r\nX-8bit: \xe4\r\n\r\nbody\r\n")
    handed = accept(text)
    lines = handed.header.split(b"\n")
    assert lines[0] == b"Return-Path: <r@x.example>" or lines[0].startswith(b"Return-Path: <")
    assert lines[1].startswith(b"Received: by mail.office.lan (lanmail pickup) id 17.M1P1Q1.host; ")
    assert b"\n".join(lines[2:]) == (
        b"Received: from there\nSUBJECT :  odd   spacing \n\tfold\nFrom: m@x.example\nTo: t@x.example\nDate: today\n"
        b"message-id: <own@x.example>\nX-8bit: \xe4\n\n")
    assert handed.message_id == "<own@x.example>"
    assert text[handed.body_at:] == b"body\r\n"
    assert handed.envelope.origin == ORIGIN


def test_what_a_message_must_have_is_put_in_front():
    handed = accept(b"To: t\n\nbody\n")
    names = [line.partition(b":")[0] for line in handed.header.split(b"\n") if line]
    assert names == [b"Return-Path", b"Received", b"Message-ID", b"Date", b"From", b"To"]
    assert handed.message_id == "<17.M1P1Q1.host@office.lan>"


def test_the_null_sender_gets_an_author():
    handed = accept(b"X-Sender: <>\nX-Receiver: t\n\nbody\n")
    assert b"From: <MAILER-DAEMON@office.lan>\n" in handed.header


@pytest.mark.parametrize(("text", "body"), [
    (b"To: t\n\nbody", b"body"),
    (b"To: t\nno header line\nbody", b"no header line\nbody"),
    (b"To: t\n", b""),
    (b"To: t", b""),
    (b"To: t\r\n\r\n\r\nbody", b"\r\nbody"),
    (b"To: t\n \n\nbody", b"body"),
])
def test_where_the_body_starts(text, body):
    handed = accept(text)
    assert text[handed.body_at:] == body
    assert handed.header.endswith(b"\n\n")
    assert b"\n\n" not in handed.header[:-1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_line_ends_become_lf_wherever_the_chunks_are_cut(size):
    text = b"a\r\nb\nc\rd\r\r\n\x00\xff\r\n\r"
    chunks = (text[at : at + size] for at in range(0, len(text), size))
    assert b"".join(pickup.body_chunks(chunks)) == b"a\nb\nc\rd\r\n\x00\xff\n\r"


def test_an_envelope_written_by_us_can_always_be_read_back():
    handed = accept(b"From: \"o'b rien\"@x.example\nTo: \"quoted local\"@x.example\n\n")
    again, _ = envelope.decode(envelope.encode(handed.envelope) + handed.header)
    assert again == handed.envelope


BOMBS = {
    "resent names": b"".join(b"Resent-%d: x\n" % number for number in range(60_000)),
    "origins": b"X-Origin:\n" * 90_000,
    "receivers": b"X-Sender: <>\n" + b"X-Receiver: a@b.example\n" * 40_000,
    "blanks": b"To: a" + b" " * 900_000 + b"b\n",
    "quotes": b"To: " + b'"\\' * 450_000 + b"\n",
    "escaped quotes": b'To: "' + b'\\"' * 450_000 + b"\n",
    "comments": b"To: " + b"(" * 900_000 + b"\n",
    "brackets": b"To: " + b"<" * 900_000 + b"\n",
    "folds": b"To: a@b.example,\n" + b" \n" * 300_000,
    "addresses": b"To: " + b"a@b.example," * 70_000 + b"\n",
    "dots": b"To: " + b"." * 900_000 + b"\n",
    "labels": b"To: a@" + b"a." * 400_000 + b"\n",
    "colons": b":" * 900_000,
    "fields": b"a:\n" * 300_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_hostile_headers_cost_time_in_proportion_to_their_length(bomb):
    def cost(text):
        begin = time.process_time()
        with contextlib.suppress(pickup.Unusable):
            accept(text[: pickup.MAX_HEADER - 2] + b"\n\n")
        return time.process_time() - begin

    whole = BOMBS[bomb]
    assert cost(whole) < 10.0, "a quadratic one takes minutes"


@given(st.binary(max_size=300) | st.lists(st.sampled_from([
    b"X-Sender: ", b"X-Receiver: ", b"X-Origin: ", b"To: ", b"Bcc: ", b"Resent-To: ", b"From ", b"<", b">", b'"', b"@",
    b"a", b"x.example", b",", b"\n", b"\r\n", b" ", b"\0", b"\xff", b"NOTIFY=", b"(", b":",
]), max_size=40).map(b"".join))
def test_whatever_is_dropped_is_refused_or_becomes_a_whole_entry(text):
    try:
        handed = accept(text)
    except pickup.Unusable:
        return
    written = envelope.encode(handed.envelope) + handed.header
    again, offset = envelope.decode(written)
    assert again == handed.envelope
    assert written[offset:].startswith(b"Return-Path: <")
    assert written.endswith(b"\n\n")
    assert 0 <= handed.body_at <= len(text)
    assert not {line.partition(b":")[0].lower() for line in handed.header.split(b"\n")} & {b"bcc", b"x-origin"}
