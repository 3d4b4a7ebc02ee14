"""Hundreds of mails from Dovecot and from our own imapd, killed twice on the way: nothing twice, nothing missing."""

import contextlib
import json
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

from lanmail.folders import changes
from tests.e2e import dovecot
from tests.e2e.office import BIN, HOST, Office, need
from tests.mailboxes import Place, message

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot wants to be started by root"),
]
Contents = dict[str, list[tuple[tuple[str, ...], int, bytes]]]
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


def fill(there: Place, count: int) -> Contents:
    """Mails of all sizes and line ends with flags, keywords and dates; what a client sees of them."""
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
    return contents(there, "eva")


def contents(place: Place, account: str) -> Contents:
    return {name: sorted((tuple(sorted(flags)), date, text.replace(b"\r\n", b"\n")) for _, flags, date, text in mails)
            for name, mails in place.state(account).items() if mails}


@contextlib.contextmanager
def dovecot_with(office: Office, separator: str) -> Iterator[tuple[Contents, list[str]]]:
    """Dovecot with the mails, and how to import from it."""
    there = Place(office.root.parent / "there", "eva")
    expected = fill(there, 700)
    (office.root.parent / "there").chmod(0o711)
    other = dovecot.Dovecot(office.root.parent / "dovecot", there.paths.maildirs, {"eva": "geheim eva 9"},
                            office.port(143), office.port(110))
    other.config.write_text(other.config.read_text().replace("separator = .", f"separator = {separator}"))
    other.start()
    try:
        yield expected, [f"imap://eva@{HOST}:{other.imap}/", "--tls", "none"]
    finally:
        other.stop()


@contextlib.contextmanager
def another_of_ours(office: Office) -> Iterator[tuple[Contents, list[str]]]:
    """The same from our own imapd, by TLS."""
    (office.root.parent / "other").mkdir()
    other = Office(office.root.parent / "other")
    other.account("eva")
    there = Place.__new__(Place)
    there.paths, there.base = other.where, other.root
    expected = fill(there, 700)
    other.start()
    try:
        yield expected, [f"imaps://eva@{HOST}:{other.port(993)}/", "--tls-ca", str(other.ca)]
    finally:
        other.stop()


def killed(command: list[str], journal: Path, size: int) -> None:
    """Run it until the journal is so long, then kill -9."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(b"geheim eva 9\n")
    end = time.monotonic() + 60
    while process.poll() is None and (not journal.exists() or journal.stat().st_size < size):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("server", ["dovecot .", "dovecot /", "lanmail"])
def test_hundreds_of_mails(open_office: Office, server: str) -> None:
    office = open_office
    office.account("meier")
    kind, _, separator = server.partition(" ")
    with dovecot_with(office, separator) if kind == "dovecot" else another_of_ours(office) as (expected, words):
        command = [str(BIN / "lanmail"), "mailbox", "import", "meier", *words, "--password-stdin",
                   "--root", str(office.root)]
        for size in (10_000, 30_000):
            killed(command, office.where.state / "import" / "meier", size)
        assert "INBOX" in office.run(*command, stdin="geheim eva 9\n").stdout
        again = json.loads(office.run(*command, "--json", stdin="geheim eva 9\n").stdout)
        assert sum(one["copied"] for one in again["folders"]) == 0
        assert sum(one["there"] for one in again["folders"]) == 703
    here = Place.__new__(Place)
    here.paths, here.base = office.where, office.root
    found = contents(here, "meier")
    assert {name: len(mails) for name, mails in found.items()} == {name: len(mails) for name, mails in expected.items()}
    assert found == expected
    assert office.run(BIN / "lanmail", "mailbox", "check", "meier", "--root", office.root).stdout.startswith("ok")
