"""The working loop over the queue: what is ready, the fast path, the retries.

Everything quick happens here, in turns of a few milliseconds inside the event loop, without a task per entry: look
at the entry, find its route, one rename, one log line. What needs a copy, a journal or a wait goes to a thread as an
Attempt.

An entry is ready when its writer has closed it. For one that was renamed in while open the close follows, so such
names wait a moment for it; what was missed (a start, an overflow, another file system) is found by the sweep, which
asks for a lease first (spool.is_open).
"""

import asyncio
import heapq
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lanmail import accounts, atomic, entry, log, maildir, spool, watch
from lanmail.delivery import attempt, progress, route
from lanmail.delivery.office import Office
from lanmail.rules.mail import hides

TURN = 0.008  # seconds of work before other events get their chance
REST = 0.05  # seconds without work after which caches are filled
CLOSE_WAIT = 0.1  # how long the close of a file that was renamed in while open may take to come
THREADS = 8
BACKLOG = 50_000  # names kept in memory at most; the sweep brings the others
COUNTED = frozenset({"mx", "submission", "lan", "lmtp", "pickup", "local"})  # hops were counted on the way in


class Desk:
    """The queue's one worker. All methods run in the loop's thread."""

    def __init__(self, office: Office, directory: accounts.Directory, say: Callable[[str], None] | None) -> None:
        self.office, self.directory, self.say = office, directory, say
        self.loop = asyncio.get_running_loop()
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="deliver")
        self.ready: dict[str, bool] = {}  # names in new/ → True when its writer was seen to close it
        self.moved: dict[str, float] = {}  # renamed in, maybe still open
        self.slow: deque[tuple[str, str, bool]] = deque()  # (name, place, recheck)
        self.due: list[tuple[float, str]] = []  # when to try a name in cur/ again
        self.delayed: set[str] = set()  # names in new/ whose turn comes again
        self.busy: set[str] = set()  # ids that a thread works on
        self.reserved: set[str] = set()  # ids that pickup has not let go yet
        self.told: set[str] = set()  # foreign things in new/ that were logged
        self.stopped = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.more = False  # the last sweep saw more names than it kept
        self.gone = True  # something left new/ since: else to look again at once would be to spin
        self._planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._filling: asyncio.TimerHandle | None = None

    # what is there to do

    def recover(self) -> None:
        """What an earlier life had claimed comes first; then the sweep. A kill may have left state without entry."""
        queue = self.office.queue
        for name in queue.names(spool.CUR):
            self.slow.append((name, spool.CUR, True))
        states = os.listdir(queue.state)
        if states:
            known = {spool.parse_name(name).id for place in (spool.NEW, spool.CUR) for name in queue.names(place)}
            for name in states:
                if name.removesuffix(".json") not in known:
                    (queue.state / name).unlink(missing_ok=True)
        self.sweep()

    def arrived(self, events: list[watch.Event] | None) -> None:
        """Events of queue/new; None when some were lost."""
        if events is None:
            self.sweep()
            return
        for mask, name in events:
            if name.startswith("."):
                continue
            if mask & watch.CLOSE_WRITE:
                self.moved.pop(name, None)
                self.ready[name] = True
            else:
                self.moved[name] = time.monotonic()
        if self.moved and self._timer is None:
            self._timer = self.loop.call_later(CLOSE_WAIT, self._moved)
        self.plan()

    def _moved(self) -> None:
        """Those that were renamed in and whose close did not come: closed before, or still open."""
        self._timer = None
        limit = time.monotonic() - CLOSE_WAIT / 2
        for name in [name for name, since in self.moved.items() if since <= limit]:
            del self.moved[name]
            self.ready.setdefault(name, False)
        if self.moved:
            self._timer = self.loop.call_later(CLOSE_WAIT, self._moved)
        self.plan()

    def sweep(self) -> None:
        """Look at new/ itself, oldest first."""
        try:
            with os.scandir(self.office.queue.fd(spool.NEW)) as entries:
                names = heapq.nsmallest(BACKLOG, (one.name for one in entries if not one.name.startswith(".")))
        except OSError as error:
            log.crashed(error=f"cannot list {self.office.queue.new}: {error}")
            return
        for name in names:
            self.ready.setdefault(name, False)
        self.more = len(names) == BACKLOG and self.gone
        self.gone = False
        self.told &= set(names)
        self.plan()

    def plan(self) -> None:
        """See to it that a turn comes."""
        if not self._planned and (self.ready or self.slow):
            self._planned = True
            self.idle.clear()
            self.loop.call_soon(self._turn)

    # the work

    def _turn(self) -> None:
        self._planned = False
        if self.stopped:
            return
        limit = time.monotonic() + TURN
        count = 0
        with log.batch():
            while self.ready:
                name = next(iter(self.ready))
                closed = self.ready.pop(name)
                try:
                    self._one(name, closed)
                except Exception as error:  # trouble or a bug of ours delays this mail, and stops no other
                    self._failed(name, spool.NEW, error)
                count += 1
                if not count & 15 and time.monotonic() > limit:
                    break
        while self.slow and len(self.busy) < 2 * THREADS:
            self._start(*self.slow.popleft())
        if self.ready:
            self.plan()
        elif self.more:
            self.sweep()
        elif not self.busy and not self.slow:
            self._rest()

    def _one(self, name: str, closed: bool) -> None:
        """Look at one entry in new/, and settle it with a rename when that is all it needs."""
        queue = self.office.queue
        entry_id = name.partition(",")[0]
        if entry_id in self.reserved or entry_id in self.busy:
            return
        one = self._read(name, spool.NEW, closed)
        if one is None:
            return
        recheck = not closed and os.path.exists(queue.state / f"{entry_id}.json")
        way = self._route(one, recheck)
        account = way.only_account()
        try:
            if recheck:
                pass
            elif account is not None and len(one.head.recipients) == 1 and self._has_room(account, way, name):
                self._file(one, account, way)
                return
            elif way.only_external():
                self._hand_on(one)
                return
        except FileNotFoundError:
            return  # removed or held by hand
        except OSError as error:
            if self.say:
                self.say(f"{one.id}: the short way failed ({error}): the long way")
        self.slow.append((name, spool.NEW, recheck))

    def _has_room(self, account: str, way: route.Route, name: str) -> bool:
        limits = way.limits.get(account)
        return limits is None or self.office.room.take_at_once(account, limits, maildir.sizes_of(name)[0] or 0)

    def _file(self, one: entry.Entry, account: str, way: route.Route) -> None:
        """The short way: the entry is renamed into the Maildir."""
        queue, room, to = self.office.queue, self.office.room, str(one.head.recipients[0].address)
        limits, octets, arrived = way.limits.get(account), maildir.sizes_of(one.name)[0] or 0, False
        try:
            with room.arriving(account, limits, octets):
                self.office.drop.rename(account, one.name, queue.fd(spool.NEW))
            self.gone = arrived = True
            if not queue.one_fsync:
                self.office.drop.sync(account)
            log.delivered(id=one.id, to=to, account=account, delay=one.delay(), octets=octets)
            self.office.filling.note(account, one.name)
            if room.delivered(account, limits, octets) and limits is not None:
                self.pool.submit(room.notify, account, limits)
            if self.say:
                self.say(f"{one.id}: <{to}> is account {account} alone: renamed")
        finally:
            if limits is not None and not arrived:
                room.give_back(account, octets)

    def look_at_the_full(self) -> None:
        """Mailboxes that smtpd takes for full may have room again."""
        for name in self.office.room.marked():
            self.pool.submit(self.office.room.reconsider, name, route.limits_of(self.directory, name))

    def _hand_on(self, one: entry.Entry) -> None:
        """All recipients are outside: the entry goes to relay as it is."""
        queue, outbound = self.office.queue, self.office.outbound
        os.rename(one.name, one.name, src_dir_fd=queue.fd(spool.NEW), dst_dir_fd=outbound.fd(spool.NEW))
        self.gone = True
        if not outbound.one_fsync:
            os.fsync(outbound.fd(spool.NEW))
        to = log.some([recipient.address for recipient in one.head.recipients])
        log.queued_outbound(id=one.id, to=to)
        if self.say:
            self.say(f"{one.id}: <{to}> outside only: renamed into spool/outbound")

    def _read(self, name: str, place: str, closed: bool) -> entry.Entry | None:
        """The entry; None when there is nothing to be done with it now."""
        queue = self.office.queue
        try:
            if not closed and place == spool.NEW and queue.is_open(name):
                return None  # its close will tell, or the next sweep
            return entry.read(queue, place, name)
        except FileNotFoundError:
            return None
        except entry.Unreadable as error:
            self._hold(name, place, str(error))
        except atomic.NotRegular as error:
            self._leave(name, str(error.strerror))
        except PermissionError as error:
            self._hold(name, place, f"cannot be read: {error.strerror}")
        return None

    def _hold(self, name: str, place: str, why: str) -> None:
        entry_id = spool.parse_name(name).id
        try:
            self.office.queue.hold(name, why, place)
            self.gone = True
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(name, f"{why}; and it cannot be moved to hold: {error.strerror}")
            return
        log.held(id=entry_id, why=why)

    def _leave(self, name: str, why: str) -> None:
        if name not in self.told:
            self.told.add(name)
            log.left_alone(file=f"spool/queue/new/{name}", why=why)

    def _route(self, one: entry.Entry, recheck: bool) -> route.Route:
        if one.head.origin is None or one.head.origin.kind not in COUNTED:
            known = progress.load(self.office.queue, one.id) if recheck else None
            limit = self.office.settings().deliver.max_hops
            looped = attempt.loop(one, entry.header(self.office.queue, one), limit)
            if looped is not None and not (known and known.released):
                return looped
        way = route.find(self.directory, one.head)
        if way.places and one.head.origin is not None and hides(one.head.origin.kind):
            way.needs_rules = way.needs_rules or one.may_have(b"bcc:")
        return way

    # the long way

    def _start(self, name: str, place: str, recheck: bool) -> None:
        entry_id = spool.parse_name(name).id
        if entry_id in self.busy:
            return
        try:
            one = self._read(name, place, True)
            if one is None:
                return
            way = self._route(one, recheck)
            job = attempt.Attempt(self.office, one, way, postmaster=self.directory.postmaster(), recheck=recheck,
                                  say=self.say or _mute)
        except Exception as error:
            self._failed(name, place, error)
            return
        self.busy.add(entry_id)
        future = self.pool.submit(job.run)
        future.add_done_callback(lambda done: self.loop.call_soon_threadsafe(self._ended, one, done))

    def _ended(self, one: entry.Entry, done: "Future[attempt.Outcome]") -> None:
        self.busy.discard(one.id)
        self.gone = True
        error = done.exception()
        if error is None:
            outcome = done.result()
            if outcome.again is not None:
                self._again(one.name, one.place, outcome.again)
            for queued in outcome.queued:
                self.ready[queued] = True
        elif not isinstance(error, FileNotFoundError):
            self._failed(one.name, one.place, error)
        self.plan()
        if not self.busy and not self.ready and not self.slow:
            self._rest()

    def _rest(self) -> None:
        """Nothing is to be done at once: soon there is time for the caches, if it stays like that."""
        self.idle.set()
        if self.office.filling.left and self._filling is None:
            self._filling = self.loop.call_later(REST, self._fill)

    def _fill(self) -> None:
        """A little of it in a thread, as long as nothing else comes."""
        self._filling = None
        if self.idle.is_set() and not self.stopped:
            future = self.pool.submit(self.office.filling.fill)
            future.add_done_callback(lambda _: self.stopped or self.loop.call_soon_threadsafe(self._filled))

    def _filled(self) -> None:
        if self.idle.is_set():
            self._rest()

    def _failed(self, name: str, place: str, error: BaseException) -> None:
        """Trouble that no attempt dealt with: the entry stays where it is, and its turn comes again."""
        entry_id, delay = spool.parse_name(name).id, float(progress.DELAYS[2])
        if isinstance(error, OSError):
            log.deferred(id=entry_id, reason=str(error), retry_in=delay)
        else:
            log.crashed(error=repr(error), where="".join(traceback.format_exception(error)), id=entry_id)
        self._again(name, place, delay)

    def _again(self, name: str, place: str, delay: float) -> None:
        if place == spool.NEW:
            self.delayed.add(name)
            self.loop.call_later(delay, self._back, name)
            return
        heapq.heappush(self.due, (self.loop.time() + delay, name))
        self.loop.call_later(delay, self._due)

    def _back(self, name: str) -> None:
        self.delayed.discard(name)
        self.ready.setdefault(name, False)
        self.plan()

    def _due(self) -> None:
        now = self.loop.time() + 0.001
        while self.due and self.due[0][0] <= now:
            self.slow.append((heapq.heappop(self.due)[1], spool.CUR, True))
        self.plan()

    def stop(self) -> None:
        """Take up nothing more; what a thread works on is finished (shutdown of the pool)."""
        self.stopped = True
        self.ready.clear()
        self.slow.clear()
        self.pool.shutdown(wait=True)

    def release(self, entry_id: str, name: str | None) -> None:
        """pickup is done with an id: its entry, if there is one, may go."""
        self.reserved.discard(entry_id)
        if name is not None:
            self.ready[name] = True
            self.plan()


def _mute(_text: str) -> None:
    """Nobody asked."""
