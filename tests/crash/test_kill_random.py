"""kill -9 at random under load: nothing that was answered with 250 is lost, deliver makes no second copy."""

import random
import time

import pytest

from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, Ledger, Load

pytestmark = pytest.mark.slow

KILLS = rounds.of(40)


def kill_under_load(rig, victim):
    """The victim is killed again and again, and started again at once; the others run through."""
    ledger, chance = Ledger(), random.Random(victim)
    running = {name: rig.start(name) for name in ("smtpd", "deliver")}
    with Load(rig.port, ledger, pause=0.005):
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.01, 0.4))
            running[victim].kill()
            running[victim] = rig.start(victim)
    rig.settle()
    print(f"{victim}: {KILLS} kills, {ledger}")
    return ledger


def test_smtpd_killed_under_load(rig):
    ledger = kill_under_load(rig, "smtpd")
    audit.check(rig, ledger)
    assert len(ledger.tokens(ACCEPTED)) > 100


def test_deliver_killed_under_load(rig):
    ledger = kill_under_load(rig, "deliver")
    audit.check(rig, ledger)
    assert len(ledger.tokens(ACCEPTED)) > 100
