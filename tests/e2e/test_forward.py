"""Forwards with real programs at both ends: swaks hands in, smtp-sink takes what goes out, or refuses it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import config
from lanmail.sources import place
from tests.e2e.office import DOMAIN, HOST, Office, need, until
from tests.e2e.submission import Sink

pytestmark = pytest.mark.slow

TARGETS = {"local": "schmidt", "group": "sales", "outside": "eva@far.example"}


@pytest.fixture(scope="module")
def sinks() -> Iterator[dict[str, Sink]]:
    """One that takes everything, one that refuses every recipient."""
    found = {"taking": Sink(), "refusing": Sink("-f", "rcpt")}
    yield found
    for one in found.values():
        one.stop()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, sinks: dict[str, Sink]) -> Iterator[Office]:
    """chef is postmaster; the group sales is chef and uta, who is outside."""
    made = Office(tmp_path_factory.mktemp("office"), **{
        "outgoing.host": HOST, "outgoing.port": sinks["taking"].port, "outgoing.tls": "none"})
    for name in ("chef", "meier", "schmidt", "lost", "kept", "round", "far", *(f"{one}{keep}" for one in TARGETS
                                                                               for keep in (0, 1))):
        made.account(name)
    made.lanmail("group", "add", "sales", "chef", "uta@far.example")
    for name in ("lost", "kept"):
        config.edit(made.where.accounts / f"{name}.toml", {
            "outgoing.host": HOST, "outgoing.port": sinks["refusing"].port, "outgoing.tls": "none"})
    made.start()
    yield made
    assert made.stop() == 0


def send(office: Office, to: str, subject: str, *more: str) -> None:
    need("swaks")
    office.run("swaks", "--server", HOST, "--port", str(office.port(25)), "--from", "x@example.org", "--to",
               f"{to}@{DOMAIN}", "--header", f"Subject: {subject}", "--body", f"text of {subject}", *more)


def with_subject(mails: list[bytes], subject: str) -> list[bytes]:
    """Those with this subject in their own header."""
    wanted = f"\nSubject: {subject}\n".encode()
    return [one for one in mails if wanted in one.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n"]


def inbox(office: Office, name: str, subject: str) -> list[bytes]:
    return with_subject([path.read_bytes() for path in office.inbox(name)], subject)


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("kind", TARGETS)
def test_each_target_with_and_without_a_copy(office: Office, sinks: dict[str, Sink], kind: str, keep: int) -> None:
    name = subject = f"{kind}{keep}"
    said = office.lanmail("forward", "on", name, TARGETS[kind], "--keep" if keep else "--no-keep")
    assert TARGETS[kind] in said
    send(office, name, subject)
    if kind != "outside":
        until(lambda: inbox(office, {"local": "schmidt", "group": "chef"}[kind], subject), what="the mail here")
    if kind != "local":
        (out,) = until(lambda: with_subject(sinks["taking"].mails(), subject), what="the mail outside")
        to = b"uta@far.example" if kind == "group" else b"eva@far.example"
        assert b"X-Rcpt-Args: <" + to in out
        assert f"X-Mail-Args: <{name}@{DOMAIN}".encode() in out
        assert f"\nDelivered-To: {name}@{DOMAIN}\nX-Forwarded-For: {name}@{DOMAIN}\n".encode() in out
        assert f"text of {subject}".encode() in out
    until(lambda: len(inbox(office, name, subject)) == keep, what="the copy")


@pytest.mark.parametrize("keep", ["--no-keep", "--keep"])
def test_what_the_other_server_refuses_is_in_the_mailbox_and_told(office: Office, keep: str) -> None:
    name = "lost" if keep == "--no-keep" else "kept"
    office.lanmail("forward", "on", name, "gone@far.example", keep)
    send(office, name, f"for {name}")
    until(lambda: inbox(office, name, "Mail could not be forwarded"), what="what the account is told")
    (mail,) = until(lambda: inbox(office, name, f"for {name}"), what="the mail")
    assert f"text of for {name}".encode() in mail
    (told,) = inbox(office, name, "Mail could not be forwarded")
    assert b"Final-Recipient: rfc822; gone@far.example" in told
    until(lambda: any(f"A mail that {name} got".encode() in one
                      for one in inbox(office, "chef", "Mail could not be forwarded")), what="his copy")


def test_mail_that_comes_round_stays_by_smtp_and_by_pop3(office: Office, sinks: dict[str, Sink]) -> None:
    """What the mailbox outside sends back, once to our port 25 and once to be fetched."""
    office.lanmail("forward", "on", "round", "there@far.example")
    send(office, "round", "again")
    (out,) = until(lambda: with_subject(sinks["taking"].mails(), "again"), what="the mail outside")
    file = Path(office.root / "again.eml")
    file.write_bytes(out)
    send(office, "round", "again", "--data", f"@{file}")
    until(lambda: len(inbox(office, "round", "again")) == 1, what="the mail that came back")
    secret = office.where.secrets / "far"
    secret.parent.mkdir(mode=0o700, exist_ok=True)
    secret.write_text(office.passwords["far"])
    secret.chmod(0o600)
    office.put("far", b"Delivered-To: round@" + DOMAIN.encode() + b"\nSubject: of the provider\n\nx\n")
    office.put("far", out)
    config.edit(office.where.accounts / "round.toml", {
        ("sources", "x", key): value for key, value in {
            "interface": "standard", "protocol": "pop3", "host": HOST, "port": office.port(995), "tls": "implicit",
            "tls_ca": str(office.ca), "user": "far", "password": "file:secrets/far"}.items()})
    until(lambda: len(office.inbox("far")) == 2, what="the mails in the mailbox elsewhere")
    place.request(office.where, "round", "x")
    until(lambda: len(inbox(office, "round", "again")) == 2, what="the mail that was fetched")
    until(lambda: with_subject(sinks["taking"].mails(), "of the provider"), what="a fetched mail that was not here")
    assert len(with_subject(sinks["taking"].mails(), "again")) == 1
    assert office.log().count(" forward-loop ") == 2
    assert len(inbox(office, "chef", "Forward of round stopped")) == 1
