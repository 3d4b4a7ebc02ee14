"""The working loop over spool/jobs: what relay carries out beside mail (jobs.py), without ever slowing mail.

A few jobs at a time, each in a task of its own; what is put off sleeps until its time, and `lanmail queue retry` wakes
it. A short message that could not be handed over for an hour is of no use any more and is dropped; a document goes to
hold with a notice to the account.

An entry is removed after the other side has said yes. When we are killed between the two it is done again: a file for
an SMS program has a name made of the id and is found there, a URL is told the id (X-Lanmail-Id).
"""

import asyncio
import contextlib
import fcntl
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lanmail import atomic, entry, httppost, jobs, log, notice, spool, watch
from lanmail.clients import tunnel
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.relaying import destination
from lanmail.relaying.office import Office
from lanmail.sms import gateways

AT_ONCE = 4
AGAIN = 5.0  # seconds until an entry is looked at again after trouble of our own
FAR = 90 * 86400.0  # a time stamp that lies further ahead than this is a clock's mistake


@dataclass(slots=True)
class Errand:
    """A job in hand: its entry, open and locked."""

    entry: entry.Entry
    job: jobs.Job
    state: dict[str, Any]
    fd: int

    def age(self) -> float:
        """Seconds since it was made, or let out of hold."""
        began = self.state.get("since") if self.state.get("released") else self.entry.arrived()
        return max(0.0, time.time() - (began if isinstance(began, int | float) else time.time()))


class Busy(Exception):
    """Somebody else has the entry at this moment."""


class Errands:
    """The spool's one worker. All public methods run in the loop's thread."""

    def __init__(self, office: Office, say: Callable[[str], None]) -> None:
        self.office, self.owner, self.say = office, office.jobs, say
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[str, asyncio.Task[None]] = {}  # by name
        self.sleeping: dict[str, asyncio.TimerHandle] = {}
        self.told: set[str] = set()
        self.stopping = False
        self._room = asyncio.Semaphore(AT_ONCE)

    def recover(self) -> None:
        """What an earlier life had in hand, and state of entries that are gone."""
        names = [(name, place) for place in (spool.CUR, spool.NEW) for name in self.owner.names(place)]
        known = {spool.parse_name(name).id for name, _ in names}
        for file in os.listdir(self.owner.state):
            if file.endswith(".json") and file.removesuffix(".json") not in known:
                (self.owner.state / file).unlink(missing_ok=True)
        for name, place in names:
            self._start(name, place)

    def arrived(self, events: list[watch.Event] | None) -> None:
        """Events of jobs/new; None when some were lost."""
        if events is None:
            self.sweep()
            return
        for _, name in events:
            if not name.startswith("."):
                self._start(name, spool.NEW)

    def sweep(self) -> None:
        """What no event told of."""
        try:
            for name in self.owner.names(spool.NEW):
                if name not in self.sleeping:
                    self._start(name, spool.NEW)
        except OSError as error:
            log.crashed(error=f"cannot list {self.owner.new}: {error}")

    @property
    def idle(self) -> bool:
        """Nothing to do now: what there is waits for its time."""
        return not self.tasks

    async def close(self, seconds: float) -> None:
        """Finish what is on the wire, if it does not take longer."""
        self.stopping = True
        for handle in self.sleeping.values():
            handle.cancel()
        tasks = set(self.tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # one entry

    def _start(self, name: str, place: str) -> None:
        if (asleep := self.sleeping.pop(name, None)) is not None:
            asleep.cancel()
        if name not in self.tasks and not self.stopping:
            self.tasks[name] = self.loop.create_task(self._work(name, place))

    def _sleep(self, name: str, place: str, seconds: float) -> None:
        if not self.stopping:
            self.sleeping[name] = self.loop.call_later(seconds, self._start, name, place)

    async def _work(self, name: str, place: str) -> None:
        """Look at an entry and carry it out; whatever goes wrong, it is tried again."""
        again: float | None = AGAIN
        try:
            async with self._room:
                again = await self._one(name, place)
        except FileNotFoundError:
            again = None  # it was removed or held by hand
        except Busy:
            pass
        except OSError as error:
            log.spool_failed(id=spool.parse_name(name).id, error=str(error))
        except Exception as error:  # a bug of ours delays this job, and stops no other
            log.crashed(error=repr(error), where=traceback.format_exc(), id=spool.parse_name(name).id)
        finally:
            del self.tasks[name]
        if again is not None:
            self._sleep(name, place if again == AGAIN else spool.CUR, again)

    async def _one(self, name: str, place: str) -> float | None:
        """Seconds until the next try; None when it is done. Busy, OSError."""
        errand = await asyncio.to_thread(self._take, name, place)
        if errand is None:
            return None
        try:
            wait = errand.state.get("next", 0) - time.time() if place == spool.CUR else 0.0
            if 0 < wait < FAR:
                return wait
            return await self._try(errand)
        finally:
            os.close(errand.fd)

    def _take(self, name: str, place: str) -> Errand | None:
        """Open, lock and claim; None for what is no job and was put aside. In a thread."""
        try:
            one = entry.read(self.owner, place, name)
            descriptor = atomic.open_regular(name, dir_fd=self.owner.fd(place))
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Busy from None
                job = jobs.read(one.head, _rest(descriptor, one.offset))
                state = self.owner.load_state(one.id)
                if place == spool.NEW:
                    self.owner.claim(name)
                    if state and state.get("released"):
                        state["since"] = time.time()  # its time begins anew
                elif state is None:
                    log.resumed(id=one.id)
                one.place = spool.CUR
            except BaseException:
                os.close(descriptor)
                raise
            return Errand(one, job, state or {}, descriptor)
        except (entry.Unreadable, ValueError) as error:
            if place == spool.NEW and self.owner.is_open(name):
                raise Busy from None
            self._hold(name, place, str(error))
        except atomic.NotRegular as error:
            if name not in self.told:
                self.told.add(name)
                log.left_alone(file=f"spool/jobs/{place}/{name}", why=str(error.strerror))
        return None

    async def _try(self, errand: Errand) -> float | None:
        one, job = errand.entry, errand.job
        tries = int(errand.state.get("tries", 0)) + 1
        settings = self.office.settings()
        limit = settings.sms.give_up if job.kind == jobs.SMS else settings.relay.give_up
        to = job.get("To") if job.kind == jobs.SMS else job.account
        where = gateways.place(settings.sms) if job.kind == jobs.SMS else job.get("Url").partition("?")[0]
        answer: MailError
        try:
            if job.kind == jobs.SMS and errand.age() >= limit:
                raise Permanent("too late for a short message", 554, "5.4.7")
            said = await self._carry_out(errand)
        except MailError as error:
            answer = error
        else:
            log.sent(id=one.id, to=to, transport=job.kind, host=where, delay=one.delay(), tries=tries, dsn="2.0.0",
                     reply=f"250 {said}")
            self.say(f"{one.id}: {job.kind} to {to}: {said}")
            await asyncio.to_thread(self._done, errand)
            return None
        if isinstance(answer, Temporary) and errand.age() < limit:
            log.tried(id=one.id, to=to, transport=job.kind, host=where, delay=one.delay(), tries=tries,
                      reply=str(answer))
            return await asyncio.to_thread(self._put_off, errand, tries, str(answer), limit)
        log.failed(id=one.id, to=to, transport=job.kind, host=where, delay=one.delay(), tries=tries, reply=str(answer))
        await asyncio.to_thread(self._give_up, errand, str(answer))
        return None

    async def _carry_out(self, errand: Errand) -> str:
        """Do it; what the other side said. MailError."""
        job, settings, paths = errand.job, self.office.settings(), self.office.paths
        via = tunnel.of(settings.outgoing, paths.conf)
        if job.kind == jobs.POST:
            return await httppost.send(job, errand.entry.id, paths, via)
        message = gateways.Message(
            errand.entry.id, job.get("To"), job.body.decode("utf-8", "replace"), job.get("From"), job.get("Subject"),
            job.account, errand.entry.arrived())
        return await gateways.send(message, settings.sms, paths, via)

    # what came of it; in a thread

    def _done(self, errand: Errand) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(errand.entry.name, dir_fd=self.owner.fd(spool.CUR))
        self.owner.drop_state(errand.entry.id)

    def _put_off(self, errand: Errand, tries: int, why: str, limit: float) -> float:
        delay = destination.pause(self.office.settings().relay.retry, tries - 1)
        delay = min(delay, max(limit - errand.age(), 1.0))  # the last try comes when its time is over
        since = errand.state.get("since") or time.time()
        self.owner.save_state(errand.entry.id, {**errand.state, "tries": tries, "since": since, "error": why,
                                                "next": time.time() + delay})
        log.deferred(id=errand.entry.id, reason=why, retry_in=delay, tries=tries)
        return delay

    def _give_up(self, errand: Errand, why: str) -> None:
        if errand.job.kind == jobs.SMS:
            log.untold(id=errand.entry.id, to=errand.job.get("To"), reply=why, why="a late short message is dropped")
            self._done(errand)
            return
        self._hold(errand.entry.name, spool.CUR, f"it could not be posted to {errand.job.get('Url')}: {why}")
        self.owner.drop_state(errand.entry.id)
        self._tell(errand, why)

    def _tell(self, errand: Errand, why: str) -> None:
        """The account hears of it; the postmaster, when there is no such account any more."""
        paths, settings, one = self.office.paths, self.office.settings(), errand.entry
        account = errand.job.account if errand.job.account in self.office.directory.names() else "postmaster"
        text = (f"A document could not be posted to {errand.job.get('Url')}\n\n    {why}\n\n"
                f"It lies in spool/hold.\n\n"
                f"Look at it:    lanmail queue show {one.id}\n"
                f"Try it again:  lanmail queue release {one.id}\n"
                f"The mail:      lanmail trace {errand.job.of or one.id}\n")
        notice.put(paths, settings, account, "A document could not be posted", text, "post-failed")

    def _hold(self, name: str, place: str, why: str) -> None:
        """For a person; `lanmail queue release` brings it back."""
        held = spool.Spool(self.owner.hold_path, state=self.office.paths.state / "hold", hold=self.owner.hold_path)
        held.state.mkdir(mode=0o750, parents=True, exist_ok=True)
        entry_id = spool.parse_name(name).id
        held.save_state(entry_id, {"spool": "jobs"})
        self.owner.hold(name, why, place)
        log.held(id=entry_id, why=why)


def _rest(descriptor: int, offset: int) -> bytes:
    """The file from `offset` on. ValueError when it is too large."""
    size = os.fstat(descriptor).st_size - offset
    if size > jobs.LIMIT:
        raise ValueError(f"it is larger than {jobs.LIMIT >> 20} MB")
    pieces = []
    while piece := os.pread(descriptor, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)
