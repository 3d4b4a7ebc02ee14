"""The envelope lines: what is written can be read back, and no value can start a line of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import address, envelope
from lanmail.envelope import Envelope, Origin, Recipient

ALICE, BOB = address.parse("alice@firma.lan"), address.parse("bob@firma.lan")


def test_round_trip():
    head = Envelope(
        ALICE,
        [Recipient(BOB, (("NOTIFY", "SUCCESS,FAILURE"), ("ORCPT", "rfc822;bob+40x@firma.lan")))],
        (("BODY", "8BITMIME"), ("SMTPUTF8", "")),
        Origin("submission", (("account", "alice"), ("client", "192.0.2.7"))),
    )
    raw = envelope.encode(head)
    assert raw == (
        b"X-Sender: <alice@firma.lan> BODY=8BITMIME SMTPUTF8\n"
        b"X-Receiver: <bob@firma.lan> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob+40x@firma.lan\n"
        b"X-Origin: submission account=alice client=192.0.2.7\n"
    )
    assert envelope.decode(raw + b"Return-Path: <alice@firma.lan>\nX-Receiver: <evil@x.y>\n\n") == (head, len(raw))
    assert head.origin is not None
    assert head.origin.get("client") == "192.0.2.7"
    assert head.origin.get("tls") is None


def test_null_sender():
    head = Envelope(None, [Recipient(BOB)])
    assert envelope.decode(envelope.encode(head))[0] == head


def test_pickup_of_others():
    """Programs of others write CRLF, any case, and leave the brackets out."""
    raw = b"x-sender: alice@firma.lan\r\nX-RECEIVER: bob@firma.lan NOTIFY=NEVER\r\nSubject: x\r\n\r\n"
    head, offset = envelope.decode(raw)
    assert head is not None
    assert head.sender == ALICE
    assert head.recipients == [Recipient(BOB, (("NOTIFY", "NEVER"),))]
    assert raw[offset:].startswith(b"Subject")


@pytest.mark.parametrize(
    "raw", [b"", b"Subject: x\n\n", b"Received: x\nX-Sender: <a@b>\n", b"X-Sender <a@b>\n", b"X-Sender: <a@b>"]
)
def test_no_envelope(raw):
    assert envelope.decode(raw) == (None, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"X-Receiver: <a@b>\n\n",
        b"X-Sender: <a@b>\nX-Sender: <a@b>\n",
        b"X-Sender: <a@b\nX-Receiver: <a@b>\n",
        b"X-Sender: <a@b> BAD PARAM=\x01\n",
        b"X-Sender: <a@b>\nX-Receiver: <>\n",
        b"X-Sender: \xff\xfe\n",
        b"X-Sender: <>\nX-Origin: \n",
    ],
)
def test_malformed(raw):
    with pytest.raises(ValueError):
        envelope.decode(raw)


EVIL = ["x\ny", "x\ry", "x\r\nX-Receiver: <evil@x.y>", "x\x00y", "x y", "x=y", "\u2028", "\x85", "x\x7f"]


@pytest.mark.parametrize("value", EVIL)
def test_no_value_can_break_a_line(value):
    for head in (
        Envelope(ALICE, [Recipient(BOB)], (("RET", value),)),
        Envelope(ALICE, [Recipient(BOB)], ((value, "x"),)),
        Envelope(ALICE, [Recipient(BOB, (("ORCPT", value),))]),
        Envelope(address.Address("a", value), [Recipient(BOB)]),
        Envelope(ALICE, [Recipient(address.Address("b", value))]),
        Envelope(ALICE, [Recipient(BOB)], (), Origin(value)),
        Envelope(ALICE, [Recipient(BOB)], (), Origin("mx", ((value, "x"),))),
    ):
        with pytest.raises(ValueError):
            envelope.encode(head)


@pytest.mark.parametrize("value", [one for one in EVIL if one != "x=y"])
def test_no_origin_value_can_break_a_line(value):
    with pytest.raises(ValueError):
        envelope.encode(Envelope(ALICE, [], (), Origin("mx", (("helo", value),))))


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_local_part_stays_on_its_line(local, value):
    head = Envelope(address.Address(local, "b.example"), [Recipient(BOB, (("ORCPT", value),))])
    try:
        raw = envelope.encode(head)
    except ValueError:
        return
    again, offset = envelope.decode(raw)
    assert offset == len(raw)
    assert again is not None
    assert again.sender == head.sender
    assert len(again.recipients) == 1
    assert raw.count(b"\n") == 2


@given(st.binary(max_size=200))
def test_decode_never_raises_but_valueerror(raw):
    try:
        envelope.decode(b"X-Sender: " + raw)
    except ValueError:
        return
