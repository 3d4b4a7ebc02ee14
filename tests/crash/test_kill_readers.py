"""imapd and pop3d die at each call, and at random under load: no mail is lost, no UID is used twice or changes."""

import contextlib
import imaplib
import poplib
import random
import re
import threading
import time

import pytest

from tests.crash import audit, rounds
from tests.crash.load import ACCEPTED, Ledger, Load, message
from tests.crash.rig import PASSWORD, wait_for
from tests.crash.steps import Stepper

pytestmark = [
    pytest.mark.slow,
    # imaplib and poplib leave their socket to the collector when no greeting comes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

GONE = (OSError, imaplib.IMAP4.error, poplib.error_proto, EOFError)
_ROW = re.compile(rb"UID (\d+).*?Subject: (t\d+)", re.DOTALL)


class Reader:
    """What an IMAP client remembers between two sessions, and what it would never forgive."""

    def __init__(self, rig):
        self.port = rig.imap_port
        self.validity: dict[str, int] = {}
        self.subjects: dict[tuple[str, int], str] = {}

    @contextlib.contextmanager
    def session(self, folder="INBOX"):
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        try:
            client.login("user1", PASSWORD)
            if folder:
                assert client.select(folder)[0] == "OK"
            yield client
        finally:
            client.shutdown()

    def look(self, folder="INBOX") -> dict[int, str]:
        """UIDs and subjects now; a UID never stands for another mail, UIDVALIDITY never changes."""
        with self.session(folder) as client:
            validity = int(client.untagged_responses["UIDVALIDITY"][0])
            _, rows = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert self.validity.setdefault(folder, validity) == validity, "UIDVALIDITY changed"
        now = {}
        for row in rows:
            if isinstance(row, tuple):
                uid, subject = _ROW.search(b"".join(row)).groups()
                now[int(uid)] = subject.decode()
        highest = max((uid for name, uid in self.subjects if name == folder), default=0)
        for uid, subject in now.items():
            known = self.subjects.get((folder, uid))
            assert known == subject or (known is None and uid > highest), f"UID {uid}: {known} became {subject}"
        self.subjects.update({(folder, uid): subject for uid, subject in now.items()})
        return now


def lay(rig, ledger, folder=""):
    """A mail in user1's folder, as another program would put it there."""
    token = ledger.token(["user1"])
    directory = rig.paths.maildirs / "user1" / folder
    (directory / "tmp" / token).write_bytes(message(token, 500))
    (directory / "tmp" / token).rename(directory / "new" / f"{int(time.time())}.{token}.host")
    ledger.note(token, ACCEPTED)
    return token


@pytest.fixture
def imapd(rig):
    """(stepper, reader) with the folders INBOX, One and Two."""
    stepper, reader = Stepper(rig, "imapd"), Reader(rig)
    stepper.start(0, "")
    assert stepper.ready()
    with reader.session("") as client:
        for name in ("One", "Two"):
            assert client.create(name)[0] == "OK"
    stepper.stop()
    yield stepper, reader
    stepper.close()


def append(client, ledger):
    token = ledger.token(["user1"])
    answer = client.append("One", r"(\Seen)", None, message(token, 3000).replace(b"\n", b"\r\n"))
    if answer[0] == "OK":
        ledger.note(token, ACCEPTED)


OPERATIONS = {
    "append": append,
    "copy": lambda client, _: client.uid("COPY", "*", "One"),
    "move": lambda client, _: client._simple_command("UID", "MOVE", "*", "Two"),
    "store": lambda client, _: client.uid("STORE", "*", "+FLAGS", r"(\Flagged Keyword)"),
    "expunge": lambda client, _: (client.uid("STORE", "1", "+FLAGS", r"(\Deleted)"), client.expunge()),
    "rename": lambda client, _: (client.rename("Two", "Drei"), client.rename("Drei", "Two")),
    "create and delete": lambda client, _: (client.create("Kurz"), client.delete("Kurz")),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_imapd(rig, imapd, name):
    stepper, reader = imapd
    ledger, deaths = Ledger(), 0
    victim = lay(rig, ledger) if name == "expunge" else None  # UID 1, the only one that may go
    for n in rounds.steps(1, 200):
        lay(rig, ledger)
        stepper.start(n, "before")
        if stepper.ready():
            with contextlib.suppress(*GONE), reader.session() as client:
                OPERATIONS[name](client, ledger)
        ended = stepper.stop()
        deaths += ended.killed
        stepper.start(0, "")
        assert stepper.ready()
        if name == "rename":
            with reader.session("") as client:
                if b"Drei" in b" ".join(client.list()[1]):
                    client.rename("Drei", "Two")
        for folder in ("INBOX", "One", "Two"):
            reader.look(folder)
        assert stepper.stop().code == 0
        if not ended.killed:
            break
    assert deaths > 1
    found = audit.count(rig)
    assert not found.broken
    assert [one for one in audit.lost(found, ledger) if not one.startswith(f"{victim} ")] == []
    surplus = [token for (_, token), copies in found.copies.items() if copies > 1]
    print(f"imapd {name}, killed before each of {deaths} calls: {ledger}, {len(surplus)} doubled")
    assert name == "copy" or not surplus
    if victim and victim in {token for _, token in found.copies}:
        pytest.fail("the expunge never happened")


@pytest.mark.usefixtures("imapd")
def test_pop3d(rig):
    """What was deleted and confirmed by QUIT is gone, everything else is there under its UIDL."""
    ledger, deaths, known, deleted = Ledger(), 0, {}, set()
    pop3d = Stepper(rig, "pop3d")
    try:
        for n in rounds.steps(1, 200):
            lay(rig, ledger)
            lay(rig, ledger)
            pop3d.start(n, "before")
            asked = None
            if pop3d.ready():
                with contextlib.suppress(*GONE):
                    asked = delete_first(rig.pop3_port, deleted)
            ended = pop3d.stop()
            deaths += ended.killed
            pop3d.start(0, "")
            assert pop3d.ready()
            now = uidls(rig.pop3_port)
            assert pop3d.stop().code == 0
            for uidl, subject in now.items():
                assert known.setdefault(uidl, subject) == subject
            assert not deleted & set(now), "a mail whose deletion was confirmed is back"
            assert set(known) - set(now) - deleted <= {asked}
            deleted |= set(known) - set(now)
            if not ended.killed:
                break
    finally:
        pop3d.close()
    assert deaths > 1
    found = audit.count(rig)
    gone = {known[uidl] for uidl in deleted}
    assert not found.broken
    assert {one.partition(" ")[0] for one in audit.lost(found, ledger)} == gone
    print(f"pop3d, killed before each of {deaths} calls: {len(gone)} deleted, {ledger}")


def delete_first(port, deleted):
    """Delete the first mail; its UIDL, which is in `deleted` once QUIT was confirmed."""
    client = poplib.POP3("127.0.0.1", port, timeout=30)
    try:
        client.user("user1")
        client.pass_(PASSWORD)
        uidl = client.uidl(1).split()[2].decode()
        client.retr(1)
        client.dele(1)
        with contextlib.suppress(*GONE):
            if client.quit().startswith(b"+OK"):
                deleted.add(uidl)
        return uidl
    finally:
        client.close()


def uidls(port):
    client = poplib.POP3("127.0.0.1", port, timeout=30)
    try:
        client.user("user1")
        client.pass_(PASSWORD)
        listed = [line.split() for line in client.uidl()[1]]
        tops = {uidl.decode(): b"\n".join(client.top(int(number), 0)[1]) for number, uidl in listed}
        client.quit()
    finally:
        client.close()
    return {uidl: re.search(rb"Subject: (t\d+)", top)[1].decode() for uidl, top in tops.items()}


def busy_imap(reader, stopping, errors):
    """Flags, copies to and fro, as a mail program has it; nothing is deleted for good."""
    chance = random.Random(7)
    while not stopping.is_set():
        try:
            with contextlib.suppress(*GONE), reader.session() as client:
                for _ in range(20):
                    source, target = chance.choice((("INBOX", "One"), ("One", "Two"), ("Two", "INBOX")))
                    client.select(source)
                    client.uid("STORE", "1:*", chance.choice(("+FLAGS", "-FLAGS")), r"(\Seen $Label1)")
                    uids = client.uid("SEARCH", "ALL")[1][0].split()
                    if uids:
                        some = b",".join(chance.sample(uids, min(5, len(uids)))).decode()
                        client._simple_command("UID", "MOVE", some, target)
                    client._simple_command("NOOP")
        except AssertionError as error:
            errors.append(error)
        stopping.wait(0.01)


def busy_pop3(port, stopping, errors):
    while not stopping.is_set():
        with contextlib.suppress(*GONE):
            client = poplib.POP3("127.0.0.1", port, timeout=30)
            try:
                client.user("user1")
                client.pass_(PASSWORD)
                for number in range(1, min(10, client.stat()[0]) + 1):
                    if b"X-Check" not in b"\n".join(client.retr(number)[1]):
                        errors.append(AssertionError("a mail without its header"))
                client.quit()
            finally:
                client.close()
        stopping.wait(0.05)


@pytest.mark.parametrize("victim", ["imapd", "pop3d", None])
def test_readers_under_load(rig, imapd, victim):
    """smtpd, deliver, imapd and pop3d on one Maildir, with one of the readers killed again and again, or none."""
    _, reader = imapd
    ledger, errors, stopping, kills = Ledger(), [], threading.Event(), 0
    running = {name: rig.start(name) for name in ("smtpd", "deliver", "imapd", "pop3d")}
    threads = [
        threading.Thread(target=busy_imap, args=(reader, stopping, errors)),
        threading.Thread(target=busy_pop3, args=(rig.pop3_port, stopping, errors)),
    ]
    for thread in threads:
        thread.start()
    chance, until = random.Random(victim), time.monotonic() + rounds.of(15)
    try:
        with Load(rig.port, ledger, clients=2, pause=0.1):
            while time.monotonic() < until:
                time.sleep(chance.uniform(0.1, 0.6))
                if victim:
                    running[victim].kill()
                    kills += 1
                    running[victim] = rig.start(victim)
    finally:
        stopping.set()
        for thread in threads:
            thread.join(30)
    rig.settle()
    wait_for(lambda: reader.look() is not None, 30)
    found = audit.check(rig, ledger)
    for folder in ("One", "Two"):
        reader.look(folder)
    print(f"{victim}: {kills} kills, {ledger}, {sum(found.copies.values())} copies, all there once")
    assert not errors
    assert len(ledger.tokens(ACCEPTED)) > rounds.of(60)
