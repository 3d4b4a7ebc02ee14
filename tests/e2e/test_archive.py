"""Mail through archived accounts with real programs: both directions are in the archive once, exact, and found."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.office import BIN, DOMAIN, HOST, Office, mail, need, until
from tests.e2e.submission import Sink

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """meier and schmidt are archived, demo is not; what goes out goes through smtp-sink under another sender."""
    need("swaks", "smtp-sink")
    sink = Sink()
    office = Office(tmp_path_factory.mktemp("archive"), outgoing={
        "transport": "smtp", "host": HOST, "port": sink.port, "tls": "none", "overwrite_sender": "buero@firma.example"})
    for name in ("meier", "schmidt", "demo"):
        office.account(name)
    for name in ("meier", "schmidt"):
        office.lanmail("account", "set", name, "archive=true")
    office.sink = sink  # type: ignore[attr-defined]
    office.start()
    try:
        yield office
    finally:
        assert office.stop() == 0
        sink.stop()


def send(office: Office, subject: str, sender: str, *to: str, login: str = "") -> bytes:
    """By swaks; the message that was handed in."""
    message = office.root / "message.eml"
    message.write_bytes(mail(subject, sender=sender, to=to[0]))
    more = ["--auth-user", login, "--auth-password", office.passwords[login], "-tls"] if login else []
    office.run("swaks", "--server", HOST, "--port", str(office.port(587 if login else 25)), "--from", sender,
               "--to", ",".join(to), "--data", f"@{message}", "--tls-ca-path", office.ca, *more)
    return message.read_bytes()


def archived(office: Office, subject: str, forms: int = 1) -> list[dict[str, object]]:
    """The lines of the journal with this mail, when all of them are there."""
    def found() -> list[dict[str, object]]:
        journal = office.root / "archive/journal.jsonl"
        lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        return [line for line in lines if line.get("message_id") == f"<{subject.replace(' ', '.')}@test>"]

    until(lambda: len(found()) >= forms, what=f"{forms} forms of {subject}")
    return found()


def test_received_and_sent_once_each(office: Office) -> None:
    before, seen = office.log().count(" relay sent "), len(office.sink.mails())  # type: ignore[attr-defined]
    came = send(office, "an Meier", "x@example.org", f"meier@{DOMAIN}", f"demo@{DOMAIN}")
    went = send(office, "von Meier", f"meier@{DOMAIN}", "kunde@far.example", "blind@far.example", login="meier")
    within = send(office, "unter uns", f"meier@{DOMAIN}", f"schmidt@{DOMAIN}", f"demo@{DOMAIN}", login="meier")
    send(office, "an Demo", "x@example.org", f"demo@{DOMAIN}")
    send(office, "von Demo", f"demo@{DOMAIN}", "kunde@far.example", login="demo")
    one, = archived(office, "an Meier")
    assert (one["direction"], one["receivers"]) == ("in", ["meier"])
    both = archived(office, "von Meier", 2)
    assert [line["form"] for line in both] == ["accepted", "sent"]
    assert len({line["id"] for line in both}) == 1
    assert both[0]["recipients"] == ["kunde@far.example", "blind@far.example"]
    assert both[1]["sender"] == "buero@firma.example"
    three, = archived(office, "unter uns")
    assert (three["direction"], three["submitter"], three["receivers"]) == ("both", "meier", ["schmidt"])
    for line, text in ((one, came), (both[0], went), (three, within)):
        kept = (office.root / "archive" / str(line["file"])).read_bytes()
        assert text.partition(b"\n\n")[2] in kept
    until(lambda: office.log().count(" relay sent ") == before + 3, what="mail to three recipients outside")
    assert len(office.sink.mails()) == seen + 2  # type: ignore[attr-defined]
    assert "everything is as it was archived" in office.lanmail("archive", "verify")


def test_each_is_found_once(office: Office) -> None:
    send(office, "Suche nach Rechnungen", f"meier@{DOMAIN}", "kunde@far.example", login="meier")
    archived(office, "Suche nach Rechnungen", 2)
    found = json.loads(office.lanmail("archive", "search", "--json", "Rechnung"))["found"]
    assert [one["subject"] for one in found] == ["Suche nach Rechnungen"]
    assert "buero@firma.example" in office.lanmail("archive", "show", "--sent", found[0]["id"])
    assert "buero@firma.example" not in office.lanmail("archive", "show", found[0]["id"])


def test_a_byte_is_named_with_its_mail(office: Office) -> None:
    send(office, "ein Byte", "x@example.org", f"schmidt@{DOMAIN}")
    line, = archived(office, "ein Byte")
    file = office.root / "archive" / str(line["file"])
    good = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(good[:-2] + bytes([good[-2] ^ 1]) + good[-1:])
    said = office.run(BIN / "lanmail", "archive", "verify", "--root", office.root, check=False)
    file.write_bytes(good)
    assert said.returncode == 65
    assert f"changed    {line['file']}" in said.stdout
    assert "<ein.Byte@test>" in said.stdout
    assert "1 thing is wrong" in said.stdout
