"""Autoresponders of a whole lanmail: asked by swaks and by a mailbox at Dovecot, answering through a smarthost."""

import asyncio
import email.policy
import os
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

import pytest

from lanmail import config, daemon, deliver
from tests import dovecot, fetchroot
from tests.e2e.office import DOMAIN, HOST, Office, need, until
from tests.e2e.submission import Sink

pytestmark = pytest.mark.slow


class Here(Office):
    """A running office with a smarthost that takes all, and what swaks hands in."""

    sink: Sink

    def swaks(self, to: str, *arguments: str, sender: str = "eva@far.example", account: str = "") -> None:
        login = ["-tls", "--port", str(self.port(587)), "--auth-user", account, "--auth-password",
                 self.passwords[account]] if account else ["--port", str(self.port(25))]
        self.run("swaks", "--server", HOST, "--from", sender, "--to", f"{to}@{DOMAIN}", *login, *arguments)

    def sent(self, to: str, count: int = 1) -> list[tuple[bytes, EmailMessage]]:
        """What the smarthost got for somebody: its whole file, and the message in it."""
        def found() -> list[bytes]:
            return [one for one in self.sink.mails() if f"X-Rcpt-Args: <{to}>".encode() in one]
        until(lambda: len(found()) >= count, what=f"mail to {to}")
        assert len(found()) == count
        return [(one, parsed(one[one.index(b"\nReceived:") + 1:])) for one in found()]

    def found(self, name: str, text: bytes) -> list[bytes]:
        """The mails of an INBOX that hold some text, once there are any."""
        return until(lambda: [data for one in self.inbox(name) if text in (data := one.read_bytes())],
                     what=f"{text!r} for {name}")

    def unanswered(self, why: str) -> None:
        until(lambda: any(" unanswered " in line and why in line for line in self.log().splitlines()), what=why)


def parsed(data: bytes) -> EmailMessage:
    found = message_from_bytes(data, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    need("swaks")
    sink = Sink()
    way = {"outgoing.host": HOST, "outgoing.port": sink.port, "outgoing.tls": "none"}
    made = Here(tmp_path_factory.mktemp("office"), **way)
    made.sink = sink
    for name, keys in (("meier", {"full_name": "Jürgen Meier"}), ("schmidt", {}), ("inside", {"deny_internet": True})):
        made.account(name)
        config.edit(made.where.accounts / f"{name}.toml", {
            **keys, "autoresponder.enabled": True, "autoresponder.text": "Grüße [FROMNAME],\nich bin weg.\n"})
    made.start()
    yield made
    assert made.stop() == 0
    sink.stop()
    assert "Traceback" not in made.log() + (made.root / "stderr").read_text()


def test_somebody_outside_is_answered(here: Here) -> None:
    here.swaks("meier", "--h-Subject", "=?utf-8?q?Angebot_=F0=9F=93=84?=", "--h-From", '"Eva M." <eva@far.example>',
               "--add-header", "References: <0@far.example>")
    (raw, answer), = here.sent("eva@far.example")
    assert b"X-Mail-Args: <>" in raw
    assert answer["Subject"] == "Re: Angebot 📄"
    assert answer["From"] == f"Jürgen Meier <meier@{DOMAIN}>"
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["References"].startswith("<0@far.example> <")
    assert answer.get_content().split() == ["Grüße", "Eva", "M.,", "ich", "bin", "weg."]
    assert "eva@far.example" in here.lanmail("autoresponder", "show", "meier")
    mail, = (one for one in here.inbox("meier") if b"<0@far.example>" in one.read_bytes())
    assert "answered, MAIL FROM <>" in here.lanmail("autoresponder", "test", "meier", str(mail))


def test_a_colleague_who_answers_too(here: Here) -> None:
    """One mail, one answer, and no answer to that."""
    here.swaks("meier", sender=f"schmidt@{DOMAIN}", account="schmidt")
    answer = parsed(here.found("schmidt", b"From: =?utf-8?b?")[0])
    assert answer["In-Reply-To"]
    assert answer["From"] == f"Jürgen Meier <meier@{DOMAIN}>"
    here.unanswered("account=schmidt")
    assert not [one for one in here.inbox("meier") if b"autoresponder of schmidt" in one.read_bytes()]


def test_lists_programs_and_bounces_are_left_alone(here: Here) -> None:
    for sender, header, why in (
            ("users-bounces@far.example", "List-Id: <users.far.example>", "List-Id"),
            ("noreply@far.example", "X-Number: 1", "noreply is no person"),
            ("<>", "X-Number: 2", "it has no sender"),
            ("robot@far.example", "Auto-Submitted: auto-generated", "auto-generated")):
        here.swaks("meier", "--add-header", header, sender=sender)
        here.unanswered(why)
    for to in ("users-bounces", "noreply", "robot"):
        assert not [one for one in here.sink.mails() if f"<{to}@far.example>".encode() in one]


def test_who_must_not_write_outside_does_not_answer_there(here: Here) -> None:
    here.swaks("inside", sender="hans@far.example")
    here.unanswered("deny_internet")
    here.swaks("inside", sender=f"schmidt@{DOMAIN}", account="schmidt")
    assert here.found("schmidt", b"From: inside@")
    assert not [one for one in here.sink.mails() if b"hans@far.example" in one]


def test_switched_by_command_and_by_mail(here: Here) -> None:
    login = {"sender": f"inside@{DOMAIN}", "account": "inside"}
    here.swaks("inside", "--h-Subject", "LMS Autoresponder on Weg", "--body", "per Mail", **login)
    until(lambda: "per Mail" in here.lanmail("autoresponder", "show", "inside"), what="the command")
    here.swaks("inside", "--h-Message-Id", "<x@y>", sender=f"meier@{DOMAIN}", account="meier")
    assert here.found("meier", b"Subject: Weg\n")
    here.swaks("inside", "--h-Subject", "LMS Autoresponder off", **login)
    until(lambda: "no autoresponder" not in (said := here.lanmail("autoresponder", "show")) and "inside" not in said,
          what="off")
    here.lanmail("autoresponder", "on", "inside")


def test_a_mailbox_elsewhere_is_answered_for(tmp_path: Path) -> None:
    """Dovecot → fetchmail → deliver: new mail is answered, what lay there for days is not, nor what a list sent."""
    with dovecot.Dovecot() as server:
        now = time.time()
        for number, (age, header) in enumerate([(60, ""), (3 * 86400, ""), (120, "Precedence: bulk\n"), (180, "")]):
            who, when = f"eva{number}@far.example", formatdate(now - age)
            path = f"Return-Path: <{who}>\n" if number != 3 else ""
            server.add(f"{path}Received: from a by b;\n\t{when}\n{header}From: Eva <{who}>\nTo: meier@far.example\n"
                       f"Subject: mail {number}\nDate: {when}\nMessage-ID: <{number}@far.example>\n\nbody\n".encode())
        root = fetchroot.Root(tmp_path / "here")
        root.source("x", protocol="pop3", host="127.0.0.1", port=server.port("pop3s"), tls="implicit",
                    tls_ca=server.ca, user=dovecot.USER, password=root.secret("x", dovecot.PASSWORD))
        with (root.paths.accounts / "meier.toml").open("a") as file:
            file.write('[autoresponder]\nenabled = true\ntext = "weg"\n')
        assert root.once() == os.EX_OK

    async def work() -> int:
        loaded = config.load(root.paths)
        return await deliver.once(daemon.Context("deliver", root.paths, loaded, [], stopping=asyncio.Event()))
    assert asyncio.run(work()) == os.EX_OK
    assert len(list((root.paths.maildirs / "meier/new").iterdir())) == 4
    answers = [parsed(one.read_bytes()) for one in (root.paths.outbound / "new").iterdir()]
    assert sorted((one["To"], one["Subject"]) for one in answers) == [
        ("eva0@far.example", "Re: mail 0"), ("eva3@far.example", "Re: mail 3")]
    assert "older than 2d" in root.log()
    assert "Precedence: bulk" in root.log()
