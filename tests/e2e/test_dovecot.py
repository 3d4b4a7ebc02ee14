"""Dovecot on our Maildirs, and we on Dovecot's: the same UIDs, UIDLs, flags, keywords, folders and bytes."""

import imaplib
import os
import poplib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import dovecot
from tests.e2e.office import DOMAIN, HOST, Office, mail, need

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="Dovecot wants to be started by root"),
]
FOLDERS = ("Projekte", "Projekte.2026", "Entw&APw-rfe")


@pytest.fixture
def open_office() -> Iterator[Office]:
    """An office in a directory that Dovecot's user may walk through."""
    need("dovecot")
    root = Path(tempfile.mkdtemp(prefix="lanmail-e2e-"))
    root.chmod(0o711)
    (root / "root").mkdir(mode=0o711)
    office = Office(root / "root")
    yield office
    office.stop()
    shutil.rmtree(root)


def log_in(port: int, name: str, password: str) -> imaplib.IMAP4:
    imap = imaplib.IMAP4(HOST, port, timeout=60)
    imap.login(name, password)
    return imap


def ok(answer: tuple[str, list[Any]]) -> list[Any]:
    assert answer[0] == "OK", answer
    return answer[1]


def imap_state(port: int, name: str, password: str) -> dict[str, Any]:
    """Everything a client could have cached: folder → (UIDVALIDITY, UIDNEXT, {uid: (flags, size, bytes)})."""
    imap = log_in(port, name, password)
    state: dict[str, Any] = {}
    for line in ok(imap.list('""', "*")):
        folder = re.search(rb'\) (?:"."|NIL) "?([^"]*)"?$', line)[1].decode()
        ok(imap.select(f'"{folder}"', readonly=True))
        numbers = [int(imap.response(key)[1][0]) for key in ("UIDVALIDITY", "UIDNEXT")]
        mails = {}
        for item in ok(imap.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE BODY.PEEK[])")):
            if isinstance(item, tuple):
                uid = int(re.search(rb"UID (\d+)", item[0])[1])
                flags = frozenset(re.search(rb"FLAGS \(([^)]*)\)", item[0])[1].lower().split()) - {b"\\recent"}
                mails[uid] = (flags, int(re.search(rb"RFC822.SIZE (\d+)", item[0])[1]), item[1])
        state[folder] = (*numbers, mails)
    imap.logout()
    return state


def uidls(port: int, name: str, password: str) -> list[bytes]:
    pop3 = poplib.POP3(HOST, port, timeout=60)
    pop3.user(name)
    pop3.pass_(password)
    listed = pop3.uidl()[1]
    sizes = pop3.list()[1]
    pop3.quit()
    return listed + sizes


def work(port: int, name: str, password: str) -> None:
    """What a client does in a day: folders, flags, keywords, copies, appends, expunges."""
    imap = log_in(port, name, password)
    for folder in FOLDERS:
        if not ok(imap.list('""', f'"{folder}"'))[0]:
            ok(imap.create(f'"{folder}"'))
            ok(imap.subscribe(f'"{folder}"'))
    ok(imap.select("INBOX"))
    ok(imap.uid("STORE", "2,4", "+FLAGS", "(\\Seen $Label1 Wichtig)"))
    ok(imap.uid("STORE", "3", "+FLAGS", "(\\Answered \\Flagged)"))
    ok(imap.uid("COPY", "2:4", f'"{FOLDERS[1]}"'))
    when = '"01-Feb-2026 10:11:12 +0100"'
    ok(imap.append(f'"{FOLDERS[2]}"', "(\\Draft Wichtig)", when, mail("appended").replace(b"\n", b"\r\n")))
    oldest = ok(imap.uid("SEARCH", "ALL"))[0].split()[0].decode()
    ok(imap.uid("STORE", oldest, "+FLAGS", "(\\Deleted)"))
    ok(imap.expunge())
    imap.logout()


def test_there_and_back(open_office: Office) -> None:
    office = open_office
    password = office.account("meier")
    login = ("meier", password)
    office.start()
    for number in range(1, 9):
        office.put("meier", mail(f"mail {number}", ["x" * number] * number, to=f"meier@{DOMAIN}"))
        office.arrived("meier", number)
    work(office.port(143), *login)
    ours, our_uidls = imap_state(office.port(143), *login), uidls(office.port(110), *login)
    assert len(ours["INBOX"][2]) == 7
    assert set(FOLDERS) < set(ours)
    assert office.stop() == 0

    other = dovecot.Dovecot(office.root.parent / "dovecot", office.where.maildirs, office.passwords,
                            office.port(143), office.port(110))
    other.start()
    try:
        assert imap_state(other.imap, *login) == ours
        assert uidls(other.pop3, *login) == our_uidls
        work(other.imap, *login)
        theirs, their_uidls = imap_state(other.imap, *login), uidls(other.pop3, *login)
        assert len(theirs["INBOX"][2]) == 6
    finally:
        other.stop()

    office.start()
    assert imap_state(office.port(143), *login) == theirs
    assert uidls(office.port(110), *login) == their_uidls
    office.put("meier", mail("after all", to=f"meier@{DOMAIN}"))
    office.arrived("meier", 7)
    after = imap_state(office.port(143), *login)
    assert after["INBOX"][0] == theirs["INBOX"][0]
    assert max(after["INBOX"][2]) == theirs["INBOX"][1], "the new mail has the UID that was announced"
