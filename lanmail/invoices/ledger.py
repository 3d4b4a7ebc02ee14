"""Which e-invoices an account got before: state/einvoice/NAME, a line for each.

    ID <tab> KIND <tab> SELLER <tab> NUMBER

SELLER is the VAT identifier, `vat:DE123456789`, or `name:` and the name; the same number of the same seller is the same
invoice. The line names the mail that brought it first, so a mail that is looked at again is no duplicate of itself.
Threads and processes may write at the same time; a line that a crash cut short is passed over.
"""

import fcntl
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, printable
from lanmail.invoices.verdict import Verdict

LIMIT = 256 << 20  # octets: a million invoices and more
_MODE = 0o640
_writing = threading.Lock()  # flock(2) of one process would let its own threads pass when they share a descriptor


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice, and the mail that brought it first."""

    id: str
    kind: str
    seller: str
    number: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.seller, self.number


def line(entry_id: str, found: Verdict) -> Line:
    """What is remembered of an invoice."""
    vat = re.sub(r"[\W_]+", "", found.seller_vat or "").upper()
    seller = f"vat:{vat}" if vat else f"name:{_plain(found.seller or '').casefold()}"
    return Line(_plain(entry_id), found.kind, seller, _plain(found.number or ""))


def _plain(text: str) -> str:
    """On one line, without tabs; blanks do not tell two numbers apart."""
    return " ".join(printable.line(text).split())


def read(path: Path) -> list[Line]:
    """All lines, oldest first; none when there is no file. OSError."""
    try:
        text = atomic.read(path, LIMIT).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    split = [one.split("\t") for one in text.split("\n")[:-1]]
    return [Line(*fields) for fields in split if len(fields) == 4]


def earlier(lines: Sequence[Line], new: Sequence[Line]) -> list[str | None]:
    """For each new one the id of another mail that brought it before, None when it is the first."""
    first: dict[tuple[str, str, str], str] = {}
    for one in lines:
        first.setdefault(one.key, one.id)
    return [None if first.get(one.key, one.id) == one.id else first[one.key] for one in new]


def note(path: Path, new: Sequence[Line]) -> list[str | None]:
    """The same, and remember those that are the first. OSError."""
    path.parent.mkdir(mode=0o750, exist_ok=True)
    with _writing:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | atomic.SAFE
        descriptor = os.open(path, flags, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            known = read(path)
            found, keys = earlier(known, new), {one.key for one in known}
            text = "".join("\t".join((one.id, one.kind, one.seller, one.number)) + "\n"
                           for one in dict.fromkeys(new) if one.key not in keys)
            if text:
                size = os.fstat(descriptor).st_size
                torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
                atomic.write_all(descriptor, (("\n" if torn else "") + text).encode())
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return found
