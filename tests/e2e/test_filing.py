"""Mail is kept the same on both sides by offlineimap, and filed by imapfilter's rules."""

import imaplib

import pytest

from tests.e2e.office import DOMAIN, HOST, Office, mail, need, until

pytestmark = pytest.mark.slow

OFFLINEIMAP = """
[general]
accounts = office
metadatadir = {box}/state
[Account office]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {box}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {ca}
"""

IMAPFILTER = """
options.timeout = 20
options.create = true
options.subscribe = true
options.starttls = true
here = IMAP {{ server = "localhost", port = {port}, username = "{user}", password = "{password}" }}
found = here.INBOX:contain_subject("Rechnung") * here.INBOX:is_unseen() * here.INBOX:contain_body("summe")
found:mark_flagged()
found:add_flags({{ "geprueft" }})
found:move_messages(here["Ablage.Rechnungen"])
junk = here.INBOX:contain_from("spam@") + here.INBOX:match_subject("^WIN")
junk:delete_messages()
here.INBOX:is_larger(100000):copy_messages(here.Archiv)
read = here.INBOX:contain_subject("lies mich")
for _, one in ipairs(read) do
    box, uid = table.unpack(one)
    assert(box[uid]:fetch_field("subject"):find("lies mich") and #box[uid]:fetch_body() > 5)
end
read:mark_seen()
"""


def test_offlineimap_both_ways(office: Office, account: str) -> None:
    need("offlineimap")
    box, root = office.root / f"offlineimap-{account}", office.where.maildirs / account
    for number in range(50):
        office.put(account, mail(f"far {number}", [f"far {number}"], to=f"{account}@{DOMAIN}"))
    office.arrived(account, 50)
    box.mkdir()
    rc = box / "rc"
    rc.write_text(OFFLINEIMAP.format(box=box, port=office.port(993), user=account, password=office.passwords[account],
                                     ca=office.ca))
    command = ("offlineimap", "-c", rc, "-u", "basic", "-o")
    office.run(*command, timeout=120)
    near = box / "mail"
    assert {path.name for path in near.iterdir()} >= {"INBOX", "Sent", "Drafts", "Trash", "Junk"}
    here = sorted(near.glob("INBOX/[nc]*/*"))
    assert len(here) == 50
    for path in here[:5]:
        path.rename(near / "INBOX/cur" / (path.name.partition(":2,")[0] + ":2,FS"))
    for path in here[5:10]:
        path.unlink()
    (near / "INBOX/new/1.near.x").write_bytes(mail("from here"))
    imap = imaplib.IMAP4(HOST, office.port(143), timeout=60)
    imap.login(account, office.passwords[account])
    imap.create("Projekte.2026")
    imap.append("Projekte.2026", "(\\Seen)", None, mail("in the folder").replace(b"\n", b"\r\n"))
    imap.logout()
    office.run(*command, timeout=120)
    flags = sorted(path.name.partition(":2,")[2] for path in office.inbox(account))
    assert flags == [""] * 41 + ["FS"] * 5
    assert sum(b"from here" in path.read_bytes() for path in root.glob("[nc]*/*")) == 1
    assert len(list(near.glob("Projekte.2026/[nc]*/*"))) == 1
    before = sorted(path.name for path in near.glob("*/[nc]*/*"))
    office.run(*command, timeout=120)
    assert sorted(path.name for path in near.glob("*/[nc]*/*")) == before, "a third run has nothing to do"
    assert sorted(path.name.partition(":2,")[2] for path in office.inbox(account)) == flags


def test_imapfilter(office: Office, account: str) -> None:
    need("imapfilter")
    root = office.where.maildirs / account
    mails = [mail("Rechnung 1", ["Die Summe: 5 Euro"]), mail("Rechnung 2", ["nichts"]), mail("lies mich"),
             mail("WINNER"), mail("x", sender="spam@example.org"), mail("large", ["x" * 70] * 2000)]
    for one in mails:
        office.put(account, one)
    office.arrived(account, len(mails))
    rules = office.root / f"imapfilter-{account}.lua"
    rules.write_text(IMAPFILTER.format(port=office.port(143), user=account,
                                       password=office.passwords[account]))
    office.run("imapfilter", "-t", office.ca, "-c", rules)
    until(lambda: len(office.inbox(account)) == 3, 5, "three mails left")
    (filed,) = root.glob(".Ablage.Rechnungen/cur/*")
    assert filed.name.endswith(":2,Fa")
    assert b"Rechnung 1" in filed.read_bytes()
    assert len(list(root.glob(".Archiv/[nc]*/*"))) == 1
    assert {path.read_bytes().partition(b"Subject: ")[2].partition(b"\n")[0]: path.name.partition(":2,")[2]
            for path in office.inbox(account)} == {b"Rechnung 2": "", b"lies mich": "S", b"large": ""}
