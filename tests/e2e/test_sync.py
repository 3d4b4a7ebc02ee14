"""mbsync keeps two thousand mails on both sides the same: all of them, changes from both, nothing, new mail.

LANMAIL_SYNC_MAILS=5000 takes so many.
"""

import collections
import imaplib
import os
import random
import threading
from pathlib import Path

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need

pytestmark = pytest.mark.slow
EACH = int(os.environ.get("LANMAIL_SYNC_MAILS", "2000")) // 2
ROUNDS = 5
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


def configured(office: Office, account: str, near: Path) -> Path:
    """The configuration file for an account, and an empty Maildir for it to fill."""
    for name in ("INBOX/tmp", "INBOX/new", "INBOX/cur", ".state"):
        (near / name).mkdir(parents=True)
    version = office.run("mbsync", "--version").stdout
    old = "isync 1.3" in version or "isync 1.2" in version
    rc = office.home / f"mbsyncrc-{account}"
    rc.write_text(CONFIG.format(
        port=office.port(993), user=account, password=office.passwords[account], ca=office.ca, box=near,
        tls_key="TLSType" if "1.5" in version or "1.6" in version else "SSLType",
        far="Master" if old else "Far", near="Slave" if old else "Near"))
    return rc


def test_mbsync_two_way(office: Office, account: str) -> None:
    need("mbsync")
    far, near = office.where.maildirs / account, office.root / f"near-{account}"
    rc = configured(office, account, near)
    fill(far, "far")
    fill(near / "INBOX", "near")

    office.run("mbsync", "-c", rc, "-a", timeout=120)
    assert len(contents(far)) == 2 * EACH
    assert contents(far) == contents(near / "INBOX")

    imap = imaplib.IMAP4(HOST, office.port(143), timeout=60)
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


def change_far(imap: imaplib.IMAP4, chance: random.Random) -> set[bytes]:
    """Flags, deletions, moves and new mails by IMAP; the Message-IDs that are deleted."""
    imap.select("INBOX")
    uids = imap.uid("SEARCH", "ALL")[1][0].split()
    picked = b",".join(chance.sample(uids, 60)).decode().split(",")
    for mode, flags, some in (("+", "\\Flagged", picked[:20]), ("+", "\\Seen \\Answered", picked[10:30]),
                              ("-", "\\Seen", picked[:5])):
        imap.uid("STORE", ",".join(some), f"{mode}FLAGS", f"({flags})")
    imap.uid("MOVE", ",".join(picked[30:40]), "Projekte")
    doomed = ",".join(picked[40:60])
    told = imap.uid("FETCH", doomed, "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")[1]
    imap.uid("STORE", doomed, "+FLAGS", "(\\Deleted)")
    imap.uid("EXPUNGE", doomed)
    for number in range(10):
        imap.append("INBOX", "(\\Draft)" if number % 2 else "", None,  # type: ignore[arg-type]
                    mail(f"far {chance.random()}").replace(b"\n", b"\r\n"))
    return {one[1].partition(b": ")[2].strip() for one in told if isinstance(one, tuple)}


def change_near(folder: Path, chance: random.Random) -> set[bytes]:
    """The same by another program on the other side."""
    paths = chance.sample(sorted(folder.glob("[nc]*/*")), 60)
    for path in paths[:30]:
        base, _, letters = path.name.partition(":2,")
        path.rename(folder / "cur" / f"{base}:2,{''.join(sorted({*letters} ^ {chance.choice('FRS')}))}")
    doomed = {path.read_bytes().partition(b"Message-ID: ")[2].partition(b"\n")[0].strip() for path in paths[30:50]}
    for path in paths[30:50]:
        path.unlink()
    for _ in range(10):
        name = f"{chance.randrange(10 ** 9)}.near.elsewhere"
        (folder / "tmp" / name).write_bytes(mail(f"near {chance.random()}"))
        (folder / "tmp" / name).rename(folder / "new" / name)
    return doomed


def test_rounds_with_changes_on_both_sides(office: Office, account: str) -> None:
    """Nothing is lost that nobody deleted, nothing deleted comes back, and in the end both sides are the same."""
    need("mbsync")
    chance = random.Random(20261122)
    far, near = office.where.maildirs / account, office.root / f"near-{account}"
    rc = configured(office, account, near)
    fill(far, "far")
    imap = imaplib.IMAP4(HOST, office.port(143), timeout=60)
    imap.login(account, office.passwords[account])
    imap.create("Projekte")
    office.run("mbsync", "-c", rc, "-a", timeout=120)
    known, doomed = set(contents(far)), set[bytes]()
    for _ in range(ROUNDS):
        doomed |= change_far(imap, chance) | change_near(near / "INBOX", chance)
        known |= contents(far).keys() | contents(near / "INBOX").keys()
        office.run("mbsync", "-c", rc, "-a", timeout=120)
        assert contents(far) == contents(near / "INBOX")
        assert contents(far / ".Projekte") == contents(near / "INBOX/.Projekte")
    imap.logout()
    assert len(doomed) > 30 * ROUNDS
    assert known - contents(far).keys() - contents(far / ".Projekte").keys() <= doomed
    assert not contents(far).keys() & doomed
