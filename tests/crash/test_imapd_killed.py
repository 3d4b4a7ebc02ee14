"""kill -9 of imapd while clients append, flag, copy, move, expunge and rename: what was answered OK holds.

Every message carries a token of its own. After each kill imapd is started again, and at the end the mailboxes are
read anew: a message that was acknowledged is there, whole and once, under the UID that was told, unless somebody
expunged it; one that was moved is in one place; UIDs were never given twice.
"""

import collections
import contextlib
import imaplib
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import rounds
from tests.dialogs import Site

pytestmark = pytest.mark.slow
KILLS = rounds.of(25)
SECONDS = 150.0  # at most; a busy machine starts a server in seconds
BOXES = ("INBOX", "Ziel")
TOKEN = re.compile(rb"Subject: token-(\d+-\d+)")
UIDS = re.compile(rb"\[(?:APPENDUID (\d+) (\d+)|COPYUID (\d+) (\S+) (\S+))\]")
GONE = (OSError, imaplib.IMAP4.abort, imaplib.IMAP4.error)


@contextlib.contextmanager
def logged_in(port: int) -> Iterator[imaplib.IMAP4]:
    imap = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    try:
        imap.login("meier", "geheim")
        yield imap
    finally:
        imap.shutdown()


class Client(threading.Thread):
    """Does one thing after another, and notes what was answered."""

    def __init__(self, number: int, port: int, stop: threading.Event) -> None:
        super().__init__()
        self.number, self.port, self.stopping = number, port, stop
        self.chance = random.Random(number)
        self.stored: dict[str, tuple[int, int]] = {}  # token → (UIDVALIDITY, UID) in the INBOX
        self.doubtful: set[str] = set()  # in an expunge or move whose answer never came
        self.removed: set[str] = set()
        self.moved: set[str] = set()
        self.count = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with logged_in(self.port) as imap:
                    imap.select("INBOX")
                    while not self.stopping.is_set():
                        self.chance.choice((self.append, self.append, self.flag, self.move, self.expunge))(imap)
            except GONE:
                time.sleep(0.02)

    def append(self, imap: imaplib.IMAP4) -> None:
        token = f"{self.number}-{self.count}"
        self.count += 1
        body = f"Subject: token-{token}\r\n\r\n{'x' * self.chance.randrange(20_000)}\r\nend\r\n".encode()
        answer = imap.append("INBOX", "", "", body)[1][0]
        found = UIDS.search(answer)
        assert found, answer
        self.stored[token] = int(found[1]), int(found[2])

    def mine(self) -> tuple[str, str] | None:
        """A token that is surely in the INBOX, and its UID."""
        sure = self.stored.keys() - self.doubtful - self.removed - self.moved
        token = self.chance.choice(sorted(sure)) if sure else None
        return (token, str(self.stored[token][1])) if token else None

    def flag(self, imap: imaplib.IMAP4) -> None:
        if chosen := self.mine():
            imap.uid("STORE", chosen[1], "+FLAGS.SILENT", "(\\Flagged)")

    def move(self, imap: imaplib.IMAP4) -> None:
        if chosen := self.mine():
            self.doubtful.add(chosen[0])
            if imap.uid("MOVE", chosen[1], "Ziel")[0] == "OK":
                self.doubtful.discard(chosen[0])
                self.moved.add(chosen[0])

    def expunge(self, imap: imaplib.IMAP4) -> None:
        if chosen := self.mine():
            self.doubtful.add(chosen[0])
            imap.uid("STORE", chosen[1], "+FLAGS.SILENT", "(\\Deleted)")
            if imap.uid("EXPUNGE", chosen[1])[0] == "OK":
                self.doubtful.discard(chosen[0])
                self.removed.add(chosen[0])


def contents(port: int, box: str) -> tuple[int, dict[int, str]]:
    """UIDVALIDITY, and UID → token; every message must be whole."""
    with logged_in(port) as imap:
        assert imap.select(box, readonly=True)[0] == "OK"
        validity = int(imap.response("UIDVALIDITY")[1][0])
        found = {}
        for item in imap.fetch("1:*", "(UID BODY.PEEK[])")[1]:
            if isinstance(item, tuple):
                token = TOKEN.search(item[1])
                assert token, item[1][:80]
                assert item[1].endswith(b"\r\nend\r\n")
                found[int(re.search(rb"UID (\d+)", item[0])[1])] = token[1].decode()
        return validity, found


def test_imapd_killed_under_load(tmp_path: Path) -> None:
    site = Site(tmp_path / "root")
    root = site.account("meier", "geheim")
    server = site.start("imapd", "imapd.port")
    port = site.port("imapd.port")
    with logged_in(port) as imap:
        imap.create("Ziel")
    stop, chance = threading.Event(), random.Random(1)
    clients = [Client(number, port, stop) for number in range(4)]
    for client in clients:
        client.start()
    kills, end = 0, time.monotonic() + SECONDS
    while kills < KILLS and time.monotonic() < end:
        time.sleep(chance.uniform(0.2, 0.8))
        server.kill()
        server.wait()
        site._running.remove(server)
        server = site.start("imapd", "imapd.port")
        kills += 1
    stop.set()
    for client in clients:
        client.join(30)
    boxes = {box: contents(port, box) for box in BOXES}
    site.stop()
    audit(clients, boxes, root)
    assert kills >= 5
    assert "internal-error" not in site.log()


def audit(clients: list[Client], boxes: dict[str, tuple[int, dict[int, str]]], root: Path) -> None:
    validity, inbox = boxes["INBOX"]
    there = collections.Counter([*inbox.values(), *boxes["Ziel"][1].values()])
    stored = sum(len(client.stored) for client in clients)
    print(f"{stored} stored, {sum(len(client.moved) for client in clients)} moved, "
          f"{sum(len(client.removed) for client in clients)} removed, {len(there)} there")
    assert stored > 20
    assert max(there.values()) == 1, [token for token, count in there.items() if count > 1]
    uids = collections.Counter(uid for client in clients for _, uid in client.stored.values())
    assert max(uids.values()) == 1
    for client in clients:
        assert {one for one, _ in client.stored.values()} <= {validity}
        for token, (_, uid) in client.stored.items():
            if token in client.removed:
                assert token not in there, token
            elif token in client.moved:
                assert token in boxes["Ziel"][1].values(), token
            elif token not in client.doubtful:
                assert inbox.get(uid) == token, (token, uid)
            elif uid in inbox:
                assert inbox[uid] == token
    numbers = [int(line.split()[0]) for line in (root / "dovecot-uidlist").read_text().splitlines()[1:]]
    assert numbers == sorted(set(numbers))
