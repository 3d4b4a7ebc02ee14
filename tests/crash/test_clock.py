"""Wrong clocks and clocks that step: names stay unique, nothing is lost, nothing waits for ever."""

import glob
import time

import pytest

from tests.crash import audit
from tests.crash.load import ACCEPTED, Client, Ledger, Load

pytestmark = pytest.mark.slow

_LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)


@pytest.fixture
def clock(tmp_path):
    """clock("-1d") sets the clock of the programs started with clock.env; their monotonic clock stays true."""
    if _LIBRARY is None:
        pytest.skip("no libfaketime")
    file = tmp_path / "faketime"

    def set_to(offset):
        new = tmp_path / "faketime.new"
        new.write_text(f"{offset}\n")
        new.rename(file)

    set_to("+0")
    set_to.env = {
        "LD_PRELOAD": _LIBRARY,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return set_to


@pytest.mark.parametrize("offset", ["-1d", "+3650d"])
def test_a_wrong_clock(rig, clock, offset):
    clock(offset)
    ledger = Ledger()
    rig.start("smtpd", env=clock.env)
    rig.start("deliver", env=clock.env)
    with Client(rig.port) as client:
        for _ in range(20):
            assert client.send(ledger, ["user1"])[:3] == "250"
    rig.settle()
    audit.check(rig, ledger)


def test_clocks_that_step_back_and_forth_while_mail_comes_in(rig, clock):
    ledger = Ledger()
    rig.start("smtpd", env=clock.env)
    rig.start("deliver", env=clock.env)
    with Load(rig.port, ledger, clients=4, pause=0.01):
        for offset in ("-1d", "+3650d", "-1h", "+0", "-1d", "+1d", "+0"):
            clock(offset)
            time.sleep(0.4)
    rig.settle()
    audit.check(rig, ledger)
    assert len(ledger.tokens(ACCEPTED)) > 10, ledger


def test_programs_that_do_not_agree_on_the_time(rig, clock):
    """smtpd's clock is ten years ahead of deliver's: its mails are not from the future, they are mails."""
    clock("+3650d")
    ledger = Ledger()
    rig.start("smtpd", env=clock.env)
    rig.start("deliver")
    with Client(rig.port) as client:
        assert client.send(ledger, ["user1", "user2"])[:3] == "250"
    rig.settle()
    audit.check(rig, ledger)
