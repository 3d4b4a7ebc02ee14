"""Two thousand mails from a real Dovecot into an account, with a kill in the middle: nothing twice, nothing missing."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import changes
from tests.e2e import dovecot
from tests.e2e.office import BIN, HOST, Office, need
from tests.mailboxes import Place, message

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot wants to be started by root"),
]
WHEN = 1_500_000_000
FOLDERS = ("INBOX", "Sent", "Projekte.Entwürfe & mehr", "Übersicht")


@pytest.fixture
def open_office() -> Iterator[Office]:
    """An office in a directory that Dovecot's user may walk through."""
    need("dovecot")
    root = Path(tempfile.mkdtemp(prefix="lanmail-e2e-"))
    root.chmod(0o711)
    (root / "root").mkdir(mode=0o711)
    office = Office(root / "root")
    yield office
    office.stop()
    shutil.rmtree(root)


def fill(there: Place, count: int) -> None:
    """Mails of all sizes and line ends with flags, keywords and dates."""
    rng = random.Random(7)
    folders = {name: there.folder(name, "eva") for name in FOLDERS}
    for number in range(count):
        body = "".join(f"{'ä' * rng.randrange(40)} line\n" for _ in range(rng.choice((0, 3, 20, 200))))
        text = message(f"mail {number}", body, f"{number}@x") if number % 10 else message("the same", "text\n")
        flags = tuple(rng.sample(("\\Seen", "\\Flagged", "\\Answered", "$Label1", "Wichtig"), rng.randrange(4)))
        changes.append(folders[FOLDERS[number % len(FOLDERS)]], text, flags, WHEN + number * 3600)
    there.put(b"", "INBOX", "eva", (), WHEN)
    there.put(b"Subject: big\n\n" + b"x" * 5_000_000, "INBOX", "eva", (), WHEN)
    there.put(b"Subject: odd\n\na\rb\n\r\n.\n..\nno end", "INBOX", "eva", (), WHEN)


def contents(place: Place, account: str) -> dict[str, list[tuple[tuple[str, ...], int, bytes]]]:
    return {name: sorted((tuple(sorted(flags)), date, text.replace(b"\r\n", b"\n")) for _, flags, date, text in mails)
            for name, mails in place.state(account).items() if mails}


@pytest.mark.parametrize("separator", [".", "/"])
def test_from_dovecot(open_office: Office, separator: str) -> None:
    office = open_office
    office.account("meier")
    there = Place(office.root.parent / "there", "eva")
    fill(there, 2000)
    expected = contents(there, "eva")
    other = dovecot.Dovecot(office.root.parent / "dovecot", there.paths.maildirs, {"eva": "geheim"},
                            office.port(143), office.port(110))
    other.config.write_text(other.config.read_text().replace("separator = .", f"separator = {separator}"))
    (office.root.parent / "there").chmod(0o711)
    other.start()
    command = [BIN / "lanmail", "mailbox", "import", "meier", f"imap://eva@{HOST}:{other.imap}/", "--tls", "none",
               "--password-stdin", "--root", office.root]
    journal = office.where.state / "import" / "meier"
    try:
        for size in (30_000, 90_000):
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert process.stdin is not None
            process.stdin.write(b"geheim\n")
            process.stdin.close()
            end = time.monotonic() + 60
            while process.poll() is None and (not journal.exists() or journal.stat().st_size < size):
                assert time.monotonic() < end
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        said = office.run(*command, stdin="geheim\n").stdout
        assert "INBOX" in said
        again = office.run(*command, "--json", stdin="geheim\n").stdout
        assert '"copied": 0' in again
        assert '"copied": 1' not in again
    finally:
        other.stop()
    here = Place.__new__(Place)
    here.paths, here.base = office.where, office.root
    found = contents(here, "meier")
    assert {name: len(mails) for name, mails in found.items()} == {name: len(mails) for name, mails in expected.items()}
    assert found == expected
    assert office.run(BIN / "lanmail", "mailbox", "check", "meier", "--root", office.root).stdout.startswith("ok")
