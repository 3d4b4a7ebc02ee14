"""autoanswer/letter.py: what the answer of an autoresponder says, and that nothing of a mail gets into its header."""

import email
import email.policy
import json
import re
import time
from email.headerregistry import Address as Mailbox

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanmail import address, envelope, message
from lanmail.autoanswer import letter
from tests.answering import MAIL, NOW, Office, field

EVA = address.parse("eva@far.example")


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


def answer(office, text=MAIL, to=EVA, **how):
    """(envelope, the message as the standard library reads it, its octets)."""
    with office.visit(text, **how) as (mail, visit):
        head, data = letter.compose(mail, visit, to)
    envelope.encode(head)
    found = email.message_from_bytes(data, policy=email.policy.default)
    for name, value in found.items():
        assert not value.defects, (name, value.defects)
    assert not found.defects
    assert all(len(line) <= 998 for line in data.split(b"\n"))
    return head, found, data


def subject_of(office, incoming, **keys):
    office.responder(enabled=True, text="x", **keys)
    return str(answer(office, field("Subject", incoming))[1]["Subject"])


def test_the_whole_answer(office, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        head, _, data = answer(office, field("References", "<0@far.example>"), entry_id="1800000000.M5P6Q7.host")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert envelope.encode(head) == (
        b"X-Sender: <>\nX-Receiver: <eva@far.example>\nX-Origin: local source=autoresponder account=meier\n")
    assert data.decode() == """\
Return-Path: <>
Received: by mail.office.lan (lanmail autoresponder of meier);
\tFri, 15 Jan 2027 09:00:00 +0100
Date: Fri, 15 Jan 2027 09:00:00 +0100
From: meier@office.lan
To: eva@far.example
Subject: Re: Angebot
Message-ID: <1800000000.M5P6Q7.host.autoresponder.meier@office.lan>
In-Reply-To: <1@far.example>
References: <0@far.example>
 <1@far.example>
Auto-Submitted: auto-replied
Precedence: bulk
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
Content-Transfer-Encoding: 7bit

I am away.
"""


@pytest.mark.parametrize(("incoming", "found"), [
    ("Angebot", "Re: Angebot"), ("", "Re:"), ("   ", "Re:"), ("Re: Angebot", "Re: Angebot"),
    ("re:Angebot", "re: Angebot"),
    ("AW: Angebot", "AW: Angebot"), ("Re: AW: Re: Angebot", "Re: Angebot"), ("Re[2]: Angebot", "Re[2]: Angebot"),
    ("Fwd: Angebot", "Re: Fwd: Angebot"), ("Re:", "Re:"), ("Rechnung", "Re: Rechnung"), ("a\n b", "Re: a b"),
    ("=?utf-8?q?Gr=C3=BC=C3=9Fe_=F0=9F=98=80?=", "Re: Grüße 😀"), ("=?utf-8?q?Re=3A_=C3=BC?=", "Re: ü"),
    ("=?iso-8859-1?q?=FCber?=", "Re: über"), ("Grüße", "Re: Grüße"),
    ("=?utf-8?q?x=0D=0ABcc=3A_a=40b.example?=", "Re: x Bcc: a@b.example"),
    ("=?utf-8?b?PT9hPz0=?= =?utf-8?q?x?=", "Re: =?a?=x"), ("[FROM] [SUBJECT]", "Re: [FROM] [SUBJECT]"),
    ("x" * 2000, "Re: " + "x" * 500),
])
def test_subject_of_the_mail(office, incoming, found):
    assert subject_of(office, incoming) == found


@pytest.mark.parametrize(("own", "found"), [
    ("Away", "Away"), ("Abwesend 😀 bis [UNTIL]", "Abwesend 😀 bis 2027-02-01"), ("[SUBJECT]!", "Re: a [FROM]!"),
    ("a\nBcc: x@y.example", "a Bcc: x@y.example"), ("[NIX] [ACCOUNT", "[NIX] [ACCOUNT"),
])
def test_subject_of_the_account(office, own, found):
    assert subject_of(office, "Re: a [FROM]", subject=own, until="2027-02-01") == found


@given(st.text(max_size=700))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_subject_comes_back_as_one_line(office, text):
    wanted = letter._one_line(text, 500)
    written = letter.words(wanted, 9)
    raw = f"Subject: {written}\nX: y\n\n".encode()
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert found["X"] == "y"
    assert message.decode_words(message.field(raw, b"Subject") or b"") == wanted
    assert raw.isascii()
    assert all(len(line) <= 78 for line in raw.split(b"\n") if b" " in line[1:])


@given(st.text(max_size=3000))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_comes_back(office, text):
    body, encoding = letter._encoded(text)
    found = email.message_from_bytes(
        f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body,
        policy=email.policy.default)
    wanted = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text.replace("\r\n", "\n").replace("\r", "\n"))
    assert found.get_content().replace("\r\n", "\n") == wanted.rstrip("\n") + "\n"
    assert body.isascii()
    assert all(len(line) <= (998 if encoding == "7bit" else 76) for line in body.split(b"\n"))


@pytest.mark.parametrize(("text", "encoding"), [
    ("away\n.\nFrom here\n", "7bit"), ("Grüße aus München", "quoted-printable"), ("отпуск до понедельника", "base64"),
    ("x" * 2000, "quoted-printable"), ("", "7bit"),
])
def test_how_the_text_is_encoded(text, encoding):
    assert letter._encoded(text)[1] == encoding


def test_placeholders(office, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        office.responder(
            top='full_name = "Hans Meier"', enabled=True, until="2027-01-20 12:00",
            text="[SUBJECT]|[FROM]|[FROMNAME]|[TO]|[DATE]|[TIME]|[MESSAGEID]|[ACCOUNT]|[UNTIL]|[subject]|[OTHER]|[]")
        _, found, _ = answer(office, to=address.parse("envelope@far.example"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.get_content() == (
        "Angebot|eva@far.example|Eva Müller|meier@office.lan|2027-01-15|09:00|<1@far.example>|meier|2027-01-20 12:00|"
        "[subject]|[OTHER]|[]\n")
    assert found["To"].addresses[0].addr_spec == "envelope@far.example"


def test_they_are_filled_in_once(office):
    office.responder(enabled=True, text="[SUBJECT] [FROMNAME]")
    hostile = field("Subject", "[FROM] [TEXT]").replace(b"From: =?utf-8?q?Eva_M=C3=BCller?=", b"From: \"[SUBJECT]\"")
    assert answer(office, hostile)[1].get_content() == "[FROM] [TEXT] [SUBJECT]\n"


@pytest.mark.parametrize(("written", "name"), [
    ("Eva <eva@far.example>", "Eva"), ('"M\\"eier, Eva" <eva@far.example>', 'M"eier, Eva'),
    ("eva@far.example (Eva M)", "Eva M"),
    ("eva@far.example", "eva@far.example"), ("=?utf-8?b?w7w=?= <eva@far.example>", "ü"),
    ("Müller <eva@far.example>", "Müller"), ('"Eva <at work>" <eva@far.example>', "Eva <at work>"),
    ('"Eva <eva@far.example>', '"Eva'), ('" <eva@far.example>', '"'),
    ("\"=?utf-8?q?a=0Ab?=\" <eva@far.example>", "a b"), ("nonsense", "eva@far.example"),
    ("x" * 300 + " <e@x.example>", "x" * 100),
])
def test_names_of_senders(office, written, name):
    office.responder(enabled=True, text="[FROMNAME]")
    text = MAIL.replace(b"=?utf-8?q?Eva_M=C3=BCller?= <eva@far.example>", written.encode())
    assert answer(office, text)[1].get_content() == name + "\n"


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_nothing_of_a_mail_becomes_a_field_of_the_answer(office, subject, author, message_id, references):
    """Whatever octets come in: the answer has the fields we write, each once, and our text."""
    text = (b"Subject: " + subject + b"\nFrom: " + author + b"\nMessage-ID: " + message_id + b"\nReferences: " +
            references + b"\n\n")
    _, found, data = answer(office, text)
    allowed = ["Return-Path", "Received", "Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References",
               "Auto-Submitted", "Precedence", "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
               "Content-Transfer-Encoding"]
    assert [name for name in allowed if name in found.keys()] == found.keys()  # noqa: SIM118 — it is no dict
    assert data[:message.header_end(data)].isascii()
    assert found["Auto-Submitted"] == "auto-replied"
    assert found.get_content() == "I am away.\n"


@pytest.mark.parametrize(("name", "shown"), [
    ("", ""), ("Hans Meier", "Hans Meier"), ('Meier, "Hans"\\', 'Meier, "Hans"\\'),
    ("Jürgen Großmann", "Jürgen Großmann"),
    ("=?x?=", "=?x?="), ("a\nBcc: x@y.example", "a Bcc: x@y.example"), ("ü" * 15, "ü" * 15),
])
def test_from_whom(office, name, shown):
    office.responder(top=f"full_name = {json.dumps(name)}", enabled=True, text="x")
    author, = answer(office)[1]["From"].addresses
    assert author == Mailbox(shown, "meier", "office.lan")


def test_another_domain_is_that_of_from_envelope_and_message_id(office):
    office.responder(enabled=True, text="x", domain="firma.example", envelope="account")
    head, found, data = answer(office)
    assert str(head.sender) == "meier@firma.example"
    assert data.startswith(b"Return-Path: <meier@firma.example>\n")
    assert found["From"] == "meier@firma.example"
    assert found["Message-ID"].endswith("@firma.example>")
    assert head.recipients[0].params == (("NOTIFY", "NEVER"),)
    assert head.origin is not None
    assert head.origin.get("account") == "meier"


def test_a_domain_with_umlauts_is_written_in_ascii(office):
    office.responder(enabled=True, text="x", domain="müller.example", envelope="account")
    head, _, data = answer(office, to=address.parse("eva@bücher.example"))
    assert b"From: meier@xn--mller-kva.example\nTo: eva@xn--bcher-kva.example\n" in data
    assert str(head.sender) == "meier@müller.example"


@pytest.mark.parametrize(("own", "earlier", "found"), [
    ("<2@x.example>", None, "<2@x.example>"), ("nonsense", "<1@x.example>", None), ("<a b@x.example>", None, None),
    ("<2@x.example>", "<0@x.example> rubbish <1@x.example> <2@x.example>", "<0@x.example> <1@x.example> <2@x.example>"),
    ("<2@x.example>", " ".join(f"<{n}@y.example>" for n in range(50)),
     " ".join(f"<{n}@y.example>" for n in range(40, 50)) + " <2@x.example>"),
    (f"<{'x' * 300}@x.example>", None, None),
])
def test_the_thread(office, own, earlier, found):
    text = field("Message-ID", own)
    if earlier is not None:
        text = f"References: {earlier}\n".encode() + text
    answered = answer(office, text)[1]
    assert answered["References"] == found
    assert answered["In-Reply-To"] == (own if found else None)


def test_the_same_mail_has_the_same_answer_but_for_its_date(office):
    one, two = (answer(office, now=NOW + seconds)[2] for seconds in (0, 60))
    assert re.sub(rb"\d\d:\d\d:\d\d", b"", one) == re.sub(rb"\d\d:\d\d:\d\d", b"", two)


def test_another_text_is_another_answer(office):
    marks = set()
    for keys in ({}, {"subject": "s"}, {"text": "other"}, {"until": "2030-01-01"}, {"once_per": "1d"}):
        office.responder(enabled=True, **{"text": "x", **keys})
        with office.visit() as (_, visit):
            marks.add(letter.mark(visit.account.autoresponder))
    assert len(marks) == 4
