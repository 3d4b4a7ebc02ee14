"""Mail of a mailbox elsewhere, through all of ours, into the folders of people."""

from pathlib import Path

import pytest

from lanmail.sources import place, status
from tests.e2e.office import DOMAIN, HOST, Office, mail, until

pytestmark = pytest.mark.slow


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """meier fetches from the mailbox "far" of this very server, which is as good as any other."""
    made = Office(tmp_path)
    for name in ("meier", "far", "chef"):
        made.account(name)
    made.where.secrets.mkdir(mode=0o700, exist_ok=True)
    secret = made.where.secrets / "far"
    secret.write_text(made.passwords["far"])
    secret.chmod(0o600)
    return made


def source(office: Office, account: str = "meier", **keys: object) -> None:
    keys = {"port": office.port(995), **keys}
    lines = [f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}".replace("'", '"')
             for key, value in keys.items()]
    file = office.where.accounts / f"{account}.toml"
    text = file.read_text().partition("[sources.x]")[0]
    file.write_text("\n".join([
        text, "[sources.x]", 'interface = "standard"', 'protocol = "pop3"', f'host = "{HOST}"',
        'tls = "implicit"', f'tls_ca = "{office.ca}"', 'user = "far"',
        'password = "file:secrets/far"', *lines]) + "\n")
    file.chmod(0o600)


def test_fetched_mail_goes_the_way_of_all_mail(office: Office) -> None:
    """A changed file counts by itself; aliases and the trace work; "now" is now."""
    office.start()
    try:
        office.put("far", mail("one"))
        until(lambda: office.inbox("far"), what="one")
        source(office, every="1h", delete=True)
        text, = office.arrived("meier")
        assert b"Subject: one" in text
        until(lambda: not office.inbox("far"), what="DELE")
        office.put("far", mail("two"))
        until(lambda: office.inbox("far"), what="two")
        place.request(office.where, "meier", "x")
        assert len(office.arrived("meier", 2)) == 2  # long before an hour is over
        found = until(lambda: (now := status.load(office.where, "meier", "x")).fetched == 2 and now, what="its status")
        assert found.error == ""
        accepted = next(line for line in office.log().splitlines() if "accepted" in line and "origin=fetch" in line)
        entry_id = accepted.split(" id=")[1].split(" ")[0]
        assert "delivered" in office.lanmail("trace", entry_id)
        assert "source=meier/x" in accepted
    finally:
        assert office.stop() == 0


def test_a_server_that_is_away_is_told_and_then_mended(office: Office) -> None:
    source(office, port=1, every="10s")
    office.start()
    try:
        text, = office.arrived("meier")
        assert b"cannot be fetched" in text
        assert b"X-Origin: local source=notice" in text or b"Auto-Submitted: auto-generated" in text
        office.put("far", mail("late"))
        source(office, every="1h")
        texts = office.arrived("meier", 3)
        assert any(b"is fetched again" in one for one in texts)
        assert any(b"Subject: late" in one for one in texts)
        assert DOMAIN.encode() in text
    finally:
        assert office.stop() == 0
