"""NAME
    lanmail-fetchmail - fetch mail from mailboxes elsewhere

SYNOPSIS
    lanmail-fetchmail [--root DIR] [--check] [--once] [--trace]

DESCRIPTION
    Visits the external mailboxes of all accounts by POP3 or IMAP and puts their mail into spool/queue, so that it goes
    the way of all mail. They are tables [sources.NAME] in conf/accounts/ACCOUNT.toml; what they do not say has its
    value from [incoming] in lanmail.toml. A source is only fetched when its interface is standard or office365.

    Each is visited as often as `every` says, within the times of `window`, and fetches mails_per_pass mails; when there
    are more, others have their turn first. incoming.parallel sources are visited at the same time, a mailbox by one at
    a time. A server's LOGIN-DELAY is honoured.

    Mail stays on the server, or is deleted at once (delete), some days after we fetched it (delete_after) or by its
    date (delete_older); incoming.delete_always beats what an account says. Mail of max_size or more stays there, and
    the account is told.

    What fails is tried again after the pauses of incoming.retry. The account gets a notice of the first failure, at
    most one a day, and one when it works again. After incoming.max_refused refused log-ins in a row nothing is tried
    before the settings or the password change.

    An empty file state/fetched/request/ACCOUNT,NAME makes us visit that source at once (NAME may be *).

    --once visits each source that is due until nothing is left to fetch, and ends; 75 means that something failed.
    --trace says on stderr what each visit did.

READS
    conf/lanmail.toml, conf/accounts/, conf/secrets/, state/tokens, state/full

WRITES
    spool/queue, state/fetched, state/tokens/request, state/tls-seen.json, state/fetchmail.lock, state/log

SIGNALS
    SIGTERM ends all visits: what is committed is here, the rest comes at the next one. SIGHUP reads the settings again.
    Accounts and passwords need no signal.

STANDARDS
    RFC 1939, 2449, 2595, 3206 and 5034 for POP3; RFC 9051 for IMAP

SECURITY
    No password goes over a connection that is not encrypted, unless tls = "none" asks for it. A server that once
    offered STLS is not used without it again. What servers say is bounded in size and time.

BUGS
    When we stay down for more than 30 hours after a kill in the middle of a batch, the mails of this batch, 50 at most,
    may arrive twice. None is ever lost.

SEE ALSO
    lanmail-deliver, lanmail-relay
"""

import asyncio
import contextlib
import os
import time

from lanmail import accounts, daemon, owner, spool, watch
from lanmail.sources import place
from lanmail.sources.desk import SWEEP, Desk
from lanmail.sources.job import House

SETTLE = 0.2  # seconds: an editor's several writes to an account's file are one change


class Fetchmail:
    """One run: the desk, fed by inotify and a slow sweep."""

    def __init__(self, context: daemon.Context) -> None:
        self.context = context
        lock = owner.lock(context.paths.state / "fetchmail.lock")
        if lock is None:
            raise daemon.Refused(f"another lanmail-fetchmail works on {context.paths.root} already", os.EX_TEMPFAIL)
        self.lock = lock
        self.queue = spool.queue(context.paths)
        try:
            self.queue.ensure()
            place.requests(context.paths).mkdir(mode=0o770, parents=True, exist_ok=True)
            for directory in (self.queue.path, self.queue.tmp, self.queue.new, context.paths.state):
                owner.check(directory, os.lstat(directory).st_mode)
        except (owner.Unsafe, OSError) as error:
            os.close(lock)
            raise daemon.Refused(str(error), os.EX_CONFIG) from error
        people = accounts.Directory(context.paths, lambda: context.settings)
        house = House(context.paths, lambda: context.settings, self.queue, people, context.say)
        self.desk = Desk(house, people)
        self.watch = watch.Watch()
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Listen first, then look at what is there: nothing can fall between."""
        self.watch.subscribe(place.requests(self.context.paths), lambda _events: self.desk.take_requests())
        with contextlib.suppress(OSError):  # conf/accounts is made with the first account
            self.watch.subscribe(self.context.paths.accounts, lambda _events: self._changed.set(), watch.CHANGES)
        self.watch.attach(asyncio.get_running_loop())
        self.context.on_reload(self._changed.set)
        self.desk.refresh()
        self.desk.take_requests()

    async def follow(self) -> None:
        """Follow changes of accounts and settings."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP):
                    await self._changed.wait()
                    await asyncio.sleep(SETTLE)
            self._changed.clear()
            self.desk.refresh()
            self.desk.take_requests()

    async def close(self) -> None:
        """End all visits and let go of everything."""
        self.watch.close()
        await self.desk.close()
        self.queue.close()
        os.close(self.lock)


async def serve(context: daemon.Context) -> None:
    """Work until told to stop."""
    work = Fetchmail(context)
    try:
        work.begin()
        context.ready()
        async with asyncio.TaskGroup() as group:
            following = group.create_task(work.follow())
            await context.until_stopped(work.desk.run())
            following.cancel()
    finally:
        await work.close()


async def once(context: daemon.Context) -> int:
    """Visit what is due until nothing is left; the exit code."""
    work = Fetchmail(context)
    try:
        work.desk.refresh()
        await work.desk.apply()
        work.desk.take_requests()
        for job in work.desk.jobs.values():
            job.due = time.monotonic()
        while not work.desk.idle:
            pause = await work.desk.start()
            work.desk.news.clear()
            if work.desk.tasks:
                await work.desk.news.wait()
            else:
                await asyncio.sleep(min(pause, 0.05))
        failed = any(job.status.error for job in work.desk.jobs.values())
        return os.EX_TEMPFAIL if failed else os.EX_OK
    finally:
        await work.close()


main = daemon.program("fetchmail", __doc__, serve, once=once)
