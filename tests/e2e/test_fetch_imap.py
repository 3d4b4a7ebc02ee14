"""Fetching by IMAP from Debian's Dovecot, by fetchmail and its sources as they run."""

import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dovecot import PASSWORD, USER, Dovecot
from tests.e2e import office as office_of
from tests.fetchroot import Root, message

MORE = """
namespace inbox {
  inbox = yes
  separator = /
  mailbox Spamverdacht {
    special_use = \\Junk
  }
}
auth_master_user_separator = *
passdb {
  driver = passwd-file
  args = scheme=PLAIN %s/masters
  master = yes
  result_success = continue
}
"""


@pytest.fixture
def server() -> Iterator[Dovecot]:
    with Dovecot() as running:
        (running.base / "masters").write_text(f"chef:{PASSWORD}\n")
        (running.base / "masters").chmod(0o644)
        running.configure(MORE % running.base)
        yield running


def office(tmp_path: Path, server: Dovecot, **source: object) -> Root:
    """One source, x, with TLS."""
    root = Root(tmp_path / "here")
    keys = {"protocol": "imap", "host": "127.0.0.1", "port": server.port("imaps"), "tls": "implicit",
            "tls_ca": server.ca, "user": USER, "password": root.secret("x", PASSWORD), **source}
    root.source("x", **keys)
    return root


def subjects(root: Root) -> list[str]:
    return sorted(line[9:].decode() for mail in root.entries() if b"X-Origin: fetch" in mail[:2000]
                  for line in mail.split(b"\n\n")[0].split(b"\n") if line.startswith(b"Subject: "))


def doveadm(server: Dovecot, *arguments: str) -> str:
    done = subprocess.run(["doveadm", "-c", server.base / "dovecot.conf", *arguments], check=True, capture_output=True)
    return done.stdout.decode()


def test_thousands_come_once_in_their_octets_while_others_expunge(tmp_path: Path, server: Dovecot) -> None:
    many = 5000
    for number in range(many):
        server.add(message(number, 300 + number % 7 * 100))
    root = office(tmp_path, server)
    words = ("expunge", "-u", USER, "mailbox", "INBOX", "uid", "4000:4099")
    gone = threading.Thread(target=doveadm, args=(server, *words))
    gone.start()
    assert root.once() == 0
    gone.join()
    found = subjects(root)
    assert len(found) == len(set(found))
    assert {f"mail {number}" for number in (*range(3999), *range(4099, many))} <= set(found)
    assert root.status().fetched == len(found)
    assert root.status().waiting == 0
    by_name = {mail.split(b"Subject: ")[1].split(b"\n")[0]: mail for mail in root.mails()}
    for number in (0, 17, 4999):
        assert by_name[b"mail %d" % number].endswith(message(number, 300 + number % 7 * 100).split(b"Subject: ")[1])
    assert root.once() == 0
    assert len(root.entries()) == len(found)


def test_folders_by_name_and_use(tmp_path: Path, server: Dovecot) -> None:
    for name in ("Kunden/Müller & Söhne", "Gelöscht", "Gelöscht/Alt", "Spamverdacht", "Notizen", "RSS-Abonnements"):
        doveadm(server, "mailbox", "create", "-u", USER, name)
    places = {"": "in", ".Kunden.M&APw-ller &- S&APY-hne": "müller", ".Gel&APY-scht": "gelöscht",
              ".Gel&APY-scht.Alt": "alt", ".Spamverdacht": "spam", ".Notizen": "notiz"}
    for place, name in places.items():
        server.add(b"Subject: " + name.encode() + b"\n\n", folder=place)
    root = office(tmp_path, server)
    root.source("x", folders=["*"])
    assert root.once() == 0
    assert subjects(root) == ["in", "müller"]
    root.source("x", folders=["kunden/*", "Spamverdacht"])
    assert root.once() == 0
    assert subjects(root) == ["in", "müller", "spam"]


def test_new_uids_bring_no_second_copy(tmp_path: Path, server: Dovecot) -> None:
    for number in range(300):
        server.add(message(number))
    root = office(tmp_path, server)
    assert root.once() == 0
    doveadm(server, "mailbox", "update", "--uid-validity", "4711", "-u", USER, "INBOX")
    server.add(message(300))
    server.add(b"Subject: without\n\nx\n")
    assert root.once() == 0
    assert root.status().fetched == 302
    doveadm(server, "mailbox", "update", "--uid-validity", "4712", "-u", USER, "INBOX")
    assert root.once() == 0
    assert subjects(root).count("without") == 2
    assert len(subjects(root)) == 303


@pytest.mark.parametrize("keys", [{"delete": True}, {"move_to": "Archiv/Geholt"}], ids=str)
def test_fetched_mail_goes_as_configured(tmp_path: Path, server: Dovecot, keys: dict[str, object]) -> None:
    for number in range(450):
        server.add(message(number))
    root = office(tmp_path, server, **keys)
    assert root.once() == 0
    assert len(subjects(root)) == 450
    assert server.mails() == []
    moved = ".Archiv.Geholt"
    assert len(server.mails(folder=moved) if (server.base / "mail" / USER / moved).exists() else []) == (
        450 if "move_to" in keys else 0)
    assert root.status().kept == 0


def test_shared_mailboxes_by_master_log_in_and_as_folders(tmp_path: Path, server: Dovecot) -> None:
    for name in ("info", "verkauf", "chef"):
        server.user(name)
        server.add(b"Subject: for " + name.encode() + b"\n\n", name)
    root = office(tmp_path, server, user="chef")
    root.source("x", shared="info;verkauf", shared_login="%shared*%user")
    assert root.once() == 0
    assert subjects(root) == ["for chef", "for info", "for verkauf"]
    assert root.once() == 0
    assert len(subjects(root)) == 3
    root.source("x", shared="info;nobody")
    assert root.once() == 75
    assert "nobody" in root.status().error
    assert not root.status().refused


def test_a_collective_mailbox_is_sorted_and_nothing_leaves(tmp_path: Path, server: Dovecot) -> None:
    root = office(tmp_path, server, multidrop=True, fallback="anna")
    for name in ("anna", "bob"):
        (root.paths.accounts / f"{name}.toml").write_text('full_name = "x"\n')
    root.paths.aliases.write_text('outside = ["out@example.org"]\n')
    server.add(b"Envelope-To: bob@office.lan\nMessage-ID: <1@x>\nTo: liste@example.org\n\n")
    server.add(b"Message-ID: <2@x>\nTo: anna@office.lan, bob@office.lan, kunde@example.org\n\n")
    server.add(b"Message-ID: <2@x>\nTo: anna@office.lan, bob@office.lan, kunde@example.org\n\n")
    server.add(b"Message-ID: <3@x>\nTo: outside@office.lan\n\n")
    assert root.once() == 0
    got = [[line[13:-1] for line in mail.split(b"\n") if line.startswith(b"X-Receiver: ")] for mail in root.entries()]
    assert sorted(got) == [[b"anna@office.lan"], [b"anna@office.lan", b"bob@office.lan"], [b"bob@office.lan"]]
    assert all(b"X-Origin: fetch source=meier/x multidrop=yes\n" in mail for mail in root.entries())
    assert root.status().fetched == 3  # the second copy of <2@x> is for nobody


@pytest.mark.parametrize("keys", [{"delete": True}, {}, {"move_to": "Geholt"}], ids=str)
def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path, server: Dovecot, keys: dict[str, object]) -> None:
    """And nothing comes twice."""
    many, kills = 600, 0
    for number in range(many):
        server.add(message(number, 3000))
    root = office(tmp_path, server, mails_per_pass=100, **keys)
    while kills < 6:
        enough = len(root.queue.names()) + random.randrange(90)
        process = subprocess.Popen([office_of.BIN / "lanmail-fetchmail", "--root", tmp_path / "here", "--once"],
                                   stdout=subprocess.DEVNULL)
        office_of.until(lambda: len(root.queue.names()) > enough or process.poll() is not None, what="some mail")  # noqa: B023
        process.kill()
        assert process.wait() in (0, -9)
        kills += 1
    assert root.once() == 0
    found = subjects(root)
    assert set(found) == {f"mail {number}" for number in range(many)}
    assert len(found) == many
    assert len(server.mails()) == (0 if keys else many)


def test_push_brings_mail_at_once_and_survives_a_new_start_of_the_server(tmp_path: Path, server: Dovecot) -> None:
    root = office(tmp_path, server, push=True, every="1h")
    root.configure('retry = ["1s"]')
    log = (tmp_path / "stdout").open("wb")
    process = subprocess.Popen([office_of.BIN / "lanmail-fetchmail", "--root", tmp_path / "here"], stdout=log)
    try:
        office_of.until(lambda: root.status().succeeded, what="the first visit")
        for number in range(3):
            server.add(message(number))
            office_of.until(lambda: len(root.mails()) == number + 1, 10, "new mail")  # noqa: B023
        server.configure(MORE % server.base)
        server.add(message(3))
        office_of.until(lambda: len(root.mails()) == 4, 40, "mail after the new start")
    finally:
        process.terminate()
        process.wait(10)
        log.close()
    assert not root.status().refused
