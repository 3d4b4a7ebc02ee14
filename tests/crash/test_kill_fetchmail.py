"""fetchmail dies before, after, and in the middle of each single call: each mail arrives, and arrives once."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from lanmail import spool
from tests.crash import rounds
from tests.crash.rig import Rig
from tests.crash.steps import Stepper
from tests.dovecot import PASSWORD, USER, Dovecot
from tests.fetchroot import message

pytestmark = pytest.mark.slow
ENOUGH = 400


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture
def office(rig: Rig, dovecot: Dovecot) -> Rig:
    for file in dovecot.mails():
        file.unlink()
    rig.paths.secrets.mkdir()
    password = rig.paths.secrets / "x"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    configure(rig, dovecot)
    return rig


def configure(rig: Rig, server: Dovecot, **keys: object) -> None:
    lines = [f"{key} = {str(value).lower()}" for key, value in keys.items()]
    file = rig.paths.accounts / "user1.toml"
    file.write_text("\n".join([
        "[sources.x]", 'interface = "standard"', 'protocol = "pop3"', 'host = "127.0.0.1"', 'tls = "none"',
        f'port = {server.port("pop3")}', f'user = "{USER}"', 'password = "file:secrets/x"', *lines]) + "\n")
    file.chmod(0o600)


def fetched(rig: Rig) -> Counter[str]:
    """How often each mail is in the queue, by its subject; each entry is whole."""
    found: Counter[str] = Counter()
    for name in os.listdir(rig.queue.new):
        text = (rig.queue.new / name).read_bytes()
        assert spool.parse_name(name).size == len(text)
        found[text.split(b"Subject: ", 1)[1].split(b"\n", 1)[0].decode()] += 1
    return found


@pytest.mark.parametrize(("delete", "mode"), [(False, "before"), (False, "torn"), (True, "before"), (True, "after")])
def test_each_step(office: Rig, dovecot: Dovecot, delete: bool, mode: str) -> None:
    configure(office, dovecot, delete=delete)
    fetchmail, number = Stepper(office, "fetchmail"), 0
    expected: Counter[str] = Counter()
    try:
        for n in rounds.steps(1, ENOUGH):
            for _ in range(2):
                number += 1
                dovecot.add(message(number))
                expected[f"mail {number}"] = 1
            ended = fetchmail.run(n, mode, "--once")
            assert fetchmail.run(0, "", "--once").code == 0, ended.last
            found = fetched(office)
            assert found == expected, ended.last
            assert len(dovecot.mails()) == (0 if delete else number), ended.last
            if not ended.killed:
                break
        assert not ended.killed
        assert n > 10
    finally:
        fetchmail.close()
    assert not office.errors()
    print(f"delete={delete}, killed {mode} each of {n - 1} calls: nothing lost, nothing twice")


@pytest.mark.parametrize("delete", [False, True])
def test_at_random(office: Rig, dovecot: Dovecot, delete: bool) -> None:
    """kill -9 again and again while mails come."""
    configure(office, dovecot, delete=delete, mails_per_pass=60)
    count, kills, most = rounds.of(500), 0, rounds.of(15)
    for number in range(count):
        dovecot.add(message(number))
    limit = time.monotonic() + 90
    while len(fetched(office)) < count and time.monotonic() < limit:
        process = office.start("fetchmail")
        before = len(fetched(office))
        until = time.monotonic() + (0.02 + 0.02 * (kills % 7) if kills < most else 60)
        while len(os.listdir(office.queue.new)) < before + 5 and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(0.01 * (kills % 5))
        if kills < most:
            os.kill(process.pid, signal.SIGKILL)
            process.popen.wait()
            kills += 1
        else:
            while len(fetched(office)) < count and time.monotonic() < limit:
                time.sleep(0.1)
            process.stop()
    found = fetched(office)
    assert len(found) == found.total() == count
    office.once("fetchmail")
    assert fetched(office) == found
    assert len(dovecot.mails()) == (0 if delete else count)
    print(f"delete={delete}: {count} mails, {kills} kills: 0 lost, 0 twice")


def test_a_full_disk_while_fetching(office: Rig, dovecot: Dovecot) -> None:
    """Whatever cannot be written comes later, and once."""
    office.injected = True
    fetchmail, number = Stepper(office, "fetchmail"), 0
    try:
        for n in rounds.steps(1, ENOUGH):
            for _ in range(2):
                number += 1
                dovecot.add(message(number))
            ended = fetchmail.run(n, "ENOSPC", "--once")
            for _ in range(3):
                if fetchmail.run(0, "", "--once").code == 0:
                    break
            found = {name: copies for name, copies in fetched(office).items() if name.startswith("mail ")}
            assert len(found) == number, ended.last
            assert max(found.values()) == 1, ended.last
            if ended.calls < n:
                break
        assert ended.calls < n
    finally:
        fetchmail.close()


def test_two_at_a_time_are_refused(office: Rig) -> None:
    process = office.start("fetchmail")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        office.once("fetchmail")
    assert caught.value.returncode == os.EX_TEMPFAIL
    assert process.stop() == 0
