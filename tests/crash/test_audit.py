"""The controls: what the crash tests count with must see a lost, a doubled, a torn and a foreign mail."""

import pytest

from lanmail import envelope
from lanmail.address import parse
from tests.crash import audit
from tests.crash.load import ACCEPTED, REFUSED, Ledger, message
from tests.crash.rig import DOMAIN


@pytest.fixture
def ledger(rig):
    """One accepted mail for user1, which is there."""
    made = Ledger()
    token = made.token(["user1"])
    made.note(token, ACCEPTED)
    lay(rig, "user1", "1.a", message(token, 100))
    return made


def lay(rig, account, name, data):
    directory = rig.paths.maildirs / account / "new"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def test_all_is_well(rig, ledger):
    assert audit.check(rig, ledger).copies == {("user1", "t000001"): 1}


def test_a_lost_mail_is_seen(rig, ledger):
    ledger.note(ledger.token(["user2"]), ACCEPTED)
    with pytest.raises(AssertionError, match="lost although answered with 250"):
        audit.check(rig, ledger)


def test_a_mail_lost_for_one_of_two_is_seen(rig, ledger):
    token = ledger.token(["user1", "user2"])
    ledger.note(token, ACCEPTED)
    lay(rig, "user1", "2.a", message(token, 100))
    with pytest.raises(AssertionError, match="t000002 for user2"):
        audit.check(rig, ledger)


def test_a_second_copy_is_seen(rig, ledger):
    lay(rig, "user1", "2.a", message("t000001", 100))
    with pytest.raises(AssertionError, match="more than once"):
        audit.check(rig, ledger)
    audit.check(rig, ledger, extra=1)


def test_a_torn_mail_is_seen(rig, ledger):
    lay(rig, "user1", "1.a", message("t000001", 100)[:-1])
    with pytest.raises(AssertionError, match=r"1\.a"):
        audit.check(rig, ledger)


def test_a_refused_mail_that_came_is_seen(rig, ledger):
    ledger.note("t000001", REFUSED, "451 no")
    with pytest.raises(AssertionError, match="there although refused"):
        audit.check(rig, ledger)


def test_somebody_elses_mail_is_seen(rig, ledger):
    lay(rig, "user2", "1.a", message("t000001", 100))
    with pytest.raises(AssertionError, match="somebody else"):
        audit.check(rig, ledger)


def test_a_told_recipient_is_seen(rig, ledger):
    people = [envelope.Recipient(parse(f"{name}@{DOMAIN}")) for name in ("user1", "user2")]
    head = envelope.encode(envelope.Envelope(None, people))
    lay(rig, "user1", "1.a", head + message("t000001", 100))
    with pytest.raises(AssertionError, match="tells one recipient of another"):
        audit.check(rig, ledger)
