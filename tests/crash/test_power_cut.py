"""The power goes while mail is coming in: what was answered with 250 is there when it comes back.

ext4's shutdown ioctl without flushing the log throws away what is not on the disk yet, journal included. The controls,
in which one program does not fsync, show that lost mail would be seen.
"""

import array
import fcntl
import os
import random
import shutil
import subprocess
import sys
import time

import pytest

from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, REFUSED, UNKNOWN, Ledger, Load
from tests.crash.rig import Rig

pytestmark = pytest.mark.slow

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
_WITHOUT_FSYNC = "import os; os.fsync = os.fdatasync = lambda descriptor: None; from lanmail import {0}; {0}.main()"


class Disk:
    """An ext4 file system in a file, whose power can be cut."""

    def __init__(self, image, at, mount):
        self.image, self.at, self.mount = image, at, mount
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("no mkfs.ext4")
        subprocess.run(["truncate", "-s", "400M", image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        self.on()

    def on(self):
        self.mount("-o", "loop", str(self.image), at=self.at)

    def cut(self):
        """From this moment on nothing reaches the disk any more."""
        descriptor = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, array.array("I", [_NO_LOG_FLUSH]))
        finally:
            os.close(descriptor)

    def settled(self):
        """What was written long ago is on the disk: the root was made before the storm."""
        subprocess.run(["sync", "-f", self.at], check=True)

    def off(self):
        subprocess.run(["umount", self.at], check=True)


@pytest.fixture
def disk(tmp_path, mount):
    return Disk(tmp_path / "disk.img", tmp_path / "disk", mount)


def cut_while_loaded(rig, ledger, seconds, *disks, command=None):
    """Send, cut the power of all disks, come back; the clients saw nothing but answers or a dead connection."""
    smtpd = rig.start("smtpd", command=command("smtpd") if command else None)
    deliver = rig.start("deliver", command=command("deliver") if command else None)
    with Load(rig.port, ledger, clients=10):
        time.sleep(seconds)
        began = time.monotonic()
        for disk in disks:
            disk.cut()
        smtpd.kill()
        deliver.kill()
    rig.queue.close()
    for disk in reversed(disks):
        disk.off()
    for disk in disks:
        disk.on()
    for token in ledger.tokens(REFUSED):
        ledger.note(token, UNKNOWN)  # "451 cannot store" out of a dead disk: no wire carries that when the power is off
    # Nor a 250. There are some: jbd2_complete_transaction() says that nothing is left to wait for when the transaction
    # was finished by being aborted, so an fsync that was on its way during the cut can return 0.
    for token in [token for token, at in ledger.accepted_at.items() if at >= began]:
        ledger.note(token, UNKNOWN)


def test_power_cuts_lose_nothing_that_was_accepted(disk):
    rig, ledger, chance = Rig(disk.at / "root"), Ledger(), random.Random(1)
    disk.settled()
    try:
        for _ in range(rounds.of(10)):
            cut_while_loaded(rig, ledger, chance.uniform(0.3, 2.0), disk)
            deliver = rig.start("deliver")
            rig.settle()
            deliver.stop()
            audit.check(rig, ledger, extra=0)
        print(f"{rounds.of(10)} power cuts: {ledger}, 0 lost")
        assert len(ledger.tokens(ACCEPTED)) > 100
    finally:
        rig.close()
        disk.off()


def test_queue_and_maildirs_on_two_disks(tmp_path, disk, mount):
    """Delivery is a copy then: it is on the second disk before the queue on the first forgets the mail."""
    rig, ledger, chance = Rig(disk.at / "root"), Ledger(), random.Random(2)
    second = Disk(tmp_path / "second.img", rig.paths.maildirs, mount)
    rig.paths.maildirs.chmod(0o750)
    disk.settled()
    second.settled()
    try:
        for _ in range(rounds.of(5)):
            cut_while_loaded(rig, ledger, chance.uniform(0.3, 2.0), disk, second)
            deliver = rig.start("deliver")
            rig.settle()
            deliver.stop()
            audit.check(rig, ledger)
        print(f"{rounds.of(5)} power cuts of two disks: {ledger}, 0 lost")
        assert len(ledger.tokens(ACCEPTED)) > 50
    finally:
        rig.close()
        second.off()
        disk.off()


@pytest.mark.parametrize("careless", ["smtpd", "deliver"])
def test_without_fsync_mail_is_lost_so_the_tests_above_bite(disk, careless):
    def command(name):
        return [sys.executable, "-c", _WITHOUT_FSYNC.format(name)] if name == careless else None

    rig, ledger = Rig(disk.at / "root"), Ledger()
    disk.settled()
    try:
        for _ in range(rounds.of(5)):
            cut_while_loaded(rig, ledger, 1.0, disk, command=command)
            deliver = rig.start("deliver")
            rig.settle()
            deliver.stop()
            if audit.lost(audit.count(rig), ledger):
                break
        else:
            pytest.fail("five power cuts without fsync lost nothing: this test proves nothing")
    finally:
        rig.close()
        disk.off()
