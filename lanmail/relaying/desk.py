"""The working loop over spool/outbound: look at an entry, find its way, queue its parts, note what came of them.

Everything that is quick happens in the loop, in turns of a few milliseconds. Per destination a few workers send; what
needs the disk for more than a rename (state files, bounces) runs in a thread (settling).

A name is in one of these places: `ready` (to be looked at), `busy` (a Mail in hand), `sleeping` (its time comes later),
a destination's `parked` (waits for it to recover or to have room). What got lost (events, our death) is found by the
sweep, which looks at new/ itself, and at the start by looking at cur/.
"""

import asyncio
import contextlib
import heapq
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lanmail import atomic, entry, envelope, log, outbound, spool, watch
from lanmail.errors import Temporary
from lanmail.relaying import destination, route, sending, settling
from lanmail.relaying.destination import Destination
from lanmail.relaying.mail import Mail
from lanmail.relaying.office import Office
from lanmail.transports import Result

TURN = 0.008  # seconds of work before other events get their chance
PAUSE = 0.3  # seconds that others may wait because of a destination that takes hundreds of mails a second
THREADS = 8
BURIAL = 0.05  # seconds for which removed entries stay open, to be closed together
AGAIN = 5.0  # seconds until an entry is looked at again after trouble of our own
FORGET = 6 * 3600.0  # seconds after which a destination in trouble that no mail waits for is forgotten
FAR = 90 * 86400.0  # a time stamp that lies further ahead than this is a clock's mistake


class Desk:
    """The spool's one worker. All methods run in the loop's thread."""

    def __init__(self, office: Office, say: Callable[[str], None]) -> None:
        self.office, self.say = office, say
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="relay")
        self.ready: dict[str, str] = {}  # name → new or cur
        self.busy: dict[str, Mail] = {}  # by id
        self.sleeping: dict[str, float] = {}  # name → when (loop time)
        self.clock: list[tuple[float, str, str]] = []  # (when, name, place)
        self.told: set[str] = set()  # foreign things in new/ that were logged
        self.remains: deque[int] = deque()  # descriptors of removed entries, for a thread to close
        self.stopping = False
        self._planned = False
        self._paused = False
        self._alarm: asyncio.TimerHandle | None = None
        self.sending = sending.Sending(office, self)

    # what is there to do

    def recover(self) -> None:
        """What an earlier life had in hand; a kill may have left state without an entry."""
        owner = self.office.outbound
        for name in owner.names(spool.CUR):
            self.ready[name] = spool.CUR
        states = os.listdir(owner.state)
        if states:
            known = {spool.parse_name(name).id for place in (spool.NEW, spool.CUR) for name in owner.names(place)}
            for name in states:
                if name.endswith(".json") and name.removesuffix(".json") not in known:
                    (owner.state / name).unlink(missing_ok=True)
        self.sending.troubles()
        self.sweep()

    def arrived(self, events: list[watch.Event] | None) -> None:
        """Events of outbound/new; None when some were lost. Whoever renames an entry in has closed it before."""
        if events is None:
            self.sweep()
            return
        for _, name in events:
            if not name.startswith("."):
                self._wake(name)
        self.plan()

    def _wake(self, name: str) -> None:
        """Look at a name in new/ now, wherever it was kept before."""
        self.sleeping.pop(name, None)
        for one in self.sending.destinations.values():
            one.parked.pop(name, None)
        self.ready[name] = spool.NEW

    def sweep(self) -> None:
        """Look at new/ itself; look after mails that wait for a destination and get old."""
        try:
            names = self.office.outbound.names(spool.NEW)
        except OSError as error:
            log.crashed(error=f"cannot list {self.office.outbound.new}: {error}")
            return
        parked = {name for one in self.sending.destinations.values() for name in one.parked}
        for name in names:
            if name not in parked and name not in self.sleeping and name not in self.ready:
                self.ready[name] = spool.NEW
        self.told &= set(names)
        now, clock = time.time(), time.monotonic()
        for one in list(self.sending.destinations.values()):
            if one.failures and not one.blocked and not one.parked and not one.active and clock - one.worked > FORGET:
                del self.sending.destinations[one.name]  # its mail was removed
            for name in [name for name, kept in one.parked.items() if kept.look <= now]:
                self.ready[name] = one.parked.pop(name).place
        self.plan()

    def plan(self) -> None:
        """See to it that a turn comes."""
        if not self._planned and self.ready and not self.stopping and not self._paused:
            self._planned = True
            self.loop.call_soon(self._turn)

    def _pause(self) -> None:
        """A quick destination has enough for now: looking further would only mean to look twice."""
        if not self._paused:
            self._paused = True
            self.loop.call_later(PAUSE, self.go_on)

    def go_on(self) -> None:
        """There is room again, or it was not so quick after all."""
        if self._paused:
            self._paused = False
            self.plan()

    @property
    def idle(self) -> bool:
        """Nothing to do now: what there is waits for its time or for a destination."""
        return not (self.ready or self.busy or self.sending.tasks)

    def _turn(self) -> None:
        self._planned = False
        limit = time.monotonic() + TURN
        touched: dict[str, Destination] = {}
        with log.batch():
            while self.ready and time.monotonic() < limit and not self.stopping and not self._paused:
                name = next(iter(self.ready))
                place = self.ready.pop(name)
                try:
                    self._look(name, place, touched)
                except Exception as error:  # a bug of ours delays this mail, and stops no other
                    log.crashed(error=repr(error), where=traceback.format_exc(), id=spool.parse_name(name).id)
                    self._sleep(name, place, AGAIN)
        for one in touched.values():
            self.sending.pump(one)
        self.plan()

    # one entry

    def _look(self, name: str, place: str, touched: dict[str, Destination]) -> None:
        if name.partition(",")[0] in self.busy:
            return
        one = self._read(name, place)
        if one is None:
            return
        state = outbound.load(self.office.outbound, one.id)
        if place == spool.CUR and state is None:
            log.resumed(id=one.id)
        elif place == spool.CUR and state is not None and not state.handing:
            wait = state.next - time.time()
            if 0 < wait < FAR:
                self._sleep(name, place, wait)
                return
        try:
            way = route.way_of(self.office, one)
        except Temporary as error:
            log.deferred(id=one.id, reason=str(error), retry_in=60.0)
            self._sleep(name, place, 60.0)
            return
        if way.settings.hold and state is None:
            wait = way.settings.hold - outbound.age(one.arrived())
            if wait > 0:
                self._sleep(name, place, wait)
                return
        self._take_up(Mail(one, way, state or outbound.State(), state is not None), touched)

    def _take_up(self, one: Mail, touched: dict[str, Destination]) -> None:
        """Refuse what must not go out, and queue the rest where it goes."""
        now = time.time()
        for recipient in one.undecided():
            refusal = route.refusal(one.way, one.entry, recipient)
            if refusal is not None:
                self.sending.note(one, Result(recipient, refusal), now)
        parts = self._parts(one)
        open_parts = [(part, self.sending.destination(part, one.way)) for part in parts]
        usable = [(part, where) for part, where in open_parts if not where.blocked]
        if not usable and parts:
            where = open_parts[0][1]
            old = outbound.age(one.entry.arrived())
            if self.sending.next_look(one) > now or not where.blocked:
                self.sending.park(one, where)
                return
            self.say(f"{one.id}: waits for {where.name} since {old:.0f} s: {where.answer}")
        self.busy[one.id] = one
        if not usable:  # too old, or nothing left to send
            for part, where in open_parts:
                self.sending.block(one, part, where)
            self.sending.spawn(self.end(one))
            return
        crowded = next((where for _, where in usable if where.full), None)
        if crowded is not None:
            del self.busy[one.id]
            self.sending.park(one, crowded)
            if crowded.quick:
                self._pause()
            return
        for part, where in open_parts:
            if where.blocked:
                self.sending.block(one, part, where)
        self._queue(one, usable, touched)

    def _queue(self, one: Mail, usable: list[tuple[route.Part, Destination]], touched: dict[str, Destination]) -> None:
        one.left, one.several = len(usable), len(usable) > 1 or bool(one.blocked)
        if len(usable) > 1:
            log.split(id=one.id, parts=len(usable), why="one for each domain" if one.state.split else "recipients")
        for part, where in usable:
            where.queue.append((one, part))
            touched[where.name] = where

    def _parts(self, one: Mail) -> list[route.Part]:
        """What is left to be sent."""
        by_domain = one.state.split
        found = []
        for part in route.parts(one.way, one.id, one.entry.head.recipients, by_domain=by_domain):
            known = self.sending.destinations.get(part.destination)
            if known is not None and known.by_domain and not by_domain:
                one.state.split = True
                return self._parts(one)
            part.recipients = [rcpt for rcpt in part.recipients if not one.state.decided(str(rcpt.address))]
            if part.recipients:
                found.append(part)
        return found

    def _read(self, name: str, place: str) -> entry.Entry | None:
        """The entry; None when there is nothing to be done with it now."""
        owner = self.office.outbound
        try:
            return entry.read(owner, place, name)
        except FileNotFoundError:
            return None
        except entry.Unreadable as error:
            if place == spool.NEW and owner.is_open(name):
                self._sleep(name, place, AGAIN)
            else:
                self._hold(name, place, str(error))
        except atomic.NotRegular as error:
            self._leave(name, place, str(error.strerror))
        except PermissionError as error:
            self._hold(name, place, f"cannot be read: {error.strerror}")
        return None

    def _hold(self, name: str, place: str, why: str) -> None:
        try:
            self.office.outbound.hold(name, why, place)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(name, place, f"{why}; and it cannot be moved to hold: {error.strerror}")
            return
        log.held(id=spool.parse_name(name).id, why=why)

    def _leave(self, name: str, place: str, why: str) -> None:
        if name not in self.told:
            self.told.add(name)
            log.left_alone(file=f"spool/outbound/{place}/{name}", why=why)

    # waiting

    def _sleep(self, name: str, place: str, seconds: float) -> None:
        due = self.loop.time() + seconds
        self.sleeping[name] = due
        heapq.heappush(self.clock, (due, name, place))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self.clock and (self._alarm is None or self._alarm.when() > self.clock[0][0]):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self.loop.call_at(self.clock[0][0], self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self.loop.time() + 0.001
        while self.clock and self.clock[0][0] <= now:
            due, name, place = heapq.heappop(self.clock)
            if self.sleeping.get(name) == due:  # else it was woken meanwhile
                del self.sleeping[name]
                self.ready.setdefault(name, place)
        self._set_alarm()
        self.plan()

    # the end of a try

    async def save(self, one: Mail) -> None:
        """Write what is decided so far, for a mail that goes out in several parts."""
        one.version += 1
        wanted = one.version
        async with one.saving:
            if one.written >= wanted:
                return  # a save for somebody else, which waited as well, had this in it
            one.saved, version, state = True, one.version, outbound.dump(one.state)
            try:
                await self.loop.run_in_executor(self.pool, self.office.outbound.save_state, one.id, state)
                one.written = version
            except OSError as error:  # the mail goes on; a crash now could send a part of it twice
                log.spool_failed(id=one.id, error=str(error))

    async def end(self, one: Mail) -> None:
        """All parts of this try are through."""
        if one.again:
            self._split(one)
            return
        if one.held is None and not one.saved and not one.undecided() and self._simple(one):
            owner = self.office.outbound
            try:
                os.unlink(one.entry.name, dir_fd=owner.fd(one.entry.place))
            except FileNotFoundError:
                pass
            self._bury(one)
            return
        async with one.saving:
            try:
                outcome = await self.loop.run_in_executor(self.pool, settling.settle, self.office, one)
            except FileNotFoundError:
                self.drop(one)
                return
            except Exception as error:
                if isinstance(error, OSError):
                    log.spool_failed(id=one.id, error=str(error))
                else:
                    log.crashed(error=repr(error), where=traceback.format_exc(), id=one.id)
                self.lay_aside(one)
                return
        self._release(one)
        if outcome.done:
            return
        if outcome.again is not None:
            log.deferred(id=one.id, reason=one.state.error, retry_in=outcome.again, tries=one.state.tries)
            self._sleep(one.entry.name, one.entry.place, outcome.again)
            return
        known = self.sending.destinations
        where = next((known[name] for name in one.blocked if name in known), None)
        if where is not None and where.blocked:
            where.parked[one.entry.name] = destination.Parked(one.entry.place, self.sending.next_look(one))
            log.deferred(id=one.id, reason=where.answer, retry_in=max(0.0, where.until - time.monotonic()))
        else:
            self.ready.setdefault(one.entry.name, one.entry.place)
            self.plan()

    def _simple(self, one: Mail) -> bool:
        """All have it, and nobody must be told anything."""
        for recipient in one.entry.head.recipients:
            known = one.state.recipients[str(recipient.address)]
            if known.status != outbound.SENT or (recipient.params and not known.told and _asks(recipient)):
                return False
        return True

    def _split(self, one: Mail) -> None:
        """The server wants a mail for each domain: at once, and for good."""
        for name in one.again:
            one.state.recipients.pop(name, None)
        one.again.clear()
        one.state.split = True
        one.blocked.clear()
        touched: dict[str, Destination] = {}
        usable = [(part, where) for part in self._parts(one)
                  if not (where := self.sending.destination(part, one.way)).blocked]
        if not usable:
            one.counted = True
            self.sending.spawn(self.end(one))
            return
        self._queue(one, usable, touched)
        for where in touched.values():
            self.sending.pump(where)

    def _bury(self, one: Mail) -> None:
        """Let go of a mail whose entry is removed. The last close frees its blocks, and may wait for the disk."""
        if (descriptor := one.surrender()) >= 0:
            self.remains.append(descriptor)
        self._release(one)
        if len(self.remains) == 1:  # a thread that woke for each of them would cost as much as to send it
            self.loop.call_later(BURIAL, self._fill_in)

    def _fill_in(self) -> None:
        with contextlib.suppress(RuntimeError):  # the pool is closed: we are at the end
            self.pool.submit(_close_all, self.remains)

    def _release(self, one: Mail) -> None:
        one.close()
        self.busy.pop(one.id, None)

    def lay_aside(self, one: Mail) -> None:
        """After trouble of our own: look again in a moment."""
        if self.busy.get(one.id) is one:
            one.left = 0
            self._release(one)
            self._sleep(one.entry.name, one.entry.place, AGAIN)

    def drop(self, one: Mail) -> None:
        """The entry is gone: removed or held by hand."""
        self.say(f"{one.id}: gone")
        one.left = 0
        one.again.clear()
        self._release(one)

    def give_back(self, one: Mail, why: str) -> None:
        """It cannot be opened now: look again in a moment."""
        self.say(f"{one.id}: {why}")
        one.left -= 1
        if one.left <= 0:
            self.lay_aside(one)


def _close_all(descriptors: deque[int]) -> None:
    with contextlib.suppress(IndexError):  # none is left
        while True:
            os.close(descriptors.popleft())


def _asks(recipient: envelope.Recipient) -> bool:
    return any(key.upper() == "NOTIFY" and "SUCCESS" in value.upper() for key, value in recipient.params)
