"""One queue has one deliver."""

import subprocess
import sys

from tests.crash import audit
from tests.crash.load import Client, Ledger
from tests.crash.rig import CHECKOUT


def test_a_second_deliver_refuses_and_the_first_goes_on(rig):
    ledger = Ledger()
    first = rig.start("deliver")
    command = [sys.executable, str(CHECKOUT / "bin" / "lanmail-deliver"), "--root", str(rig.root)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert second.returncode in (69, 75), second.stderr
    assert "deliver" in second.stderr
    assert "Traceback" not in second.stderr
    rig.start("smtpd")
    with Client(rig.port) as client:
        assert client.send(ledger, ["user1", "user2"])[:3] == "250"
    rig.settle()
    audit.check(rig, ledger)
    first.kill()
    rig.start("deliver")  # the lock of a killed one is no obstacle
