"""archived: puts mail into the archive.

deliver queues a copy of each mail that an account with `archive = true` receives or sends in spool/archive, and relay
one of the form that went out, where it had to change the mail. archived takes them from there into the archive, where
nobody changes them any more:

    archive/2026-11/cur/   a file for each mail, read-only, with its envelope; a Maildir for each month
    archive/journal.jsonl  a line for each mail: when, who, which way, and the SHA-256 of the file. Each line has the
                           hash of the one before: nothing can be changed, taken out or put in without a trace.

`lanmail archive verify` compares all of it and names each message with which something is wrong. Whoever keeps what
`lanmail archive head` prints elsewhere can also prove that the journal was not written anew; archived.report sends it
by mail each day.

While nothing waits, it keeps the index for `lanmail archive search` up to date.

When the disk is full or broken, mail waits in spool/archive and is tried again, after 60 seconds at most.

With --once it takes what is there and ends. With --trace it says on stderr what became of each mail.

Reads: conf/lanmail.toml, conf/accounts/, spool/archive.

Writes: archive/, spool/hold, spool/queue (reports), state/archive, state/index, state/archived.lock, state/log.

Signals: SIGTERM ends it after the group of mails it is at, SIGHUP reads the settings again.

Exit status: 0; 75 when another archived works here, or when --once left something to be tried again; 78 when the
configuration is wrong or a directory can be written by everybody.

Security: needs no network, no Maildirs, no passwords. It follows no link, opens no file that is none, and makes no path
of what a mail says. What does not come from deliver or relay goes to spool/hold.

Bugs: who may write to archive/ as root or as the user of the programs can forge all of it anew, and then only what was
kept elsewhere tells.

See also: lanmail-deliver, `lanmail archive`, docs/howto/archive.md.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lanmail import daemon, log, owner, watch
from lanmail.archiving import following, intake, reports

DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds: the trouble is our own disk
TMP_SWEEP = 3600.0
Result = TypeVar("Result")


class Archived:
    """One run: the open archive, and names of entries that are to be taken, fed by inotify and a slow sweep."""

    def __init__(self, context: daemon.Context) -> None:
        self.context = context
        lock = owner.lock(context.paths.state / "archived.lock")
        if lock is None:
            raise daemon.Refused(f"another lanmail-archived works on {context.paths.root} already", os.EX_TEMPFAIL)
        self.lock = lock
        try:
            self.intake = intake.Intake(context.paths)
        except (owner.Unsafe, OSError) as error:
            os.close(lock)
            raise daemon.Refused(str(error), os.EX_CONFIG) from error
        # the kernel's note that somebody writes to a file we are just looking at (spool.is_open); it would kill us
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="archived")
        self.watch = watch.Watch()
        self.follower = following.Follower(context.paths)
        self.ready: dict[str, None] = {}
        self.failures = 0
        self._wake = asyncio.Event()
        self._broken = ""

    def begin(self) -> None:
        """Listen first, then look at what is there: nothing can fall between."""
        self.watch.subscribe(self.intake.spool.new, self._arrived)
        self.watch.attach(asyncio.get_running_loop())
        self.look()

    def look(self) -> None:
        """At the spool itself, oldest first."""
        try:
            self._add(self.intake.names())
        except OSError as error:
            log.crashed(error=f"cannot list {self.intake.spool.new}: {error}")

    def _arrived(self, events: list[watch.Event] | None) -> None:
        if events is None:
            self.look()
        else:
            self._add([name for _, name in events if not name.startswith(".")])

    def _add(self, names: list[str]) -> None:
        self.ready.update(dict.fromkeys(names))
        if self.ready:
            self._wake.set()

    async def group(self) -> float:
        """Take a group; seconds to wait when something went wrong, 0 when all is well."""
        names, self.ready = list(self.ready), {}
        outcome = await self._in_thread(self.intake.take, names)
        self.ready = dict.fromkeys(outcome.left) | self.ready
        with log.batch():
            for line in outcome.lines:
                said = line.data
                log.event("archived", id=said["id"], form=said["form"], seq=line.seq, direction=said["direction"],
                          file=said["file"])
                self.context.say(f"{said['id']}: line {line.seq}, {said['file']}")
        if self.intake.journal.broken != self._broken:
            self._broken = self.intake.journal.broken
            log.event("journal-broken", level=logging.ERROR, error=self._broken, hint="lanmail archive verify")
            await self._in_thread(reports.broken, self.context.paths, self.context.settings, self._broken)
        if outcome.error is None:
            self.failures = 0
            return 0.0
        delay = DELAYS[min(self.failures, len(DELAYS) - 1)]
        self.failures += 1
        log.event("archive-deferred", level=logging.ERROR, entries=len(self.ready), error=str(outcome.error),
                  retry_in=delay)
        return delay

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """In the one thread, which close() waits for."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    async def run(self) -> None:
        """Work, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work())
            tasks.create_task(self._sweep())

    async def _work(self) -> None:
        while True:
            while self.ready:
                if delay := await self.group():
                    await asyncio.sleep(delay)
            self._wake.clear()
            if not await self._in_thread(self.follower.follow):  # the index, while no mail waits
                await self._wake.wait()

    async def _sweep(self) -> None:
        """Every now and then: what no event told of, what was abandoned in tmp/, and the daily report."""
        swept = -TMP_SWEEP
        while True:
            if time.monotonic() - swept > TMP_SWEEP:
                swept = time.monotonic()
                for name in self.intake.spool.sweep_tmp(time.time()):
                    log.abandoned(spool="archive", file=name)
            await self._in_thread(reports.daily, self.context.paths, self.context.settings, self.intake.journal)
            await asyncio.sleep(self.context.settings.archived.sweep)
            self.look()

    def close(self) -> None:
        """Let go of everything, when the group at hand is done."""
        self.watch.close()
        self.pool.shutdown(wait=True)
        self.intake.close()
        os.close(self.lock)


async def serve(context: daemon.Context) -> None:
    """Work until told to stop."""
    archived = Archived(context)
    try:
        archived.begin()
        context.ready()
        await context.until_stopped(archived.run())
    finally:
        archived.close()


async def once(context: daemon.Context) -> int:
    """What is there now; the exit code."""
    archived = Archived(context)
    try:
        archived.begin()
        while archived.ready:
            if await archived.group():
                return os.EX_TEMPFAIL
        return os.EX_OK
    finally:
        archived.close()


main = daemon.program("archived", __doc__, serve, once=once)
