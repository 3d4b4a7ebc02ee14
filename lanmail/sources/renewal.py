"""What outlives the UIDs of a folder: who the fetched mails are, in case the server gives all of them new UIDs.

    state/fetched/ACCOUNT/NAME/FOLDER.ids     uidvalidity 1763794800
                                              4711 5f3c1b2212a45f3c      UID and identity of a mail that was fetched

A new UIDVALIDITY (a moved or repaired mailbox) makes all UIDs worthless (RFC 9051 §2.3.1.1). Then a mail counts as
fetched only where it can be proved: Message-ID, Date and size are the same, and there are not more of that kind than
were fetched. What has no Message-ID, or another size now, comes again: a second copy is better than none.

The file is a help and no promise, so it is not synced. All functions but `identity` block.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, message
from lanmail.sources import place
from lanmail.sources.uidlog import UidLog
from lanmail.sources.visit import Visit

LIMIT = 256 << 20
_SMALL = 64 << 10  # octets; a smaller file is not worth writing anew
_LINE = 28  # octets of a line, about


def identity(header: bytes, size: int) -> str | None:
    """What tells a mail from all others, from its header as far as that is known; None when nothing does."""
    name = message.field(header, b"Message-ID")
    if not name or not size:
        return None
    date = message.field(header, b"Date") or b""
    return hashlib.sha256(b"%d\0%b\0%b" % (size, name, date)).hexdigest()[:16]


@dataclass(slots=True)
class Identities:
    """Those of one folder."""

    path: Path
    validity: int  # the UIDVALIDITY they belong to; 0 when there are none

    @classmethod
    def of(cls, visit: Visit, key: str) -> "Identities":
        """`key` names the folder at this server."""
        name = f"{place.safe(f'{visit.settings.host} {key}')}.ids"
        path = place.directory(visit.paths, visit.account, visit.name) / name
        try:
            with open(os.open(path, os.O_RDONLY | atomic.SAFE), encoding="ascii") as file:
                return cls(path, int(file.readline(60).split()[1]))
        except (OSError, ValueError, IndexError):
            pass  # none yet, or damaged
        return cls(path, 0)

    def known(self, old: UidLog) -> dict[str, list[int]]:
        """When mails were fetched, by their identity."""
        found: dict[str, list[int]] = {}
        for uid, mark in self._lines():
            at = old.since(uid)
            if at is not None:
                found.setdefault(mark, []).append(at)
        return found

    def add(self, validity: int, found: Iterable[tuple[str, str]]) -> None:
        """Append mails that were fetched. OSError."""
        text = _text(found)
        if self.validity != validity:
            self.replace(validity, text)
        elif text:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | atomic.SAFE)
            try:
                atomic.write_all(descriptor, text.encode("ascii"))
            finally:
                os.close(descriptor)

    def renew(self, validity: int, found: Iterable[tuple[str, str]]) -> None:
        """From now on these, with new UIDs. OSError."""
        self.replace(validity, _text(found))

    def replace(self, validity: int, text: str) -> None:
        """The whole file. OSError."""
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        atomic.write(self.path, f"uidvalidity {validity}\n{text}", durable=False)
        self.validity = validity

    def keep_only(self, uids: Sequence[int]) -> None:
        """Forget what is no longer there, once that is most of the file. OSError."""
        if self.validity and self.path.stat().st_size > max(_SMALL, 2 * _LINE * len(uids)):
            there = set(uids)
            self.replace(self.validity, _text((uid, mark) for uid, mark in self._lines() if int(uid) in there))

    def _lines(self) -> Iterable[tuple[str, str]]:
        raw = b""
        with contextlib.suppress(OSError):
            raw = atomic.read(self.path, LIMIT)
        for line in raw.decode("ascii", "replace").split("\n")[1:]:
            uid, _, mark = line.partition(" ")
            if uid.isdigit() and len(mark) == 16:
                yield uid, mark


def _text(found: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{uid} {mark}\n" for uid, mark in found)
