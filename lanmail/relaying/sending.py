"""Sending: the destinations, the workers at each of them, and what comes of each part of a mail.

A worker is a connection's worth of work: it sends one part after the other until there is none left or the destination
is in trouble. A destination in trouble gives its mails back by name, and tries one of them after its back-off.
"""

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from lanmail import log, outbound, rewriting, tokens, transports
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.relaying import archiving, destination, mail, route
from lanmail.relaying.destination import Destination
from lanmail.relaying.mail import Mail
from lanmail.relaying.office import Office
from lanmail.transports import Job, Result, Split, Unreachable

if TYPE_CHECKING:
    from lanmail.relaying.desk import Desk


class Sending:
    """All destinations. All methods run in the loop's thread."""

    def __init__(self, office: Office, desk: "Desk") -> None:
        self.office, self.desk, self.loop, self.pool, self.say = office, desk, desk.loop, desk.pool, desk.say
        self.destinations: dict[str, Destination] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.active = 0
        self._troubles_due = False

    def destination(self, part: route.Part, way: route.Way) -> Destination:
        """The destination of a part, with its limits as they are now."""
        settings, found = way.settings, self.destinations.get(part.destination)
        if found is None:
            found = self.destinations[part.destination] = Destination(part.destination, 1)
        relay = self.office.settings().relay
        found.limit = relay.connections_per_domain if settings.transport == "mx" else settings.connections
        found.interval = 3600.0 / settings.rate if settings.rate else 0.0
        return found

    def park(self, one: Mail, where: Destination) -> None:
        name = one.entry.name
        if where.blocked and name not in where.parked:
            wait = max(0.0, where.until - time.monotonic())
            log.deferred(id=one.id, reason=where.answer, retry_in=wait)
        where.parked[name] = destination.Parked(one.entry.place, self.next_look(one))

    def next_look(self, one: Mail) -> float:
        """When the age of a mail that only waits becomes too great."""
        relay, arrived = self.office.settings().relay, one.entry.arrived()
        if not one.state.late and relay.delay_notice:
            return arrived + min(relay.delay_notice, relay.give_up)
        return arrived + relay.give_up

    def pump(self, where: Destination) -> None:
        """Start workers as long as there is work and room."""
        now = time.monotonic()
        while where.room(now) and self.active < self.office.settings().relay.max_connections and not self.desk.stopping:
            if where.interval and now < where.next:
                if not where.waking:
                    where.waking = True
                    self.loop.call_later(where.next - now, self._rate_passed, where)
                return
            where.active += 1
            self.active += 1
            self.spawn(self._work(where))
            if where.interval:
                return  # the next one when the time for it has come

    def _rate_passed(self, where: Destination) -> None:
        where.waking = False
        self.pump(where)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _work(self, where: Destination) -> None:
        """One connection's work: mail after mail, until there is none or the destination is in trouble."""
        first = True
        try:
            while where.queue and not where.blocked and not self.desk.stopping and (first or not where.interval):
                if not first and where.active > max(1, where.limit):
                    break
                first = False
                if where.interval:
                    where.next = max(where.next, time.monotonic()) + where.interval
                one, part = where.queue.popleft()
                try:
                    await self._part(one, part, where)
                except Exception as error:  # a bug of ours delays this mail, and stops no other
                    log.crashed(error=repr(error), where=traceback.format_exc(), id=one.id)
                    self.desk.lay_aside(one)
                self._refill(where)
        finally:
            where.active -= 1
            self.active -= 1
        self.pump(where)
        if self.active + 1 >= self.office.settings().relay.max_connections:
            for other in self.destinations.values():  # somebody may have waited for our place
                if other.queue:
                    self.pump(other)
        idle = not (where.queue or where.parked or where.active)
        if idle and not (where.failures or where.interval or where.by_domain):
            self.destinations.pop(where.name, None)

    def _refill(self, where: Destination) -> None:
        if len(where.queue) < destination.QUEUE // 2 and not where.blocked and not where.probing:
            if where.parked:
                self.unpark(where, destination.QUEUE - len(where.queue))
            self.desk.go_on()

    def unpark(self, where: Destination, count: int) -> None:
        for name in [name for _, name in zip(range(count), where.parked, strict=False)]:
            self.desk.ready.setdefault(name, where.parked.pop(name).place)
        self.desk.plan()

    def _unqueue(self, one: Mail, where: Destination) -> None:
        """Nothing was done for this mail yet: it waits by name."""
        self.desk.busy.pop(one.id, None)
        self.park(one, where)

    def block(self, one: Mail, part: route.Part, where: Destination) -> None:
        """These recipients wait for the destination, and their try does not count."""
        if where.name not in one.blocked:
            one.blocked.append(where.name)
        one.state.destination = where.name
        for rcpt in part.recipients:
            one.state.recipients[str(rcpt.address)] = outbound.Decision(
                outbound.DEFERRED, where.answer, None, time.time())

    def _probe(self, where: Destination) -> None:
        """The back-off has passed."""
        where.unblock()
        self.troubles()
        if where.parked:
            self.unpark(where, 1)

    def _works(self, where: Destination) -> None:
        waiting, now = len(where.parked), time.monotonic()
        is_new = where.is_new(now)
        if where.works(now):
            log.reachable(destination=where.name, waiting=waiting)
            self.troubles()
        if is_new:
            self.pump(where)

    def _unreachable(self, one: Mail, part: route.Part, where: Destination, error: Unreachable) -> None:
        now = time.monotonic()
        if where.busy(now):  # others work: it takes no more connections, that is all
            where.queue.appendleft((one, part))
            one.left += 1
            self.say(f"{where.name}: {error.text}: {where.allowed} connections at most for a while")
            return
        if not where.blocked:
            retry = self.office.settings().relay.retry
            if isinstance(error.__cause__, tokens.Missing):
                retry = retry[:2]  # nobody is bothered by these tries, and mail goes out soon after somebody logged in
            delay = where.fail(str(error), retry, now)
            self.loop.call_later(delay, self._probe, where)
            log.unreachable(destination=where.name, reason=str(error), retry_in=delay,
                            waiting=len(where.parked) + len(where.queue) + 1)
            self.troubles()
        self.block(one, part, where)
        while where.queue:
            other, waiting = where.queue.popleft()
            self.block(other, waiting, where)
            other.left -= 1
            if not other.left:
                if other.several or other.tried:
                    self.spawn(self.desk.end(other))
                else:
                    self._unqueue(other, where)

    def troubles(self) -> None:
        """Write down for people which destinations are in trouble; at most once a second."""
        if not self._troubles_due:
            self._troubles_due = True
            self.loop.call_later(1.0, self._write_troubles)

    def _write_troubles(self) -> None:
        self._troubles_due = False
        now, clock = time.time(), time.monotonic()
        found = [outbound.Trouble(one.name, one.since, now + max(0.0, one.until - clock), one.answer, len(one.parked))
                 for one in self.destinations.values() if one.failures]
        with contextlib.suppress(RuntimeError):  # the pool is closed: we are at the end
            self.pool.submit(_quietly, outbound.save_troubles, self.office.paths.state, found)

    async def _part(self, one: Mail, part: route.Part, where: Destination) -> None:
        """Send one part and note what became of it."""
        try:
            if one.several:
                if one.started is None:
                    one.started = self.loop.create_task(self._begin(one))
                await one.started
            elif one.fd < 0:
                await self._begin(one)
        except FileNotFoundError:
            self.desk.drop(one)
            return
        except (mail.Taken, OSError) as error:
            self.desk.give_back(one, f"451 4.3.0 {error}" if isinstance(error, OSError) else "it is being looked at")
            return
        if one.held is None and not one.refused:
            for number, group in enumerate(_groups(one, part)):
                if number and where.blocked:  # it broke down over the group before
                    self.block(one, group, where)
                    continue
                await self._send(one, group, where)
                if (one.several and one.left > 1) or group is not part:
                    await self.desk.save(one)
        one.left -= 1
        if not one.left:
            await self.desk.end(one)

    async def _begin(self, one: Mail) -> None:
        """Take the entry, and change on it what is to be changed on its way out."""
        if one.fd >= 0:
            return
        one.take(self.office)
        assert one.message is not None
        job = self._job(one, route.Part(one.id, "", one.entry.head.recipients))
        if not rewriting.wanted(job, self.office.settings()):
            return
        try:
            made = await self.loop.run_in_executor(self.pool, rewriting.rewrite, job, self.office.house)
            one.sender, one.message = made.sender, transports.Message.of_bytes(made.message)
            one.apart = {who: transports.Message.of_bytes(text) for who, text in made.apart.items()}
            if archiving.is_wanted(one):
                await self.loop.run_in_executor(self.pool, archiving.keep, self.office, one, made)
        except rewriting.Hold as error:
            one.held = str(error)
        except MailError as error:
            self._refuse_all(one, error)
        except OSError as error:
            self._refuse_all(one, Temporary(f"the mail cannot be prepared: {error.strerror or error}"))
        except Exception as error:
            log.crashed(error=repr(error), where=traceback.format_exc(), id=one.id)
            self._refuse_all(one, Temporary("internal error while the mail was prepared"))

    def _refuse_all(self, one: Mail, error: MailError) -> None:
        now = time.time()
        for recipient in one.undecided():
            self.note(one, Result(recipient, error), now)
        one.refused = True

    def _job(self, one: Mail, part: route.Part) -> Job:
        text = one.apart.get(part.recipients[0].address, one.message) if len(part.recipients) == 1 else one.message
        assert text is not None
        return Job(one.id, part.name, one.sender, part.recipients, one.entry.head.params, text,
                   one.way.settings, one.way.account, part.domain, route.is_ours(one.entry))

    async def _send(self, one: Mail, part: route.Part, where: Destination) -> None:
        part.recipients = [rcpt for rcpt in part.recipients if not one.state.decided(str(rcpt.address))]
        if not part.recipients:
            return
        one.tried = True
        try:
            results = await self.office.transport(one.way.settings.transport).send(self._job(one, part))
            self._works(where)
        except Unreachable as error:
            self._unreachable(one, part, where, error)
            return
        except Split as error:
            results = [Result(rcpt, error) for rcpt in part.recipients]
        except MailError as error:
            self._works(where)
            results = [Result(rcpt, error) for rcpt in part.recipients]
        except Exception as error:  # unclassified: the mail is put off, never bounced
            log.crashed(error=repr(error), where=traceback.format_exc(), id=one.id)
            results = [Result(rcpt, Temporary(f"internal error: {type(error).__name__}")) for rcpt in part.recipients]
        self._results(one, part, where, results)

    def _results(self, one: Mail, part: route.Part, where: Destination, results: Iterable[Result]) -> None:
        now, missing = time.time(), {rcpt.address: rcpt for rcpt in part.recipients}
        for result in results:
            if missing.pop(result.recipient.address, None) is None:
                continue
            if isinstance(result.answer, Split) and not one.state.split and len(one.entry.head.recipients) > 1:
                one.again.append(str(result.recipient.address))
                where.by_domain = True
                continue
            self.note(one, result, now)
        for rcpt in missing.values():
            self.note(one, Result(rcpt, Temporary("the transport did not say what became of it")), now)

    def note(self, one: Mail, result: Result, now: float) -> None:
        """One recipient is decided, or put off."""
        one.decide(result.recipient, result.answer, result.remote, now, told=result.sent and result.reports)
        to, answer = str(result.recipient.address), result.answer
        transport, delay, tries = one.way.settings.transport, one.entry.delay(), one.state.tries + 1
        if result.sent:
            log.sent(id=one.id, to=to, transport=transport, host=result.remote, delay=delay, tries=tries,
                     dsn=answer.dsn, reply=f"{answer.code} {answer.text}")
        elif isinstance(answer, Permanent):
            log.failed(id=one.id, to=to, transport=transport, host=result.remote, delay=delay, tries=tries,
                       reply=str(answer))
        else:
            one.counted = True
            log.tried(id=one.id, to=to, transport=transport, host=result.remote, delay=delay, tries=tries,
                        reply=str(answer))


def _groups(one: Mail, part: route.Part) -> list[route.Part]:
    """The part itself; or, when some of its recipients get a message of their own, those one by one."""
    if not one.apart:
        return [part]
    together = [rcpt for rcpt in part.recipients if rcpt.address not in one.apart]
    found = [route.Part(part.name, part.destination, together, part.domain)]
    for number, who in enumerate(sorted(one.apart, key=str), 1):  # the same name at every try
        found += [route.Part(f"{part.name}-b{number}", part.destination, [rcpt], part.domain)
                  for rcpt in part.recipients if rcpt.address == who]
    return found


def _quietly(work: Callable[..., None], *arguments: object) -> None:
    try:
        work(*arguments)
    except OSError as error:
        log.spool_failed(id="-", error=str(error))
