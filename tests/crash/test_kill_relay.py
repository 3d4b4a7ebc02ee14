"""relay dies before, and in the middle of, each single call: nothing is lost, and twice only what a kill explains."""

import os
import signal
import time

import pytest

from lanmail import envelope, spool
from lanmail.address import parse
from tests.crash import rounds
from tests.crash.load import message
from tests.crash.rig import DOMAIN, Rig
from tests.crash.sink import Sink
from tests.crash.steps import Stepper

pytestmark = pytest.mark.slow
ENOUGH = 400


@pytest.fixture
def sink():
    one = Sink()
    yield one
    one.close()


@pytest.fixture
def office(rig: Rig, sink: Sink) -> Rig:
    with rig.paths.config_file.open("a") as file:
        file.write(f'[outgoing]\nhost = "127.0.0.1"\nport = {sink.port}\ntls = "none"\n[relay]\nretry = ["1ms"]\n')
    return rig


OWN = envelope.Origin("submission", (("account", "user1"), ("client", "127.0.0.1")))


def put(rig: Rig, token: str, *names: str, size: int = 500, origin: envelope.Origin = OWN) -> None:
    """A mail of user1 to the outside."""
    head = envelope.Envelope(
        parse(f"user1@{DOMAIN}"), [envelope.Recipient(parse(f"{name}@far.example")) for name in names],
        origin=origin)
    outbound = spool.outbound(rig.paths)
    outbound.put(head, f"Return-Path: <user1@{DOMAIN}>\n".encode() + message(token, size))
    outbound.close()


def waiting(rig: Rig) -> list[str]:
    return [name for place in ("new", "cur") for name in os.listdir(rig.paths.outbound / place)]


def bounces(rig: Rig) -> list[bytes]:
    new = rig.paths.queue / "new"
    return [(new / name).read_bytes() for name in os.listdir(new)]


MAILS = {
    "one": (("a",), ""), "split": (("a", "b", "c"), "max_recipients = 1\n"),
    "one refused": (("a", "no"), ""), "all refused": (("no1", "no2"), ""),
    "new sender": (("a", "b"), 'overwrite_sender = "%localpart%@firma.example"\n'),
}


def configure(office: Rig, more: str) -> None:
    """More keys for [outgoing]."""
    text = office.paths.config_file.read_text()
    office.paths.config_file.write_text(text.replace('tls = "none"\n', f'tls = "none"\n{more}'))


def finish(relay: Stepper) -> None:
    """Undisturbed, until nothing is left to do now."""
    for _ in range(5):
        if relay.run(0, "", "--once").code == 0:
            break
        time.sleep(0.01)


@pytest.mark.parametrize(("kind", "mode"), [*((kind, "before") for kind in MAILS), ("split", "torn")])
def test_each_step(office: Rig, sink: Sink, kind: str, mode: str) -> None:
    names, more = MAILS[kind]
    configure(office, more)
    relay, doubled = Stepper(office, "relay"), 0
    try:
        for n in rounds.steps(1, ENOUGH):
            token = f"r{n:04}"
            put(office, token, *names)
            ended = relay.run(n, mode, "--once")
            finish(relay)
            assert not waiting(office), ended.last
            for name in names:
                copies = sink.taken[token, f"{name}@far.example"]
                if name.startswith("no"):
                    assert not copies
                    assert any(token.encode() in one for one in bounces(office)), ended.last
                else:
                    assert 1 <= copies <= 1 + ended.killed, ended.last
                    doubled += copies > 1
            if not ended.killed:
                break
        assert not ended.killed
        assert n > 3
    finally:
        relay.close()
    assert not office.errors()
    print(f"{kind}, killed {mode} each of {n - 1} calls: nothing lost, {doubled} sent twice")


@pytest.mark.parametrize("error", ["before", "ENOSPC"])
def test_a_failed_forward_comes_back_exactly_once(office: Rig, sink: Sink, error: str) -> None:
    """And the account and the postmaster are told exactly once, whenever relay dies."""
    relay, queue = Stepper(office, "relay"), office.paths.queue / "new"
    office.injected = error == "ENOSPC"
    facts = (("account", "user1"), ("keep", "no"))
    try:
        for n in rounds.steps(1, ENOUGH):
            token = f"f{n:04}"
            put(office, token, "no", origin=envelope.Origin("forward", facts))
            ended = relay.run(n, error, "--once")
            finish(relay)
            assert not waiting(office), ended.last
            found = [one for one in bounces(office) if token.encode() in one]
            reports = [one for one in found if b"delivery-status" in one]
            assert len(found) - len(reports) == 1, ended.last
            assert sum(b"X-Origin: returned" in one for one in reports) == 1, ended.last
            # who is postmaster cannot be read at that moment: the copy for him is not worth waiting
            assert len(reports) == 2 or (error == "ENOSPC" and ".toml" in ended.last), ended.last
            for name in os.listdir(queue):
                os.unlink(queue / name)
            if not ended.killed and ended.calls < n:
                break
        assert ended.calls < n
    finally:
        relay.close()


def test_at_random_under_load(office: Rig, sink: Sink) -> None:
    """kill -9 again and again while mails go out."""
    count, kills, most = rounds.of(500), 0, rounds.of(20)
    for number in range(count):
        put(office, f"m{number:05}", "a")
    limit = time.monotonic() + 90
    while waiting(office) and time.monotonic() < limit:
        process = office.start("relay")
        until = time.monotonic() + (0.05 + 0.03 * (kills % 7) if kills < most else 60)
        while waiting(office) and time.monotonic() < until:
            time.sleep(0.005)
        if waiting(office):
            os.kill(process.pid, signal.SIGKILL)
            process.popen.wait()
            kills += 1
        else:
            process.stop()
    assert not waiting(office)
    lost = [number for number in range(count) if not sink.taken[f"m{number:05}", "a@far.example"]]
    doubled = sum(copies - 1 for copies in sink.taken.values())
    assert not lost
    assert kills >= 3
    assert doubled <= 10 * kills  # a mail on each of ten connections
    assert not office.errors()
    print(f"{count} mails, {kills} kills: 0 lost, {doubled} sent twice")


@pytest.mark.parametrize(("kind", "error"), [("split", "ENOSPC"), ("one refused", "EIO"), ("one refused", "EMFILE")])
def test_an_error_at_each_step(office: Rig, sink: Sink, kind: str, error: str) -> None:
    """A disk that is full or broken for a moment: the mail goes out or waits; nobody gets a false bounce."""
    office.injected = True
    names, more = MAILS[kind]
    configure(office, more)
    relay = Stepper(office, "relay")
    try:
        for n in rounds.steps(1, ENOUGH):
            token = f"e{n:04}"
            put(office, token, *names)
            ended = relay.run(n, error, "--once")
            finish(relay)
            assert not waiting(office), ended.last
            for name in names:
                copies = sink.taken[token, f"{name}@far.example"]
                bounced = sum(token.encode() in one for one in bounces(office))
                assert bool(copies) is not name.startswith("no"), ended.last
                assert (bounced >= 1) if "no" in names else not bounced, ended.last
                assert copies <= 2, ended.last
            if ended.calls < n:
                break
        assert ended.calls < n
    finally:
        relay.close()
