"""Client libraries: the live tests that come with them, or a script that calls each of their functions."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, need

HERE = Path(__file__).parent
# These fail with every server: imapclient 4.1.0 calls a method that imaplib has not, compares an Envelope as a
# sequence, takes its settings for a dictionary, and wants a loopback to be slower than 10 µs.
FAIL_EVERYWHERE = {"test_move", "test_fetch", "test_getacl", "test_small_connection_timeout_fail",
                   "test_small_read_timeout_fail"}


@pytest.mark.needs("LANMAIL_IMAPFLOW")
def test_imapflow_and_nodemailer(office: Office, account: str, given: Path) -> None:
    need("node")
    done = office.run(
        "node", HERE / "imapflow.cjs", NODE_PATH=str(given), NODE_EXTRA_CA_CERTS=str(office.ca),
        IMAP_PORT=str(office.port(143)), IMAPS_PORT=str(office.port(993)), SUBMISSION_PORT=str(office.port(587)),
        SMTPS_PORT=str(office.port(465)), MAIL_USER=account, MAIL_PASSWORD=office.passwords[account],
        MAIL_ADDRESS=f"{account}@{DOMAIN}")
    assert done.stdout.endswith("all done\n"), done.stdout


@pytest.mark.needs("LANMAIL_IMAPCLIENT")
def test_imapclient(office: Office, account: str, given: Path) -> None:
    settings = office.root / "livetest.ini"
    settings.write_text(f"[DEFAULT]\nhost={HOST}\nport={office.port(143)}\nssl=false\nusername={account}\n"
                        f"password={office.passwords[account]}\n")
    said = office.run(given, "-m", "imapclient.livetest", settings, "-v", check=False).stderr
    failed = {line.split()[1] for line in said.splitlines() if line.startswith(("FAIL:", "ERROR:"))}
    assert failed <= FAIL_EVERYWHERE, said
    assert "Ran 59 tests" in said, said
    lacking = {line.partition("Server doesn't support ")[2].strip('"') for line in said.splitlines()} - {""}
    assert lacking <= {"Gmail search", "labels", "XLIST"}


@pytest.mark.needs("LANMAIL_MAIL_IMAPCLIENT")
def test_mail_imapclient(office: Office, account: str, given: Path) -> None:
    need("prove")
    office.lanmail("account", "set", account, "quota=1GB")
    sources = office.root / f"perl-{account}"
    shutil.copytree(given, sources)
    (sources / "test.txt").write_text(f"server={HOST}\nport={office.port(143)}\nuser={account}\n"
                                      f"passed={office.passwords[account]}\nauthmech=LOGIN\n")
    said = office.run("env", "-C", sources, "prove", "-lv", "t", check=False).stdout
    failed = {line.partition(" - ")[2] for line in said.splitlines() if line.startswith("not ok")}
    # A name that is only the parent of folders goes with the last of them, as it does with Dovecot on Maildirs; and the
    # quota root is not called "User quota".
    assert failed <= {"delete parent folder", "getquota"}, said
    assert "ok 111" in said
    assert "# skip" not in said
