"""mbsync keeps two thousand mails on both sides the same: all of them, changes from both, nothing, new mail."""

import collections
import imaplib
import threading
from pathlib import Path

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need

pytestmark = pytest.mark.slow
EACH = 1000
LATE = 100    # delivered while mbsync runs

CONFIG = """
IMAPAccount office
Host localhost
Port {port}
User {user}
Pass "{password}"
{tls_key} IMAPS
CertificateFile {ca}

IMAPStore far
Account office

MaildirStore near
Inbox {box}/INBOX
SubFolders Maildir++

Channel all
{far} :far:
{near} :near:
Patterns INBOX Projekte
Create Both
Expunge Both
Sync All
SyncState {box}/.state/
"""


def fill(folder: Path, who: str) -> None:
    """As another program would: whole files by rename into new/, with names of its own kind."""
    for number in range(EACH):
        name = f"{1_700_000_000 + number}.{who}{number}.elsewhere"
        (folder / "tmp" / name).write_bytes(mail(f"{who} {number}", [f"{who} {number}"] * (number % 7 + 1)))
        (folder / "tmp" / name).rename(folder / "new" / name)


def contents(folder: Path) -> dict[bytes, str]:
    """Message-ID → flags of all mails of a folder."""
    found = {}
    for path in [*folder.glob("new/*"), *folder.glob("cur/*")]:
        text = path.read_bytes().replace(b"\r\n", b"\n")
        found[text.partition(b"Message-ID: ")[2].partition(b"\n")[0]] = path.name.partition(":2,")[2].translate(
            {ord(letter): None for letter in "abcdefghijklmnopqrstuvwxyz"})
    return found


def test_mbsync_two_way(office: Office, account: str) -> None:
    need("mbsync")
    far, near = office.where.maildirs / account, office.root / f"near-{account}"
    for name in ("INBOX/tmp", "INBOX/new", "INBOX/cur", ".state"):
        (near / name).mkdir(parents=True)
    fill(far, "far")
    fill(near / "INBOX", "near")
    version = office.run("mbsync", "--version").stdout
    old = "isync 1.3" in version or "isync 1.2" in version
    rc = office.home / f"mbsyncrc-{account}"
    rc.write_text(CONFIG.format(
        port=office.port(993), user=account, password=office.passwords[account], ca=office.ca, box=near,
        tls_key="TLSType" if "1.5" in version or "1.6" in version else "SSLType",
        far="Master" if old else "Far", near="Slave" if old else "Near"))

    office.run("mbsync", "-c", rc, "-a", timeout=120)
    assert len(contents(far)) == 2 * EACH
    assert contents(far) == contents(near / "INBOX")

    imap = imaplib.IMAP4(HOST, office.port(143), timeout=20)
    imap.login(account, office.passwords[account])
    imap.select("INBOX")
    imap.store("1:100", "+FLAGS", "(\\Flagged)")
    imap.store("101:150", "+FLAGS", "(\\Deleted)")
    imap.expunge()
    imap.create("Projekte")
    imap.append("Projekte", "(\\Seen)", None, mail("in the folder", to=f"{account}@{DOMAIN}").replace(b"\n", b"\r\n"))
    imap.logout()
    mine = sorted(path for path in (near / "INBOX").glob("[nc]*/*") if b"Subject: near" in path.read_bytes())
    for path in mine[:100]:
        path.rename(near / "INBOX/cur" / (path.name.partition(":2,")[0] + ":2,RS"))
    for path in mine[100:120]:
        path.unlink()
    office.run("mbsync", "-c", rc, "-a", timeout=120)
    assert len(contents(far)) == 2 * EACH - 70
    assert contents(far) == contents(near / "INBOX")
    assert collections.Counter(contents(far).values()) == {"": 2 * EACH - 270, "F": 100, "RS": 100}
    assert list(contents(near / "INBOX/.Projekte").values()) == ["S"] == list(contents(far / ".Projekte").values())

    before = sorted(path.name for path in far.glob("cur/*"))
    office.run("mbsync", "-c", rc, "-a", timeout=120)
    assert sorted(path.name for path in far.glob("cur/*")) == before, "a third run has nothing to do"

    late = threading.Thread(target=lambda: [office.put(account, mail(f"late {number}")) for number in range(LATE)])
    late.start()
    office.run("mbsync", "-c", rc, "-a", timeout=120)
    late.join()
    office.arrived(account, 2 * EACH - 70 + LATE)
    office.run("mbsync", "-c", rc, "-a", timeout=120)
    assert len(contents(far)) == 2 * EACH - 70 + LATE
    assert contents(far) == contents(near / "INBOX")
