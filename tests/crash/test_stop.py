"""SIGTERM under load: what is on the wire is finished or told 421, and the programs end with 0."""

import time

import pytest

from tests.crash import audit
from tests.crash.load import ACCEPTED, UNKNOWN, Ledger, Load

pytestmark = pytest.mark.slow


def test_smtpd_stops_in_order_under_load(rig):
    ledger = Ledger()
    deliver = rig.start("deliver")
    smtpd = rig.start("smtpd")
    with Load(rig.port, ledger, clients=8):
        time.sleep(1.0)
        begun = time.monotonic()
        assert smtpd.stop() == 0
        took = time.monotonic() - begun
    assert took < 30
    rig.settle()
    audit.check(rig, ledger)
    assert len(ledger.tokens(ACCEPTED)) > 50
    assert not ledger.tokens(UNKNOWN), f"a mail whose end was sent got no answer: {ledger}"
    assert deliver.stop() == 0


def test_deliver_stops_in_order_under_load_and_goes_on_where_it_was(rig):
    ledger = Ledger()
    rig.start("smtpd")
    with Load(rig.port, ledger, clients=4):
        for _ in range(5):
            deliver = rig.start("deliver")
            time.sleep(0.3)
            begun = time.monotonic()
            assert deliver.stop() == 0
            assert time.monotonic() - begun < 30
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)


def test_both_stop_in_order_when_there_is_nothing_to_do(rig):
    for name in ("smtpd", "deliver"):
        begun = time.monotonic()
        assert rig.start(name).stop() == 0
        assert time.monotonic() - begun < 20
