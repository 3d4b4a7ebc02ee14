"""imaptest: its scripted tests, and clients that work on one mailbox at once and compare what they are told."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.office import HOST, Office, mail

pytestmark = pytest.mark.needs("LANMAIL_IMAPTEST")
SECONDS = int(os.environ.get("LANMAIL_STRESS_SECONDS", "30"))
# Groups of extensions that docs/rfcs.md says no to: CATENATE (2), CONTEXT= (5), ESORT, URLAUTH (3).
NOT_OURS = 11

STATES = {
    "usual": [],
    "everything": ["copybox=Trash", "uidfetch=30", "search=20", "sort=20", "thread=20", "move=10,10", "noop=20",
                   "check=10", "disconnect=5"],
    "QRESYNC": ["qresync", "copybox=Trash", "move=10,10"],
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """What one worker did the other must know at once."""
    made = Office(tmp_path_factory.mktemp("office"), **{"imapd.workers": request.param})
    made.start()
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.log() + (made.root / "stderr").read_text()


def imaptest(office: Office, program: Path, account: str, *arguments: str, seconds: int = 300) -> str:
    return office.run(program, f"host={HOST}", f"port={office.port(143)}", f"user={account}",
                      f"pass={office.passwords[account]}", *arguments, check=False, timeout=seconds).stdout


def test_scripts(office: Office, account: str, given: Path) -> None:
    """A server that refuses the log-in fails nothing either, so the number of commands is looked at, too."""
    scripts = os.environ.get("LANMAIL_IMAPTEST_SCRIPTS", given.parent / "tests")
    said = imaptest(office, given, account, f"test={scripts}")
    groups = re.search(r"(\d+) test groups: (\d+) failed, (\d+) skipped", said)
    assert groups, said
    assert groups[2] == "0", said
    assert int(groups[3]) <= NOT_OURS, said
    for failed, commands in re.findall(r": (\d+)/(\d+) individual commands failed", said):
        assert failed == "0"
        assert int(commands) > 200, said


@pytest.mark.parametrize("name", STATES)
def test_stress(office: Office, account: str, given: Path, name: str) -> None:
    box = office.root / f"{account}.mbox"
    mails = [mail(f"number {number}", [f"line {line}" for line in range(number % 60)]) for number in range(300)]
    box.write_bytes(b"".join(b"From x@y Sat Nov 21 10:00:00 2026\r\n" + one.replace(b"\n", b"\r\n") for one in mails))
    said = imaptest(office, given, account, f"mbox={box}", "clients=10", "checkpoint=1", f"secs={SECONDS},10",
                    *STATES[name], seconds=SECONDS + 60)
    bad = [line for line in said.splitlines() if re.search("error|warning|panic|fatal|stalled", line, re.IGNORECASE)]
    assert not bad, "\n".join(bad[:20])
    totals = said.rpartition("Totals:")[2].split()
    assert sum(int(word) for word in totals if word.isdigit()) > 100 * SECONDS, said[-2000:]
