"""A group with real clients: who may write to it, what members here and outside get, sending under its address."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need, until
from tests.e2e.submission import Sink

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    one = Sink()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Office]:
    """chef is postmaster and owner, meier, schmidt and eva (outside) are in the group."""
    made = Office(tmp_path_factory.mktemp("office"), **{
        "outgoing.host": "127.0.0.1", "outgoing.port": sink.port, "outgoing.tls": "none"})
    for name in ("chef", "meier", "schmidt"):
        made.account(name)
    made.lanmail("group", "add", "sales", "meier", "schmidt", "eva@far.example", "--may-post", "members")
    made.lanmail("group", "set", "sales", "subject_tag=[Sales]", "reply_to=group", "owner=chef", "copy_to_sender=false")
    made.start()
    yield made
    assert made.stop() == 0


def swaks(office: Office, sender: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    need("swaks")
    return office.run("swaks", "--server", HOST, "--port", str(office.port(25)), "--from", sender,
                      "--to", f"sales@{DOMAIN}", "--header", "Subject: offer", *arguments, check=False)


def msmtp(office: Office, account: str, sender: str, to: str, message: bytes) -> subprocess.CompletedProcess[str]:
    need("msmtp")
    rc = office.home / f"msmtp.{account}"
    rc.write_text(f"account default\nhost {HOST}\nport {office.port(587)}\nauth on\nuser {account}\n"
                  f"password \"{office.passwords[account]}\"\ntls on\ntls_starttls on\ntls_trust_file {office.ca}\n")
    rc.chmod(0o600)
    return office.run("msmtp", "-C", rc, "-f", sender, to, stdin=message, check=False)


@pytest.mark.parametrize("sender", ["x@example.org", f"meier@{DOMAIN}", f"sales@{DOMAIN}"])
def test_an_outsider_is_refused_also_under_a_members_name(office: Office, sender: str) -> None:
    done = swaks(office, sender)
    assert "<** 550 5.7.1 You may not write to the group sales" in done.stdout
    assert done.returncode


def test_a_members_mail_reaches_the_others_here_and_outside(office: Office, sink: Sink) -> None:
    before = len(office.inbox("schmidt")), len(office.inbox("meier")), len(sink.mails())
    text = mail("plan", to=f"sales@{DOMAIN}", sender=f"meier@{DOMAIN}")
    done = msmtp(office, "meier", f"meier@{DOMAIN}", f"sales@{DOMAIN}", text)
    assert not done.returncode, done.stderr
    here = office.arrived("schmidt", before[0] + 1)[-1]
    until(lambda: len(sink.mails()) > before[2], what="the copy outside")
    outside = next(one for one in sink.mails() if b"Subject: [Sales] plan" in one)
    for copy in (here, outside):
        assert b"\nSubject: [Sales] plan\n" in copy
        assert b"\nReply-To: sales@office.lan\n" in copy
        assert b"\nList-Id: <sales.office.lan>\n" in copy
        assert copy.rstrip().endswith(b"hello")
    assert b"X-Mail-Args: <sales-owner@office.lan>" in outside
    assert b"X-Rcpt-Args: <eva@far.example>" in outside
    assert b"X-Receiver" not in outside
    assert len(office.inbox("meier")) == before[1]


def test_a_member_outside_writes_by_his_address(office: Office) -> None:
    before = len(office.inbox("meier"))
    done = swaks(office, "eva@far.example")
    assert not done.returncode, done.stdout
    assert b"Subject: [Sales] offer\n" in office.arrived("meier", before + 1)[-1]


def test_members_send_as_the_group_and_others_do_not(office: Office) -> None:
    before = len(office.inbox("chef"))
    text = mail("from all of us", to=f"chef@{DOMAIN}", sender=f"sales@{DOMAIN}")
    done = msmtp(office, "schmidt", f"sales@{DOMAIN}", f"chef@{DOMAIN}", text)
    assert not done.returncode, done.stderr
    assert b"\nReturn-Path: <sales@office.lan>\n" in b"\n" + office.arrived("chef", before + 1)[-1]
    done = msmtp(office, "chef", f"sales@{DOMAIN}", f"meier@{DOMAIN}", text)
    assert done.returncode
    assert "553 5.7.1" in done.stderr


def test_the_command_says_the_same(office: Office, tmp_path: Path) -> None:
    said = office.lanmail("group", "test", f"sales@{DOMAIN}")
    assert "meier, schmidt" in said
    assert "eva@far.example" in said
    assert "its members" in said
