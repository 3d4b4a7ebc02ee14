"""No room: 452 while it lasts, nothing half done, and mail flows again afterwards."""

import os

import pytest

from tests.crash import audit
from tests.crash.load import Client, Ledger
from tests.crash.rig import Rig, wait_for

pytestmark = pytest.mark.slow


def fill(directory, leave=0):
    """Take all the room there is but `leave` bytes; the file that holds it."""
    path = directory / "filler"
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 14))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return path


@pytest.mark.parametrize("min_free", ["0", '"1MB"'])
def test_smtpd_on_a_full_disk(tmp_path, mount, min_free):
    disk = mount("-t", "tmpfs", "-o", "size=8m,mode=0750", "tmpfs", at=tmp_path / "disk")
    rig, ledger = Rig(disk / "root", smtpd=f"min_free = {min_free}"), Ledger()
    try:
        smtpd = rig.start("smtpd")
        filler = fill(disk, leave=200_000)
        with Client(rig.port) as client:
            for _ in range(5):
                assert client.send(ledger, ["user1"], 500_000).startswith("452 4.3.1")
        wait_for(lambda: not os.listdir(rig.paths.queue / "tmp"), 30, lambda: os.listdir(rig.paths.queue / "tmp"))
        assert not rig.waiting()
        filler.unlink()
        with Client(rig.port) as client:
            # free space is looked at once a second
            wait_for(lambda: client.send(ledger, ["user1", "user2"], 500_000).startswith("250"), 30)
        rig.start("deliver")
        rig.settle()
        audit.check(rig, ledger)
        assert smtpd.stop() == 0
    finally:
        rig.close()
    assert not rig.errors()


def test_smtpd_fills_the_disk_itself(tmp_path, mount):
    """Mail after mail until there is no room: each is whole and in the queue, or refused."""
    disk = mount("-t", "tmpfs", "-o", "size=8m,mode=0750", "tmpfs", at=tmp_path / "disk")
    rig, ledger = Rig(disk / "root", smtpd="min_free = 0"), Ledger()
    try:
        rig.start("smtpd")
        with Client(rig.port) as client:
            replies = {client.send(ledger, ["user1"], 300_000)[:9] for _ in range(50)}
        assert any(reply.startswith("452 4.3.1") for reply in replies), replies
        wait_for(lambda: not os.listdir(rig.paths.queue / "tmp"), 30)
        rig.start("deliver")
        rig.settle()
        audit.check(rig, ledger)
    finally:
        rig.close()
    assert not rig.errors()


def test_deliver_keeps_the_mail_while_the_maildirs_are_full(tmp_path, mount):
    rig, ledger = Rig(tmp_path / "root"), Ledger()
    mount("-t", "tmpfs", "-o", "size=2m,mode=0750", "tmpfs", at=rig.paths.maildirs)
    try:
        rig.start("smtpd")
        deliver = rig.start("deliver")
        filler = fill(rig.paths.maildirs)
        with Client(rig.port) as client:
            for recipients in (["user1"], ["user1", "user2"], ["user3"]):
                assert client.send(ledger, recipients, 100_000).startswith("250")
        wait_for(lambda: "deferred" in log_text(rig), 30, lambda: log_text(rig)[-2000:])
        assert len(rig.waiting()) == 3
        assert deliver.popen.poll() is None
        filler.unlink()
        deliver.stop()
        rig.start("deliver")
        rig.settle()
        audit.check(rig, ledger)
        assert not list((rig.paths.hold / "new").iterdir())
    finally:
        rig.close()
    assert not rig.errors()


def log_text(rig):
    return "".join(path.read_text() for path in rig.paths.log.glob("*.log"))
