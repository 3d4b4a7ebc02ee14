"""What leaves the archive, and what must not: retention by years, legal holds, single mails that are erased.

The journal says all of it: a hold is a line, and so is each message that goes. First the line, then the file; killed
between them, the next purge takes the file away (`leftovers`).

A mail stays for so many full calendar years after the one in which it came in as `archive_years` of its accounts says,
the longest of them; 0 is for ever. Accounts that are gone count as [account_defaults] says.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lanmail.archiving import journal, store
from lanmail.paths import Paths

GROUP = 500  # messages with one flush of the journal
RETENTION, ERASED = "retention", "erased"


@dataclass(slots=True)
class Hold:
    """What must stay, whatever its age: all mail of accounts, now and later, and single mails."""

    name: str
    since: str
    reason: str
    by: str
    query: str = ""
    accounts: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def covers(self, data: dict[str, Any]) -> bool:
        """Whether the mail of a line is held."""
        return data.get("id") in self.ids or not self.accounts.isdisjoint(accounts_of(data))


@dataclass(slots=True)
class Contents:
    """What the journal says that is there: mail lines by number, holds by name, files that should be gone."""

    mails: dict[int, dict[str, Any]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    purged: list[dict[str, Any]] = field(default_factory=list)

    def held(self, data: dict[str, Any]) -> str | None:
        """The name of a hold on the mail of a line."""
        return next((one.name for one in self.holds.values() if one.covers(data)), None)


def accounts_of(data: dict[str, Any]) -> set[str]:
    """The accounts because of which the mail of a line is archived."""
    found = {str(one) for one in data.get("receivers") or ()}
    return found | {str(data["submitter"])} if data.get("submitter") else found


def read(where: Paths) -> Contents:
    """Everything in the journal. OSError."""
    found = Contents()
    for line in journal.lines(journal.path(where)):
        data = line.data
        if line.kind == journal.MAIL:
            found.mails[line.seq] = data
        elif line.kind == journal.PURGED:
            if (gone := found.mails.pop(data.get("of", -1), None)) is not None:
                found.purged.append(gone)
        elif line.kind == journal.HOLD:
            _hold(found.holds, data)
    return found


def _hold(holds: dict[str, Hold], data: dict[str, Any]) -> None:
    name = str(data.get("hold"))
    if data.get("action") == "remove":
        holds.pop(name, None)
        return
    holds[name] = Hold(name, str(data.get("time")), str(data.get("reason")), str(data.get("by")),
                       str(data.get("query") or ""), frozenset(data.get("accounts") or ()),
                       frozenset(data.get("ids") or ()))


def expired(contents: Contents, years_of: Callable[[str], int], now: float) -> dict[int, dict[str, Any]]:
    """The mails whose time is over and on which there is no hold. `years_of` an account; 0: for ever."""
    this_year, found = time.gmtime(now).tm_year, {}
    known: dict[str, int] = {}
    for seq, data in contents.mails.items():
        names = accounts_of(data)
        for name in names - known.keys():
            known[name] = years_of(name)
        years = [known[name] for name in names]
        if not years or not all(years):
            continue
        if int(str(data["arrived"])[:4]) + max(years) < this_year and contents.held(data) is None:
            found[seq] = data
    return found


def purge(where: Paths, mails: dict[int, dict[str, Any]], why: str, reason: str, by: str,
          step: Callable[[int, int], None] = lambda *_: None) -> None:
    """Take messages out: for each a line in the journal, then its file goes. `step`: messages, octets. OSError."""
    book = journal.Journal(where)
    try:
        todo = list(mails.items())
        for start in range(0, len(todo), GROUP):
            group = todo[start : start + GROUP]
            book.append([{"kind": journal.PURGED, "of": seq, **{key: data.get(key) for key in
                          ("id", "form", "file", "sha256")}, "why": why, "reason": reason, "by": by}
                         for seq, data in group])
            remove(where, [data for _, data in group])
            step(len(group), sum(int(data.get("size") or 0) for _, data in group))
    finally:
        book.close()


def leftovers(where: Paths, contents: Contents) -> list[dict[str, Any]]:
    """Messages that were purged and whose files are still there: somebody was killed over it."""
    kept = {data.get("file") for data in contents.mails.values()}
    return [data for data in contents.purged
            if data.get("file") not in kept and os.path.lexists(where.archive / str(data.get("file")))]


def remove(where: Paths, mails: Iterable[dict[str, Any]]) -> None:
    """The files go. OSError."""
    for data in mails:
        name = str(data.get("file"))
        if store.is_name(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(where.archive / name)


def hold(where: Paths, name: str, reason: str, by: str, *, accounts: Iterable[str] = (), ids: Iterable[str] = (),
         query: str = "") -> None:
    """Set a legal hold; one of the same name is replaced. OSError."""
    _write(where, {"kind": journal.HOLD, "hold": name, "action": "add", "accounts": sorted(set(accounts)),
                   "ids": sorted(set(ids)), "query": query, "reason": reason, "by": by})


def release(where: Paths, name: str, reason: str, by: str) -> None:
    """End a legal hold. OSError."""
    _write(where, {"kind": journal.HOLD, "hold": name, "action": "remove", "accounts": [], "ids": [], "query": "",
                   "reason": reason, "by": by})


def _write(where: Paths, body: dict[str, Any]) -> None:
    book = journal.Journal(where)
    try:
        book.append([body])
    finally:
        book.close()
