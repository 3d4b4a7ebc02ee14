"""What was delivered is put into the cache of its folder, so that IMAP tells of it without opening it.

    Filling(maildirs)            of one installation; notes nothing before it is told
    .note(account, name)         this file was put into the account's INBOX; any thread
    .fill() -> None              deal with some of what was noted; blocks, in a thread that nobody waits for
    .left -> int                 how much there is still to do

Only where a cache is, which somebody's listing made; and only while there is nothing to deliver. What is forgotten (a
kill, more notes than `MOST`, a full disk) is read when somebody asks for it, as ever.
"""

import os
import time
from collections import deque
from pathlib import Path

from lanmail import log, maildir
from lanmail.folders import summaries
from lanmail.mime import summary

MOST = 20_000  # notes
BATCH = 100  # mails
SECONDS = 0.2  # of work at a time
LARGEST = 1 << 18  # octets


class Filling:
    """The notes of one run."""

    def __init__(self, maildirs: Path) -> None:
        self._maildirs = maildirs
        self._notes: deque[tuple[str, str]] = deque()

    @property
    def left(self) -> int:
        return len(self._notes)

    def note(self, account: str, name: str) -> None:
        """A mail was delivered."""
        if len(self._notes) < MOST:
            self._notes.append((account, name))

    def fill(self) -> None:
        """Keep what is to be kept of the mails noted first, a folder at a time."""
        noted: dict[str, list[str]] = {}
        for _ in range(min(BATCH, len(self._notes))):
            account, name = self._notes.popleft()
            noted.setdefault(account, []).append(name)
        ends = time.monotonic() + SECONDS
        for account, names in noted.items():
            try:
                self._fill(str(self._maildirs / account), names, ends)
            except Exception as error:  # whatever it is, it must not cost a delivery
                log.event("cache-failed", account=account, error=repr(error))

    def _fill(self, inbox: str, names: list[str], ends: float) -> None:
        if not summaries.exists(inbox):
            return
        known = summaries.latest(inbox)  # a session that waited for the mail was faster
        found = []
        for name in names:
            if os.fsencode(name) in known:
                continue
            size = maildir.sizes_of(name)[0]
            # a session may have taken it out of new/ already
            where = f"new/{name}" if os.path.exists(f"{inbox}/new/{name}") else f"cur/{name}{maildir.INFO}"
            found.append((name, where, size))
        made = summary.of_files(inbox, found, seconds=ends - time.monotonic(), largest=LARGEST)
        if summaries.exists(inbox):
            summaries.Cache(inbox).write(made)
