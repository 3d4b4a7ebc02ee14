"""Mails about the archive: where the journal ends, once a day; and that it does not end as it did before.

A mail that is kept elsewhere proves what the archive held then: who writes the journal anew cannot make its hash.
"""

import os
import time

from lanmail import accounts, address, atomic, dsn, log, notice, spool
from lanmail.archiving import journal
from lanmail.paths import Paths
from lanmail.settings import Settings

_DAILY = """\
The journal of the mail archive of {domain} ended like this at {time}:

    lines    {seq}
    SHA-256  {hash}

Keep this mail, best somewhere else. Later, this command shows that nothing up to then was changed since:

    lanmail archive verify --head {seq}:{hash}
"""
_BROKEN = """\
{text}.

Somebody cut off its end, or put another journal in its place (a copy from before, perhaps). New mail is archived, and
the journal says in a line of its own that it was broken here. Mails whose lines are missing may still lie in the store:

    lanmail archive verify

tells which. If there is a copy of the journal, put it back while lanmail-archived is stopped.
"""


def daily(where: Paths, settings: Settings, book: journal.Journal) -> None:
    """Send the end of the journal to whoever is to get it, if that was not done today. Trouble is logged only."""
    wanted, now = settings.archived.report, time.time()
    today, soon = (time.strftime("%Y-%m-%d", time.localtime(now + hours * 3600)) for hours in (0, 26))
    marker = where.state / "archive" / "reported"
    try:
        if not wanted or (marker.exists() and today <= marker.read_text().strip() <= soon):
            return  # a day that is further ahead was a clock's mistake
        at = book.place()
        text = _DAILY.format(domain=settings.server.domain, time=journal.stamp(now), seq=at.seq, hash=at.hash)
        queue = spool.queue(where)
        try:
            queue.ensure()
            for one in wanted:
                entry_id = spool.new_id()
                head, message = dsn.note(address.parse(one), f"Mail archive: {at.seq} lines", text, entry_id=entry_id,
                                         domain=settings.server.domain, hostname=settings.server.hostname)
                queue.put(head, message, entry_id)
        finally:
            queue.close()
        atomic.write(marker, today + "\n", durable=False)
    except OSError as error:
        log.event("report-failed", error=str(error), file=os.fspath(marker))


def broken(where: Paths, settings: Settings, text: str) -> None:
    """Tell the postmaster. Trouble is logged only: the log and `lanmail archive verify` say the same."""
    postmaster = accounts.Directory(where, lambda: settings).postmaster()
    try:
        if postmaster is not None:
            notice.put(where, settings, postmaster, "The journal of the mail archive is broken",
                       _BROKEN.format(text=text), "archive-broken")
    except OSError as error:
        log.event("report-failed", error=str(error))
