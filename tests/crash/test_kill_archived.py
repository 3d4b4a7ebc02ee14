"""deliver and archived die before, and in the middle of, each single call: every mail is in the archive once, provably.

Also on a disk without room: nothing half, and nothing lost.
"""

import os

import pytest

from lanmail import envelope
from lanmail.address import parse
from lanmail.archiving import journal, store, verification
from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, Ledger, message
from tests.crash.rig import DOMAIN, Rig, wait_for
from tests.crash.steps import Stepper
from tests.crash.test_disk_full import fill, log_text

pytestmark = pytest.mark.slow
MODES = ["before", "torn"]
ENOUGH = 400


@pytest.fixture
def office(rig: Rig) -> Rig:
    """user1 is archived."""
    with (rig.paths.accounts / "user1.toml").open("a") as file:
        file.write("archive = true\n")
    store.spool_of(rig.paths).ensure()
    return rig


@pytest.fixture
def stepper(office):
    made = []

    def make(program):
        made.append(Stepper(office, program))
        return made[-1]

    yield make
    for one in made:
        one.close()


def put(rig: Rig, ledger: Ledger, *names: str) -> None:
    """A mail in the queue."""
    token = ledger.token(list(names))
    head = envelope.Envelope(parse("a@far.example"), [envelope.Recipient(parse(f"{name}@{DOMAIN}")) for name in names],
                             origin=envelope.Origin("mx"))
    rig.queue.put(head, b"Return-Path: <a@far.example>\n" + message(token, 800))
    ledger.note(token, ACCEPTED)


def entry(rig: Rig, number: int) -> str:
    """An entry for the archive; the id of its mail."""
    mail_id = f"1763759701.M{number}.mail"
    head = envelope.Envelope(None, [envelope.Recipient(parse(f"user1@{DOMAIN}"))],
                             origin=store.origin(store.Facts(mail_id, "accepted", "", ("user1",), "mx")))
    store.spool_of(rig.paths).put(head, f"Return-Path: <>\nSubject: {number}\n\n{'body ' * 200}\n".encode())
    return mail_id


def ids(rig: Rig) -> list[str]:
    """What the journal has; all of it is as it was archived."""
    report = verification.verify(rig.paths)
    assert not report.findings, report.findings[:3]
    return sorted(line.data["id"] for line in journal.lines(journal.path(rig.paths)) if line.kind == "mail")


@pytest.mark.parametrize("mode", MODES)
def test_archived(office, stepper, mode):
    """Three entries, one of which is there twice, in a new archive or one that is there already."""
    archived, wanted, steps = stepper("archived"), [], []
    for n in range(1, ENOUGH):
        wanted += [entry(office, 3 * n + number) for number in range(3)]
        entry(office, 3 * n)
        ended = archived.run(n, mode, "--once")
        steps.append(ended.last)
        again = archived.run(0, "", "--once")
        assert again.code == 0
        assert ids(office) == sorted(wanted)
        assert not os.listdir(office.paths.spool / "archive/new")
        if not ended.killed:
            break
    print(f"archived, killed {mode} each of {len(steps) - 1} calls: {len(wanted)} mails, each once")
    assert any("link" in step for step in steps), steps
    assert any("unlink" in step for step in steps), steps
    assert len(steps) > 10


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("names", [("user1",), ("user1", "user2")], ids=["alone", "with another"])
def test_deliver(office, stepper, names, mode):
    """The mail is in the mailbox once and in the archive once."""
    ledger, deliver, archived, made = Ledger(), stepper("deliver"), stepper("archived"), 0
    for n in rounds.steps(1, ENOUGH):
        put(office, ledger, *names)
        made += 1
        ended = deliver.run(n, mode, "--once")
        assert deliver.run(0, "", "--once").code == 0
        assert not office.waiting()
        if not ended.killed:
            break
    assert archived.run(0, "", "--once").code == 0
    audit.check(office, ledger)
    found = ids(office)
    assert len(found) == len(set(found)) == made
    print(f"deliver, killed {mode} each of {made - 1} calls: {made} mails archived, each once")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_each_call_fails(office, stepper, error):
    """Nothing is lost, nothing is there twice, and the next run finishes."""
    office.injected = True
    archived, wanted = stepper("archived"), []
    for n in rounds.steps(1, ENOUGH):
        wanted += [entry(office, 2 * n), entry(office, 2 * n + 1)]
        failed = archived.run(n, error, "--once")
        archived.run(0, "", "--once")
        assert archived.run(0, "", "--once").code == 0
        held = office.paths.hold / "new"
        assert not held.exists() or not os.listdir(held)
        assert ids(office) == sorted(wanted)
        if failed.calls < n:
            break


def test_an_archive_on_a_disk_of_its_own_that_is_full(tmp_path, mount):
    """What has no room waits in the spool, and goes on by itself when there is some."""
    rig = Rig(tmp_path / "root")
    mount("-t", "tmpfs", "-o", "size=1m,mode=0750", "tmpfs", at=rig.paths.archive)
    try:
        store.spool_of(rig.paths).ensure()
        archived = rig.start("archived")
        wanted = [entry(rig, number) for number in range(3)]
        wait_for(lambda: journal.path(rig.paths).exists() and ids(rig) == wanted, 60)
        filler = fill(rig.paths.archive)
        wanted += [entry(rig, number) for number in range(3, 6)]
        wait_for(lambda: "archive-deferred" in log_text(rig), 60, lambda: log_text(rig)[-2000:])
        assert archived.popen.poll() is None
        filler.unlink()
        wait_for(lambda: not os.listdir(rig.paths.spool / "archive/new"), 60, lambda: log_text(rig)[-2000:])
        assert archived.stop() == 0
        assert ids(rig) == wanted
        assert not list(rig.paths.archive.glob("*/tmp/*"))
    finally:
        rig.close()
    assert not rig.errors()
