"""Every part of every message of a corpus as Dovecot gives it, cold and from the cache.

Two differences are meant. A part that does not exist is NIL here and empty there; and Dovecot gives the text of part 1
also as 1.1, where RFC 3501 §6.4.5 knows no such part.
"""

import imaplib
import os
import re
import shutil
from pathlib import Path

import pytest

from tests import ports
from tests.e2e.dovecot import Dovecot
from tests.e2e.office import HOST, Office, need

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "mail-dev" / "messages"
PARTS = ("1", "2", "3", "1.1", "1.2", "2.1", "2.2", "1.1.1", "1.2.1", "2.1.1")
OF_PARTS = ("", ".MIME", ".HEADER", ".TEXT")
ITEMS = [
    "ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE", "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]",
    "BODY.PEEK[]<100.2000>", "BODY.PEEK[HEADER.FIELDS (From To Subject Date Content-Type Received)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (From To)]", *(f"BODY.PEEK[{part}{of}]" for part in PARTS for of in OF_PARTS),
    *(f"BODY.PEEK[{part}]<3.50>" for part in PARTS),
]
LITERAL = re.compile(rb"\{\d+\}\Z")
QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
NAME = re.compile(rb"\d+ \(UID \d+ [\w.]+(?:\[[^]]*\](?:<\d+>)?)? ")


def answers(port: int, password: str) -> dict[tuple[int, str], bytes]:
    """What the server says of each message and item, without the item's name; strings in one form."""
    with imaplib.IMAP4(HOST, port, timeout=60) as client:
        client.login("corpus", password)
        client.select("INBOX", readonly=True)
        return _answers(client)


def _answers(client: imaplib.IMAP4) -> dict[tuple[int, str], bytes]:
    found = {}
    for item in ITEMS:
        whole = b""
        for piece in client.fetch("1:*", f"(UID {item})")[1]:
            if isinstance(piece, tuple):
                whole += LITERAL.sub(b"", piece[0]) + b'"' + re.sub(rb'[\\"]', rb"\\\g<0>", piece[1]) + b'"'
                continue
            whole += piece or b""
            name = NAME.match(whole)
            assert name is not None, whole
            found[int(whole.split(b" ", 1)[0]), item] = _plain(whole[name.end() : -1])
            whole = b""
    return found


def _plain(answer: bytes) -> bytes:
    """Words have no case, strings have."""
    pieces = QUOTED.split(answer)
    return b"\0".join(re.sub(rb"\\(.)", rb"\1", piece, flags=re.DOTALL) if odd % 2 else piece.upper()
                      for odd, piece in enumerate(pieces))


def _missing(ours: bytes, theirs: bytes, item: str) -> bool:
    return ours == b"NIL" and (theirs == b"\0\0" or re.search(r"\[\d+\.\d", item) is not None)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of test mails in ../shared/corpus/mail-dev")
def test_parts(office: Office, tmp_path_factory: pytest.TempPathFactory) -> None:
    need("dovecot")
    if os.geteuid():
        pytest.skip("Dovecot needs root here")
    password = office.account("corpus")
    root = office.where.maildirs / "corpus"
    for number, path in enumerate(sorted(CORPUS.iterdir())):
        shutil.copyfile(path, root / "cur" / f"{1_700_000_000 + number}.M{number}P1.test:2,S")
    base = tmp_path_factory.mktemp("corpus")
    for directory in (base, *base.parents[:3]):
        directory.chmod(0o755)
    shutil.copytree(root, base / "maildirs" / "corpus")
    offset = ports.offset()
    dovecot = Dovecot(base / "dovecot", base / "maildirs", {"corpus": password}, 143 + offset, 110 + offset)
    dovecot.start()
    try:
        theirs = answers(143 + offset, password)
    finally:
        dovecot.stop()
    cold = answers(office.port(143), password)
    assert answers(office.port(143), password) == cold
    different = [key for key, answer in theirs.items()
                 if cold[key] != answer and not _missing(cold[key], answer, key[1])]
    assert not different, [(key, cold[key][:200], theirs[key][:200]) for key in different[:5]]
    assert len(theirs) > 200 * len(ITEMS)
