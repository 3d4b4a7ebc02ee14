"""autoanswer/guards.py: what an autoresponder leaves unanswered, one line each."""

from email.utils import formatdate

import pytest

from lanmail.autoanswer import guards
from tests.answering import MAIL, NOW, Office, field


@pytest.fixture
def office(tmp_path):
    return Office(tmp_path)


def why(office, text=MAIL, **how):
    with office.visit(text, **how) as (mail, visit):
        found = guards.refusal(mail, visit)
        shown = [said for _, said in guards.verdicts(mail, visit) if said]
    assert bool(found) == bool(shown)
    assert not found or found == shown[0]
    return found


def test_mail_of_a_person_is_answered(office):
    assert why(office) == ""


@pytest.mark.parametrize(("name", "value", "answered"), [
    ("Auto-Submitted", "auto-replied", False),
    ("Auto-Submitted", "auto-generated; owner=x", False),
    ("auto-submitted", "Auto-Notified", False),
    ("Auto-Submitted", "no", True),
    ("Auto-Submitted", "No (a person)", True),
    ("Auto-Submitted", "no; x=y", True),
    ("Auto-Submitted", "nonsense", False),
    ("Precedence", "bulk", False),
    ("Precedence", "List", False),
    ("Precedence", "junk", False),
    ("Precedence", "auto_reply", False),
    ("Precedence", "first-class", True),
    ("List-Id", "<x.list.example>", False),
    ("List-Unsubscribe", "<mailto:x@list.example>", False),
    ("list-unsubscribe-post", "List-Unsubscribe=One-Click", False),
    ("List-Archive", "<https://list.example>", False),
    ("Listing", "12", True),
    ("X-List-Id", "x", True),
    ("Mailing-List", "list x@list.example", False),
    ("X-Autoreply", "yes", False),
    ("X-Autorespond", "away", False),
    ("X-Auto-Response-Suppress", "All", False),
    ("X-Auto-Response-Suppress", "DR, OOF, RN", False),
    ("X-Auto-Response-Suppress", "DR;AutoReply", False),
    ("X-Auto-Response-Suppress", "DR, RN, NRN", True),
    ("X-Auto-Response-Suppress", "None", True),
    ("Content-Type", "multipart/report; report-type=disposition-notification; boundary=x", False),
    ("Content-Type", "multipart/mixed; boundary=report", True),
    ("Return-Receipt-To", "eva@far.example", True),
    ("Subject", "Auto-Submitted: auto-replied", True),
])
def test_what_the_header_says(office, name, value, answered):
    assert (why(office, field(name, value)) == "") is answered


def test_a_folded_field_counts_and_what_stands_in_the_body_does_not(office):
    assert why(office, field("Precedence", "\n\tbulk"))
    assert why(office, MAIL + b"List-Id: <x>\nPrecedence: bulk\n") == ""


@pytest.mark.parametrize(("sender", "answered"), [
    ("mailer-daemon@far.example", False), ("MAILER-DAEMON@far.example", False), ("postmaster@far.example", False),
    ("noreply@far.example", False), ("no-reply@far.example", False), ("no_reply@far.example", False),
    ("shop-noreply@far.example", False), ("noreply+17@far.example", False), ("do-not-reply@far.example", False),
    ("donotreply@far.example", False), ("users-request@far.example", False), ("owner-users@far.example", False),
    ("users-owner@far.example", False), ("bounce@far.example", False), ("bounces+12=meier@far.example", False),
    ("users-bounces@far.example", False), ("users-bounce-17@far.example", False), ("listserv@far.example", False),
    ("eva@far.example", True), ("eva.noreplyson@far.example", True), ("bouncer@far.example", True),
    ("casino.reply@far.example", True), ("prvs=0123abc=eva@far.example", True), ("request@far.example", True),
    ("owner@far.example", True), ("postmasters@far.example", True), ("x.y@far.example", True),
])
def test_senders_that_are_no_person(office, sender, answered):
    assert (why(office, sender=sender) == "") is answered


def test_nobody_answers_the_null_sender(office):
    assert why(office, sender=None) == guards.NOBODY
    assert why(office, field("Reply-To", "eva@far.example"), sender=None, kind="pickup") == guards.NOBODY


@pytest.mark.parametrize(("text", "to"), [
    (MAIL, "eva@far.example"),
    (field("Return-Path", "<>"), None),
    (field("Return-Path", "nonsense"), None),
    (field("Return-Path", "<verp=meier@far.example>"), "verp=meier@far.example"),
    (MAIL.split(b"\n", 1)[1], "eva@far.example"),  # no Return-Path: From
    (b"Reply-To: other@far.example\n" + MAIL.split(b"\n", 1)[1], "eva@far.example"),
    (b"Subject: x\n\n", None),
])
def test_whom_fetched_mail_is_answered_to(office, text, to):
    with office.visit(text, sender=None, kind="fetch") as (mail, _):
        found = guards.correspondent(mail)
    assert (str(found) if found else None) == to


@pytest.mark.parametrize(("sender", "top", "keys", "answered"), [
    ("meier@office.lan", "", {}, False),
    ("Meier+shop@Office.lan", "", {}, False),
    ("sales@office.lan", "", {}, False),  # an alias of his
    ("info@office.lan", "", {}, False),  # an alias of his and of others
    ("schmidt@office.lan", "", {}, True),
    ("nobody@office.lan", "", {}, False),
    ("meier@alt.example", "", {}, True),
    ("meier@alt.example", "", {"domain": "alt.example"}, False),
    ("hans@gmx.example", 'send_as = ["Hans@gmx.example"]', {}, False),
    ("other@gmx.example", 'send_as = ["*@gmx.example"]', {}, True),
    ("meier@firma.example", 'outgoing.overwrite_sender = "%localpart%@firma.example"', {}, False),
    ("eva@firma.example", 'outgoing.overwrite_sender = "%localpart%@firma.example"', {}, True),
    ("hans@pop.example", 'sources.x = { user = "hans@pop.example", host = "pop.example" }', {}, False),
])
def test_his_own_addresses(office, sender, top, keys, answered):
    office.responder(top=top, enabled=True, text="x", **keys)
    assert (why(office, sender=sender) == "") is answered


@pytest.mark.parametrize(("to", "direct", "only", "kind", "answered"), [
    ("meier@office.lan", True, False, "mx", True),
    ("undisclosed-recipients:;", True, False, "mx", True),
    ("undisclosed-recipients:;", True, True, "mx", False),
    ("meier@office.lan", True, True, "mx", True),
    ("x@far.example, Team: \"A\" <schmidt@office.lan>, MEIER@OFFICE.lan;", True, True, "mx", True),
    ("sales@office.lan", True, True, "mx", True),
    ("everybody@office.lan", False, False, "mx", False),
    ("everybody@office.lan, meier@office.lan", False, False, "mx", True),
    ("meier@gmx.example", True, True, "fetch", True),
    ("meier@gmx.example", False, False, "fetch", False),
])
def test_who_must_be_named(office, to, direct, only, kind, answered):
    office.responder(enabled=True, text="x", only_if_addressed=only)
    assert (why(office, field("To", to), direct=direct, kind=kind) == "") is answered


def test_cc_and_what_was_sent_on_by_hand_name_him_too(office):
    office.responder(enabled=True, text="x", only_if_addressed=True)
    elsewhere = field("To", "x@far.example").decode()
    assert why(office, elsewhere.encode())
    for name in ("Cc", "Bcc", "Resent-To"):
        assert why(office, f"{name}: meier@office.lan\n{elsewhere}".encode()) == ""


def test_ten_thousand_addresses_are_no_way_to_keep_us_busy(office):
    office.responder(enabled=True, text="x", only_if_addressed=True)
    many = ", ".join(f"a{number}@office.lan" for number in range(10_000))
    assert why(office, field("To", many + ", meier@office.lan"))


@pytest.mark.parametrize("flag", ["spam", "other"])
def test_spam(office, flag):
    assert (why(office, flags=frozenset({flag})) == "") is (flag != "spam")


def fetched(date: float | None, received: float | None) -> bytes:
    lines = [b"Return-Path: <eva@far.example>", f"Received: by us;\n\t{formatdate(NOW)}".encode()]
    if received is not None:
        lines.append(f"Received: from a by b;\n\t{formatdate(received)}".encode())
    if date is not None:
        lines.append(f"Date: {formatdate(date)}".encode())
    return b"\n".join(lines) + b"\n\nbody\n"


DAY = 86400


@pytest.mark.parametrize(("date", "received", "answered"), [
    (NOW - DAY, None, True), (NOW - 2 * DAY, None, True), (NOW - 2 * DAY - 1, None, False), (None, None, False),
    (NOW - 900 * DAY, NOW - 60, True),  # a sender's wrong clock
    (NOW, NOW - 30 * DAY, False),  # a date from the future does not make it new
    (NOW + 30 * DAY, None, True),
])
def test_old_mail_that_was_fetched(office, date, received, answered):
    assert (why(office, fetched(date, received), kind="fetch") == "") is answered
    assert why(office, fetched(date, received)) == "", "only what was fetched"


def test_how_old_is_up_to_the_account(office):
    office.responder(enabled=True, text="x", max_age="30d")
    assert why(office, fetched(NOW - 29 * DAY, None), kind="fetch") == ""
    assert "30d" in why(office, fetched(NOW - 31 * DAY, None), kind="fetch")


@pytest.mark.parametrize(("sender", "answered"), [("eva@far.example", False), ("schmidt@office.lan", True)])
def test_deny_internet(office, sender, answered):
    office.responder(top="deny_internet = true", enabled=True, text="x")
    assert (why(office, sender=sender) == "") is answered


def test_a_hostile_header_takes_no_time(office):
    """200 KB of anything, which takes minutes where the work grows with its square."""
    for text in (b"List" * 50_000, b"From: " + b'"' * 200_000, b"To: " + b"(" * 200_000, b"To: " + b"<" * 200_000,
                 b"Received: " + b";" * 200_000, b"Auto-Submitted:\n" + b" \n" * 100_000):
        assert isinstance(why(office, text + b"\n\n", kind="fetch", direct=False), str)
