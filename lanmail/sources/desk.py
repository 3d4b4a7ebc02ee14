"""When which source is visited: several at a time, one for each mailbox, the one that waited longest first.

A visit fetches some mails at most; a source that has more comes to the end of the line again. Accounts and settings are
followed as they change. Whatever is wrong with one source concerns no other.
"""

import asyncio
import contextlib
import time

from lanmail import accounts, incoming, log
from lanmail.errors import Temporary
from lanmail.incoming import Source
from lanmail.sources import place
from lanmail.sources.job import House, Job

SWEEP = 60.0  # seconds between two looks at what no event tells of
ONLINE = 30.0  # an answer to the online check counts so long
ONLINE_WAIT = 5.0


class Desk:
    """All sources."""

    def __init__(self, house: House, directory: accounts.Directory) -> None:
        self.house, self.directory = house, directory
        self.jobs: dict[tuple[str, str], Job] = {}
        self.wanted: dict[tuple[str, str], Source] = {}
        self.behind = False
        self.tasks: dict[asyncio.Task[bool], Job] = {}
        self.news = asyncio.Event()
        self._checked, self._online = -ONLINE, True

    # which sources there are

    def refresh(self) -> None:
        """Look at what accounts say now; `apply` follows."""
        self.wanted, self.behind = self._sources(), True
        self.news.set()

    async def apply(self) -> None:
        """Follow what `refresh` saw; a source that is just visited has its turn afterwards."""
        self.behind = False
        for key in [key for key in self.jobs if key not in self.wanted]:
            if self.jobs[key].running:
                self.behind = True
            else:
                await self.jobs.pop(key).close()
        for (account, name), settings in self.wanted.items():
            known = self.jobs.get((account, name))
            if known is None:
                self.jobs[account, name] = Job(self.house, account, name, settings)
            elif known.settings != settings:
                if known.running:
                    self.behind = True
                else:
                    await known.close()
                    known.change(settings)

    def _sources(self) -> dict[tuple[str, str], Source]:
        """All that are switched on, with their settings."""
        default = self.house.settings().incoming
        found: dict[tuple[str, str], Source] = {}
        for account in self.directory.names():
            try:
                own = self.directory.account(account)
            except Temporary:  # its file is broken: as it was before
                found |= {key: job.settings for key, job in self.jobs.items() if key[0] == account}
                continue
            for name, said in own.sources.items() if own is not None else ():
                settings = incoming.of(default, said)
                if settings.interface != "disabled":
                    found[account, name] = settings
        return found

    def take_requests(self) -> None:
        """Visit at once what somebody asked for; that may be a source which was made a moment ago."""
        asked = place.requested(self.house.paths)
        if asked:
            self.refresh()
        for account, name in asked:
            for key, job in self.jobs.items():
                if key[0] == account and name in (key[1], "*"):
                    job.ask()
        self.news.set()

    # visiting them

    async def run(self) -> None:
        """Visit what is due, for ever."""
        while True:
            pause = await self.start()
            self.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.news.wait()

    async def start(self) -> float:
        """Start the visits that are due; seconds until the next one is."""
        if self.behind:
            await self.apply()
        busy = {job.mailbox for job in self.tasks.values()}
        for job in sorted(self.jobs.values(), key=lambda one: one.due):
            if len(self.tasks) >= self.house.settings().incoming.parallel or job.due > time.monotonic():
                break
            if job.mailbox in busy or not job.ready():
                continue
            if not await self._is_online() and not job.forced:
                job.due = time.monotonic() + ONLINE
                job.status.error = "there is no connection to the internet (incoming.online_check)"
                continue
            busy.add(job.mailbox)
            job.running = True
            task = asyncio.create_task(job.visit())
            self.tasks[task] = job
            task.add_done_callback(self._done)
        waiting = [job.due for job in self.jobs.values() if job.mailbox not in busy]  # the end of a visit is news
        if len(self.tasks) >= self.house.settings().incoming.parallel or not waiting:
            return SWEEP
        return min(SWEEP, max(0.05, min(waiting) - time.monotonic()))

    def _done(self, task: asyncio.Task[bool]) -> None:
        job = self.tasks.pop(task)
        job.running = False
        if job.watching is not None:
            job.watching.add_done_callback(lambda _task: self.news.set())
        if not task.cancelled() and task.exception() is not None:
            log.crashed(error=repr(task.exception()), where=f"fetching {job.label}")
            job.due = time.monotonic() + SWEEP
        self.news.set()

    async def _is_online(self) -> bool:
        """The online check, made every now and then."""
        where = self.house.settings().incoming.online_check
        if not where:
            return True
        if time.monotonic() - self._checked >= ONLINE:
            self._online = await _answers(where)
            self._checked = time.monotonic()
        return self._online

    @property
    def idle(self) -> bool:
        """Nothing is underway and nothing is due."""
        return not self.tasks and all(job.due > time.monotonic() for job in self.jobs.values())

    async def close(self) -> None:
        """End all visits; what is committed stays, the rest comes again."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for job in self.jobs.values():
            await job.close()


async def _answers(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        async with asyncio.timeout(ONLINE_WAIT):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.transport.abort()
        return True
    except (OSError, TimeoutError, ValueError):
        return False
