"""Counting mail after a crash: in the Maildirs, and wherever else it may be."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.load import ACCEPTED, REFUSED, UNSENT, Ledger
from tests.crash.rig import Rig


@dataclass
class Found:
    """Copies by (account, token), and what is not whole."""

    copies: Counter = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def count(rig: Rig) -> Found:
    """Read every file in every folder of every Maildir."""
    found = Found()
    for maildir in sorted(rig.paths.maildirs.iterdir()):
        for path in sorted([*maildir.glob("new/*"), *maildir.glob("cur/*"), *maildir.glob(".*/[nc][eu][wr]/*")]):
            token = _token(path, found)
            if token:
                found.copies[maildir.name, token] += 1
    return found


def _token(path: Path, found: Found) -> str | None:
    data = path.read_bytes()
    head, _, body = data.partition(b"\n\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\n") if b": " in line)
    if b"Subject" not in fields or b"X-Check" not in fields:
        (found.others if data else found.broken).append(str(path))
        return None
    size = path.name.partition(",S=")[2].partition(",")[0].partition(":")[0]
    if hashlib.sha256(body).hexdigest().encode() != fields[b"X-Check"] or (size and int(size) != len(data)):
        found.broken.append(str(path))
    if head.count(b"X-Receiver: ") > 1:
        found.broken.append(f"{path}: tells one recipient of another")
    return fields[b"Subject"].decode()


def lost(found: Found, ledger: Ledger) -> list[str]:
    """What was answered with 250 and is not there."""
    return [
        f"{token} for {account}"
        for token in ledger.tokens(ACCEPTED)
        for account in ledger.recipients[token]
        if not found.copies[account, token]
    ]


def check(rig: Rig, ledger: Ledger, *, extra: int = 0) -> Found:
    """Every mail answered with 250 is there, once in each Maildir, whole; nothing refused is there at all.

    A mail without an answer may be there, also once. `extra` surplus copies are allowed where a kill can make some.
    """
    found = count(rig)
    gone, surplus, ghosts = lost(found, ledger), [], []
    for token, fate in ledger.fate.items():
        for account in ledger.recipients[token]:
            copies = found.copies[account, token]
            if copies > 1:
                surplus.append(f"{token} for {account}: {copies}")
            if copies and fate in (REFUSED, UNSENT):
                ghosts.append(f"{token} for {account} ({fate})")
    wrong = [f"{token} for {account}" for account, token in found.copies if account not in ledger.recipients[token]]
    held = sorted(path.name for path in (rig.paths.hold / "new").glob("*.why"))
    assert not gone, f"lost although answered with 250: {gone[:10]} ({len(gone)}); hold: {held[:5]}; {ledger}"
    assert not found.broken, found.broken[:10]
    assert not ghosts, f"there although refused: {ghosts[:10]}"
    assert not wrong, f"delivered to somebody else: {wrong[:10]}"
    assert len(surplus) <= extra, f"more than once: {surplus[:10]} ({len(surplus)})"
    return found
