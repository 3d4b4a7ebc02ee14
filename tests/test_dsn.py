"""Bounces: to whom, and what they say."""

import email
import email.policy

import pytest

from lanmail import address, dsn, envelope
from lanmail.errors import MailError, Permanent

HEADER = b"Return-Path: <meier@office.lan>\nMessage-ID: <m1@office.lan>\nSubject: Angebot\nFrom: meier@office.lan\n\n"


def head(sender="meier@office.lan", kind="submission", **fields):
    return envelope.Envelope(address.parse(sender) if sender else None, [], (("ENVID", "a+2Bb"),),
                             envelope.Origin(kind, tuple(fields.items())))


def report(to="nobody@office.lan", *, answer=None, remote=None, params=()):
    return dsn.Report(envelope.Recipient(address.parse(to), params),
                      answer or Permanent("There is no nobody here", 550, "5.1.1"), remote)


def composed(action, reports, *, header=HEADER, **more):
    sent, text = dsn.compose(action, reports, head(), header, entry_id="17.M1P1Q1.host", domain="office.lan",
                             hostname="mail.office.lan", arrived=1_800_000_000.0, **more)
    return sent, email.message_from_bytes(text, policy=email.policy.default)


@pytest.mark.parametrize(("original", "header", "expected"), [
    (head(), HEADER, True),
    (head(kind="pickup"), HEADER, True),
    (head(kind="local"), HEADER, True),
    (head(kind="mx"), HEADER, False),
    (head(kind="mx", account="meier"), HEADER, True),
    (head(kind="fetch"), HEADER, False),
    (head(kind="lan"), HEADER, False),
    (head(None), HEADER, False),
    (head("MAILER-DAEMON@office.lan"), HEADER, False),
    (head("news-request@office.lan"), HEADER, False),
    (head("owner-news@office.lan"), HEADER, False),
    (head("bounce-17@office.lan"), HEADER, False),
    (head(), b"Auto-Submitted: auto-replied\n\n", False),
    (head(), b"Auto-Submitted: no\n\n", True),
    (head(), b"AUTO-SUBMITTED: No (really)\n\n", True),
    (head(), b"Precedence: Bulk\n\n", False),
    (head(), b"List-Id: <news.office.lan>\n\n", False),
    (head(), b"Subject: List-Id: x\n\n", True),
])
def test_who_may_be_told(original, header, expected):
    assert dsn.may_notify(original, header) is expected


def test_mail_without_an_origin_is_never_answered():
    assert not dsn.may_notify(envelope.Envelope(address.parse("meier@office.lan")), HEADER)


@pytest.mark.parametrize(("notify", "failed", "delayed", "delivered"), [
    (None, True, True, False),
    ("NEVER", False, False, False),
    ("SUCCESS", False, False, True),
    ("failure,delay", True, True, False),
])
def test_notify_is_honoured(notify, failed, delayed, delivered):
    one = envelope.Recipient(address.parse("a@b.example"), (("Notify", notify),) if notify else ())
    assert [dsn.wanted(one, action) for action in ("failed", "delayed", "delivered")] == [failed, delayed, delivered]


def test_a_bounce_is_a_report_with_the_header_only():
    sent, message = composed("failed", [report()], header=HEADER)
    assert sent.sender is None
    assert [str(one.address) for one in sent.recipients] == ["meier@office.lan"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == "<m1@office.lan>"
    assert message["Return-Path"] == "<>"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, status, returned = message.iter_parts()
    assert "<nobody@office.lan>: 550 5.1.1 There is no nobody here" in text.get_content()
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "Subject: Angebot" in returned.get_payload()
    about, recipient = status.get_payload()
    assert about["Reporting-MTA"] == "dns; mail.office.lan"
    assert about["Original-Envelope-Id"] == "a+b"
    assert recipient["Final-Recipient"] == "rfc822; nobody@office.lan"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")


@pytest.mark.parametrize(("remote", "told"), [
    ("mx.far.example", "mx.far.example"), ("192.0.2.1", "[192.0.2.1]"), ("2001:db8::1", "[IPv6:2001:db8::1]")])
def test_a_server_that_is_known_by_its_address_only_is_told_as_a_literal(remote, told):
    _, message = composed("failed", [report(remote=remote)])
    _, status, _ = message.iter_parts()
    assert status.get_payload()[1]["Remote-MTA"] == f"dns; {told}"


def test_what_a_remote_server_said_cannot_start_a_line_of_ours():
    evil = MailError(550, "5.7.1", "no\r\nX-Evil: yes\n\n--boundary\x1b[31m")
    _, message = composed("failed", [report(answer=evil, remote="mx.far.example\nX: y")])
    assert message.defects == []
    text, status, _ = message.iter_parts()
    assert "\nX-Evil" not in text.get_content()
    assert "\x1b" not in text.get_content()
    recipient = status.get_payload()[1]
    assert recipient["X-Evil"] is None
    assert recipient["Remote-MTA"] == "dns; mx.far.example X: y"
    assert recipient["Diagnostic-Code"].startswith("smtp; 550 5.7.1 no")


def test_original_recipient_and_addresses_beyond_ascii():
    one = report("müller@office.lan", params=(("ORCPT", "rfc822;sales+2Bx@office.lan"),))
    _, message = composed("failed", [one])
    recipient = list(message.iter_parts())[1].get_payload()[1]
    assert recipient["Original-Recipient"] == "rfc822; sales+x@office.lan"
    assert recipient["Final-Recipient"] == r"utf-8; m\x{FC}ller@office.lan"


def test_a_delay_says_until_when(monkeypatch):
    _, message = composed("delayed", [report(answer=MailError(451, "4.4.1", "no answer"))], retry_until=1_800_400_000.0)
    recipient = list(message.iter_parts())[1].get_payload()[1]
    assert recipient["Action"] == "delayed"
    assert "2027" in recipient["Will-Retry-Until"]


def test_a_huge_header_is_cut_at_a_line_end():
    _, message = composed("failed", [report()], header=b"X: " + b"y" * 70 + b"\n" + b"Z: z\n" * 20_000 + b"\n")
    returned = list(message.iter_parts())[2].get_payload()
    assert len(returned) <= dsn.MAX_HEADER + 1
    assert returned.endswith("Z: z\n")


def test_a_copy_goes_to_the_postmaster_once():
    sent, _ = composed("failed", [report()], copy_to=address.parse("postmaster@office.lan"))
    assert [str(one.address) for one in sent.recipients] == ["meier@office.lan", "postmaster@office.lan"]
    sent, _ = composed("failed", [report()], copy_to=address.parse("meier@office.lan"))
    assert len(sent.recipients) == 1


def test_a_note_is_automatic_mail_with_the_null_sender():
    sent, text = dsn.note(address.parse("postmaster@office.lan"), "Mail loop\nX: y", "see hold", entry_id="1.2.h",
                          domain="office.lan", hostname="mail.office.lan")
    message = email.message_from_bytes(text, policy=email.policy.default)
    assert sent.sender is None
    assert message["X"] is None
    assert dsn.is_automatic(text)
