"""The disk says no, at each call in turn: never 250 for a lost mail, the program lives, mail flows again after."""

import contextlib
import itertools
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.crash import audit
from tests.crash.load import ACCEPTED, REFUSED, Client, Ledger
from tests.crash.rig import wait_for
from tests.crash.steps import Stepper, alive
from tests.crash.test_kill_at_step import put

pytestmark = pytest.mark.slow

ERRORS = ["EIO", "ENOSPC", "EMFILE", "EDQUOT", "EROFS"]
KERNEL = [
    ("fsync", "EIO"),
    ("fsync", "ENOSPC"),
    ("rename,renameat,renameat2", "ENOSPC"),
    ("rename,renameat,renameat2", "EIO"),
    ("openat", "EMFILE"),
    ("openat", "ENOSPC"),
    ("openat", "EROFS"),
]


@pytest.fixture
def stepper(rig):
    made = []

    def make(program):
        made.append(Stepper(rig, program))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("error", ERRORS)
def test_smtpd_with_an_error_at_each_call(rig, stepper, error):
    """At call n of the program, for each n: that mail is refused with a 4xx or is safe; the next one is taken."""
    ledger, smtpd = Ledger(), stepper("smtpd")
    rig.injected = True
    for n in itertools.count(1):
        smtpd.start(n, error)
        started = smtpd.ready()
        if started:
            with Client(rig.port, timeout=10) as client:
                replies = [client.send(ledger, ["user1", "user2"], 2000) for _ in range(2)]
            assert all(reply[:3] in ("250", "451", "452") for reply in replies), replies
            assert alive(smtpd.pid)
        ended = smtpd.stop()
        assert ended.code == 0 if started else 64 <= ended.code <= 78, ended
        if ended.calls < n:
            break
        assert n < 400
    print(f"smtpd, {error} at each of {n - 1} calls: {ledger}")
    assert ledger.tokens(REFUSED)
    assert not os.listdir(rig.paths.queue / "tmp")
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)


@pytest.mark.parametrize("error", ERRORS[:3])
def test_deliver_with_an_error_at_each_call(rig, stepper, error):
    """The mail is delivered, or stays queued and is delivered by the next run: once, either way."""
    ledger, deliver = Ledger(), stepper("deliver")
    rig.injected = True
    for n in itertools.count(1):
        put(rig, ledger, ["user1"])
        put(rig, ledger, ["user1", "user2", "user3"])
        ended = deliver.run(n, error, "--once")
        if ended.calls < n:
            break
        assert not ended.killed
        assert n < 400
    deliver.run(0, "", "--once")
    print(f"deliver, {error} at each of {n - 1} calls: {ledger}")
    rig.start("deliver")
    rig.settle(60)
    audit.check(rig, ledger)
    assert not list((rig.paths.hold / "new").iterdir())


def test_smtpd_at_the_end_of_its_file_sizes(rig):
    """RLIMIT_FSIZE: a write(2) that the kernel itself refuses in the middle of a file (EFBIG)."""
    ledger = Ledger()
    smtpd = rig.start("smtpd")
    resource.prlimit(smtpd.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with Client(rig.port) as client:
        for _ in range(3):
            assert client.send(ledger, ["user1"], 500_000).startswith("452 4.3.1")
            assert client.send(ledger, ["user1"], 2000).startswith("250")
        resource.prlimit(smtpd.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert client.send(ledger, ["user1"], 500_000).startswith("250")
    assert not os.listdir(rig.paths.queue / "tmp")
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)


def test_smtpd_without_descriptors(rig):
    """A hundred clients and room for fewer: it neither spins nor dies, nothing is lost, and it recovers."""
    ledger = Ledger()
    smtpd = rig.start("smtpd")
    before = len(os.listdir(f"/proc/{smtpd.pid}/fd"))
    resource.prlimit(smtpd.pid, resource.RLIMIT_NOFILE, (before + 10, 1024))
    idle = []
    try:
        for _ in range(40):
            idle.append(socket.create_connection(("127.0.0.1", rig.port), 5))
        used = cpu_seconds(smtpd.pid)
        time.sleep(2)
        assert cpu_seconds(smtpd.pid) - used < 0.4, "it spins"
    finally:
        for one in idle:
            one.close()
    resource.prlimit(smtpd.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    wait_for(lambda: sends(rig, ledger), 30, lambda: f"{ledger}")
    assert smtpd.popen.poll() is None
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)


def sends(rig, ledger) -> bool:
    with contextlib.suppress(OSError), Client(rig.port, timeout=3) as client:
        return client.send(ledger, ["user1"]).startswith("250")
    return False


def cpu_seconds(pid) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def injected(pid, calls, error, when):
    """While inside, the kernel answers these calls of the program with an error, counted in each thread."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-p", str(pid)]
    tracer = subprocess.Popen(
        [*command, "-e", f"inject={calls}:error={error}:when={when}"], stdin=subprocess.DEVNULL
    )
    threads = Path(f"/proc/{pid}/task")
    try:
        wait_for(lambda: all(b"TracerPid:\t0\n" not in (one / "status").read_bytes() for one in threads.iterdir()), 30)
        yield
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(10)


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("calls", "error"), KERNEL)
def test_smtpd_when_the_kernel_itself_says_no(rig, calls, error):
    """Every third call fails, from the first, second and third on; many mails, so that each k is hit."""
    ledger = Ledger()
    rig.injected = True
    smtpd = rig.start("smtpd")
    for first in (1, 2, 3):
        with injected(smtpd.pid, calls, error, f"{first}+3"):
            for number in range(30):
                with contextlib.suppress(OSError), Client(rig.port, timeout=10) as client:
                    reply = client.send(ledger, ["user1"], 200_000 if number % 10 == 0 else 2000)
                    assert reply[:3] in ("250", "451", "452", "421"), reply
        assert smtpd.popen.poll() is None
        with Client(rig.port) as client:
            assert client.send(ledger, ["user1"]).startswith("250"), "mail does not flow again after the fault"
    print(f"smtpd, {calls} {error}: {ledger}")
    assert ledger.tokens(REFUSED)
    assert ledger.tokens(ACCEPTED)
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)
