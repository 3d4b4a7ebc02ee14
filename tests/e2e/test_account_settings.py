"""The settings of an account, one after the other, as a person meets them: switched on by the command that the
documents name, seen at work with programs of others, and switched off."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import invoices
from tests.e2e.office import DOMAIN, Office, until
from tests.e2e.people import Person, subject_of
from tests.e2e.submission import Sink

pytestmark = pytest.mark.slow


@dataclass
class House:
    """An office whose mail to the internet ends in Postfix's smtp-sink; chef is postmaster."""

    office: Office
    sink: Sink
    chef: Person
    messages: Path  # where the program with the modem takes its files
    people: int = 0

    def person(self) -> Person:
        self.people += 1
        return Person(self.office, f"p{self.people}")

    def outside(self, to: str, count: int = 1) -> list[bytes]:
        """What smtp-sink has for an address, once there are `count` mails."""
        mark = f"X-Rcpt-Args: <{to}>".encode()
        def all_here() -> list[bytes]:
            found = [one.replace(b"\r\n", b"\n") for one in self.sink.mails() if mark in one]
            return found if len(found) >= count else []
        return until(all_here, what=f"{count} mails to {to}")


@pytest.fixture(scope="module")
def outside() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.stop()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, outside: Sink) -> Iterator[House]:
    sink = outside
    messages = tmp_path_factory.mktemp("sms")
    office = Office(tmp_path_factory.mktemp("house"), **{
        "outgoing.host": "127.0.0.1", "outgoing.port": sink.port, "outgoing.tls": "none",
        "sms.gateway": "smstools", "sms.directory": str(messages)})
    try:
        chef = Person(office, "chef")
        chef.set("postmaster=true")
        office.start()
        yield House(office, sink, chef, messages)
    finally:
        status = office.stop()
    assert status == 0
    assert "Traceback" not in office.log() + (office.root / "stderr").read_text()


# the General tab

def test_forwarding(house: House) -> None:
    eva, max_ = house.person(), house.person()
    assert "forward.to = " in eva.set(f"forward.to={max_.name}")
    eva.swaks(eva.address, login=False, subject="one")
    max_.gets("one")
    eva.set("forward.keep=true", "forward.to=eva@far.example")
    eva.swaks(eva.address, login=False, subject="two")
    (out,) = house.outside("eva@far.example")
    assert f"X-Mail-Args: <{eva.address}>".encode() in out
    eva.gets("two")
    eva.set("forward.to=", "forward.keep=")
    eva.swaks(eva.address, login=False, subject="three")
    eva.gets("two", "three")
    max_.gets("one")


def test_forwarding_by_mail(house: House) -> None:
    eva = house.person()
    eva.mutt(eva.address, "LMS forwarding ON eva2@far.example", "nothing")
    (told,) = house.outside("eva2@far.example")
    assert subject_of(told) == "Forwarding is on: eva2@far.example"
    assert b"X-Mail-Args: <>" in told
    assert "eva2@far.example" in house.office.lanmail("account", "show", eva.name)
    eva.swaks(eva.address, login=False, subject="now outside")
    assert set(map(subject_of, house.outside("eva2@far.example", 2))) == {subject_of(told), "now outside"}
    eva.swaks(eva.address, subject="LMS Forwarding off", body="<p>whatever</p>")
    (told,) = eva.gets("Forwarding is off")
    assert b"Auto-Submitted: auto-replied\n" in told
    eva.swaks(eva.address, subject="LMS Forwarding on nobody-here")
    eva.swaks(eva.address, subject="lms Forwarding on eva2@far.example")
    eva.gets("Forwarding is off", "Forwarding was not changed", "lms Forwarding on eva2@far.example")


def test_a_command_that_comes_another_way_is_a_mail(house: House) -> None:
    """From outside with a forged sender, dropped as a file, and fetched from a mailbox elsewhere (here: of our own)."""
    eva, far = house.person(), house.person()
    subject = "LMS Forwarding on evil@far.example"
    head = f"From: {eva.address}\nTo: {eva.address}\nX-Origin: submission account={eva.name}\n"
    text = f"{head}Subject: {subject}\n\nx\n"
    house.office.run("swaks", "--server", "127.0.0.1", "--port", str(house.office.port(25)), "--from", "x@far.example",
                     "--to", eva.address, "--data", text)
    (house.office.where.pickup / f"{eva.name}.eml").write_text(text)
    eva.gets(subject, subject)
    house.office.put(far.name, text.encode())
    until(far.read, what="the mail elsewhere")
    secret = house.office.where.secrets / far.name
    secret.write_text(far.password)
    secret.chmod(0o600)
    with (house.office.where.accounts / f"{eva.name}.toml").open("a") as file:
        file.write(f'\n[sources.far]\nhost = "127.0.0.1"\nport = {house.office.port(995)}\nprotocol = "pop3"\n'
                   f'tls = "implicit"\ntls_ca = "{house.office.ca}"\nuser = "{far.name}"\n'
                   f'password = "file:secrets/{far.name}"\ninterface = "standard"\n')
    eva.gets(subject, subject, subject)
    assert "evil" not in house.office.lanmail("account", "show", eva.name)


def test_deny_internet(house: House) -> None:
    eva, max_ = house.person(), house.person()
    eva.set("deny_internet=true", "forward.to=out@far.example")
    said = eva.swaks("x@far.example", check=False)
    assert "521 5.7.1 User <x@far.example> not local; no forwarding address" in said
    eva.swaks(max_.address, subject="inside")
    max_.gets("inside")
    eva.swaks(eva.address, login=False, subject="kept")
    eva.gets("kept")
    eva.set("forward.to=")
    eva.swaks(eva.address, subject="LMS Forwarding on out@far.example")
    told = eva.gets("kept", "Forwarding was not changed")[1]
    assert b"must not send mail to the internet" in told
    eva.set("deny_internet=")
    eva.swaks("denied@far.example", subject="outside")
    assert len(house.outside("denied@far.example")) == 1
    assert not [one for one in house.sink.mails() if b"<out@far.example>" in one]


def test_sent_copy(house: House) -> None:
    eva, max_ = house.person(), house.person()
    eva.set("sent_copy=true")
    text = (f"From: {eva.address}\nTo: {max_.address}\nBcc: {house.chef.address}, sent@far.example\nSubject: offer\n"
            "\nbody\n").encode()
    eva.msmtp(text)
    (copy,) = max_.gets("offer")
    flags, kept = until(lambda: eva.read("INBOX.SENT"), what="the copy")[0]
    assert b"\\Seen" in flags
    assert b"\nBcc: " in kept
    assert not any(b"Bcc:" in one for one in (copy, house.outside("sent@far.example")[0]))
    with eva.imap() as client:
        _, listed = client.list(pattern="*")
        assert sum(b"\\Sent" in line for line in listed if isinstance(line, bytes)) == 1
    eva.set("sent_copy=")
    eva.swaks(max_.address, subject="second")
    max_.gets("offer", "second")
    assert len(eva.read("Sent")) == 1
    house.chef.empty()


def test_einvoice_mailbox(house: House) -> None:
    buch, max_, rest = house.person(), house.person(), house.person()
    buch.set("einvoice.enabled=true", f"einvoice.forward={max_.name}", f"einvoice.other_forward={rest.name}")
    message = house.office.root / "invoice.eml"
    message.write_bytes(
        b"From: x@far.example\nSubject: invoice\nMIME-Version: 1.0\nContent-Type: text/xml; name=xrechnung.xml\n"
        b"Content-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(invoices.ubl()))
    buch.swaks(buch.address, login=False, subject="invoice", more=("--data", f"@{message}"))
    buch.swaks(buch.address, login=False, subject="newsletter")
    max_.gets("invoice")
    rest.gets("newsletter")
    kept = buch.gets("invoice", "newsletter")
    assert b"X-Lanmail-EInvoice: yes;" in kept[0]
    buch.swaks(buch.address, subject=f"LMS Forwarding on {max_.name}")
    assert b"e-invoice mailbox" in buch.gets("invoice", "newsletter", "Forwarding was not changed")[2]
    buch.set("einvoice.enabled=")
    buch.swaks(buch.address, login=False, subject="invoice", more=("--data", f"@{message}"))
    buch.gets("invoice", "newsletter", "Forwarding was not changed", "invoice")
    max_.gets("invoice")


def test_sms(house: House) -> None:
    eva = house.person()
    eva.set("sms.to=00491791234567")
    eva.swaks(eva.address, login=False, subject="water in the cellar")
    (message,) = until(lambda: [one.read_text() for one in house.messages.iterdir() if not one.name.startswith(".")],
                       what="the short message")
    assert "To: 491791234567" in message
    assert "water in the cellar" in message
    eva.set("sms.to=")
    eva.swaks(eva.address, login=False, subject="all dry")
    eva.gets("water in the cellar", "all dry")
    assert len(list(house.messages.iterdir())) == 1


def test_archive(house: House) -> None:
    eva, max_ = house.person(), house.person()
    eva.set("archive=true")
    max_.swaks(eva.address, subject="received by eva")
    eva.swaks(max_.address, "kunde@far.example", subject="sent by eva")
    eva.gets("received by eva")

    def found() -> set[str]:
        listed = json.loads(house.office.lanmail("archive", "search", "eva", "--json"))["found"]
        return {one["subject"] for one in listed if one["subject"].endswith("by eva")}
    until(lambda: found() == {"received by eva", "sent by eva"}, what="both in the archive")
    eva.set("archive=")
    max_.swaks(eva.address, subject="not kept, by eva")
    eva.gets("received by eva", "not kept, by eva")
    assert found() == {"received by eva", "sent by eva"}
    house.office.lanmail("archive", "verify")


def test_postmaster(house: House) -> None:
    eva, max_ = house.person(), house.person()
    house.chef.empty()
    for to in (f"postmaster@{DOMAIN}", f"abuse@{DOMAIN}"):
        eva.swaks(to, login=False, subject=to)
    house.chef.gets(f"postmaster@{DOMAIN}", f"abuse@{DOMAIN}")
    (house.office.where.pickup / "typo.eml").write_text(
        f"X-Sender: <{eva.address}>\nX-Receiver: <nobody@{DOMAIN}>\nSubject: typo\n\nx\n")
    bounce = "Undelivered mail returned to sender"
    eva.gets(bounce)
    house.chef.gets(f"postmaster@{DOMAIN}", f"abuse@{DOMAIN}", bounce)
    said = house.office.lanmail("account", "set", max_.name, "postmaster=true")
    assert f"{max_.name} is now postmaster and gets mail to postmaster and abuse; chef no longer is" in said
    eva.swaks(f"postmaster@{DOMAIN}", login=False, subject="to the new one")
    max_.gets("to the new one")
    house.office.lanmail("account", "set", "chef", "postmaster=true")
    house.chef.gets(f"postmaster@{DOMAIN}", f"abuse@{DOMAIN}", bounce)


# the Autoresponder tab

def test_autoresponder(house: House) -> None:
    eva, max_, other = house.person(), house.person(), house.person()
    (house.office.root / "away.txt").write_text("Ich bin weg: [SUBJECT]\n")
    eva.set("autoresponder.enabled=yes", f"autoresponder.text=@{house.office.root}/away.txt",
            f"autoresponder.forward={other.name}; copy@far.example")
    max_.swaks(eva.address, subject="Angebot")
    (answer,) = max_.gets("Re: Angebot")
    assert b"Ich bin weg: Angebot" in answer
    other.gets("Angebot")
    assert len(house.outside("copy@far.example")) == 1
    eva.gets("Angebot")
    eva.set("autoresponder.enabled=")
    max_.swaks(eva.address, subject="two")
    eva.gets("Angebot", "two")
    max_.gets("Re: Angebot")
    other.gets("Angebot")


def test_autoresponder_by_mail(house: House) -> None:
    eva, max_ = house.person(), house.person()
    eva.mutt(eva.address, "LMS Autoresponder on Bin bald zurück", "Grüße aus Österreich\n\n-- \nEva\n")
    told = until(lambda: [text for _, text in eva.read()], what="the confirmation")[0]
    assert subject_of(told) == "The autoresponder is on"
    max_.swaks(eva.address, subject="hello")
    answer = until(lambda: [text for _, text in max_.read()], what="the answer")[0]
    assert "=?utf-8?" in subject_of(answer).lower()
    eva.swaks(eva.address, subject="LMS Autoresponder on", more=("--add-header", "Content-Type: text/html"),
              body="<p>away</p>")
    eva.gets("The autoresponder is on", "hello", "The autoresponder was not changed")
    eva.swaks(eva.address, subject="LMS AUTORESPONDER OFF")
    so_far = ("The autoresponder is on", "hello", "The autoresponder was not changed", "The autoresponder is off")
    eva.gets(*so_far)
    max_.swaks(eva.address, subject="again")
    eva.gets(*so_far, "again")
    assert len(max_.read()) == 1
