"""Each program dies before, in the middle of, and after each single call of put, claim, deliver and remove."""

import pytest

from lanmail import envelope
from lanmail.address import parse
from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, SENDER, UNKNOWN, Client, Ledger, message
from tests.crash.rig import DOMAIN
from tests.crash.steps import Stepper

pytestmark = pytest.mark.slow

# "after" call n is "before" call n + 1, but for the last one: what smtpd does then is to say 250
MODES = ["before", "torn"]
ENOUGH = 400  # calls; a run that still makes more has gone astray


@pytest.fixture
def stepper(rig):
    made = []

    def make(program):
        made.append(Stepper(rig, program))
        return made[-1]

    yield make
    for one in made:
        one.close()


def put(rig, ledger, recipients, size=2000):
    """A mail in the queue, as smtpd leaves it there; counts as accepted."""
    token = ledger.token([name.partition("+")[0] for name in recipients])
    addresses = [envelope.Recipient(parse(f"{name}@{DOMAIN}")) for name in recipients]
    head = envelope.Envelope(parse(SENDER), addresses)
    rig.queue.put(head, f"Return-Path: <{SENDER}>\n".encode() + message(token, size))
    ledger.note(token, ACCEPTED)


@pytest.mark.parametrize("mode", [*MODES, "after"])
@pytest.mark.parametrize("size", [2000, 300_000])
def test_smtpd(rig, stepper, size, mode):
    ledger, smtpd, steps = Ledger(), stepper("smtpd"), []
    smtpd.start(0, "")  # what the very first start makes is made, so that all runs make the same calls
    smtpd.ready()
    smtpd.stop()
    for n in range(1, ENOUGH):
        smtpd.start(n, mode)
        if smtpd.ready():
            try:
                with Client(rig.port, timeout=10) as client:
                    client.send(ledger, ["user1", "user2"], size)
            except OSError:
                pass  # it died; the ledger knows what was said until then
        ended = smtpd.stop()
        steps.append(ended.last)
        if not ended.killed:
            assert ended.code == 0
            break
    assert len(steps) > 5, steps
    assert any("rename" in step for step in steps), steps
    assert any("fsync" in step for step in steps)
    rig.start("deliver")
    rig.settle()
    audit.check(rig, ledger)
    print(f"smtpd, killed {mode} each of {len(steps) - 1} calls: {ledger}")
    assert ledger.tokens(UNKNOWN)
    assert ledger.tokens(ACCEPTED)


ENTRIES = {
    "one account": lambda rig, ledger: put(rig, ledger, ["user1"]),
    "three accounts": lambda rig, ledger: put(rig, ledger, ["user1", "user2", "user3"]),
    "sub-address and large": lambda rig, ledger: put(rig, ledger, ["user1+shop", "user4"], 300_000),
    "all at once": lambda rig, ledger: [put(rig, ledger, [f"user{one}", f"user{one + 1}"]) for one in range(3)],
}


@pytest.mark.parametrize(("entry", "mode"), [*((entry, "before") for entry in ENTRIES), ("three accounts", "torn")])
def test_deliver(rig, stepper, entry, mode):
    ledger, deliver, steps = Ledger(), stepper("deliver"), []
    for n in range(1, ENOUGH):
        ENTRIES[entry](rig, ledger)
        ended = deliver.run(n, mode, "--once")
        steps.append(ended.last)
        again = deliver.run(0, "", "--once")
        assert again.code == 0
        assert not rig.waiting()
        if not ended.killed:
            break
    audit.check(rig, ledger)
    print(f"deliver of {entry}, killed {mode} each of {len(steps) - 1} calls: {ledger}, none doubled")
    assert any("rename" in step or "link" in step for step in steps), steps
    assert not list((rig.paths.hold / "new").iterdir())


def test_deliver_dies_again_while_it_recovers(rig, stepper):
    """Killed at step n, then again at step m of the next start."""
    ledger, deliver = Ledger(), stepper("deliver")
    for n in rounds.steps(1, ENOUGH):
        put(rig, ledger, ["user1", "user2", "user3"])
        first = deliver.run(n, "before", "--once")
        for m in range(1, 40, 3):
            if not deliver.run(m, "before", "--once").killed:
                break
        assert deliver.run(0, "", "--once").code == 0
        if not first.killed:
            break
    assert not rig.waiting()
    audit.check(rig, ledger)


@pytest.mark.parametrize("mode", MODES)
def test_deliver_of_a_file_dropped_into_pickup(rig, stepper, mode):
    ledger, deliver = Ledger(), stepper("deliver")
    for n in rounds.steps(1, ENOUGH):
        token = ledger.token(["user1", "user2"])
        drop = b"To: user1@office.lan, user2@office.lan\n" + message(token, 2000)
        temporary = rig.paths.pickup / f".{token}"
        temporary.write_bytes(drop)
        temporary.rename(rig.paths.pickup / token)
        ledger.note(token, ACCEPTED)
        ended = deliver.run(n, mode, "--once")
        assert deliver.run(0, "", "--once").code == 0
        if not ended.killed:
            break
    audit.check(rig, ledger)


@pytest.mark.parametrize("mode", MODES)
def test_a_bounce_is_made_once(rig, stepper, mode):
    """One good recipient, one unknown one: the mail once, the DSN at least once, and never neither."""
    ledger, deliver = Ledger(), stepper("deliver")
    made = 0
    for n in rounds.steps(1, ENOUGH):
        token = ledger.token(["user1"])
        head = envelope.Envelope(
            parse(f"user2@{DOMAIN}"),
            [envelope.Recipient(parse(f"{name}@{DOMAIN}")) for name in ("user1", "nobody")],
            origin=envelope.Origin("submission", (("account", "user2"), ("client", "127.0.0.1"))),
        )
        rig.queue.put(head, f"Return-Path: <user2@{DOMAIN}>\n".encode() + message(token, 500))
        ledger.note(token, ACCEPTED)
        made += 1
        ended = deliver.run(n, mode, "--once")
        assert deliver.run(0, "", "--once").code == 0
        if not ended.killed:
            break
    found = audit.check(rig, ledger)
    bounces = [path for path in found.others if "/user2/" in path]
    print(f"{made} rounds, {len(bounces)} bounces")
    assert made <= len(bounces) <= made + 3
