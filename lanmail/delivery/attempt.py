"""One try at an entry that a single rename cannot settle: several destinations, trouble, or a second run.

Runs in a thread. The order of the steps is what keeps mail from being lost or doubled when we are killed between
any two of them:

    1. claim the entry (new/ → cur/) and finish what an earlier run had journalled
    2. find the way, by the rules of accounts where there are some
    3. one clean copy, linked into each Maildir; a name that is there already is done
    4. all other results (copies for outside, new mails, bounces, copies for hold) complete in tmp/
    5. journal them in state/queue/ID.json, rename them into place
    6. remove the entry, then the journal; or keep both for the next try

A mail to one recipient of which a single unchanged copy stays needs no copy in step 3: in step 6 the entry itself is
renamed into the Maildir, as on the fast path.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from lanmail import atomic, dsn, entry, envelope, log, maildir, message, spool
from lanmail.address import Address
from lanmail.delivery import copies, expansion, onward, progress, route
from lanmail.delivery.office import Office
from lanmail.errors import MailError, Permanent
from lanmail.folders import quota
from lanmail.rules import archive
from lanmail.rules.mail import UNCHANGED, Changes, Mail

DELIVERED = MailError(250, "2.1.5", "Delivered to the mailbox")


@dataclass(slots=True)
class Outcome:
    """How a try ended: for good, or `again` after some seconds; `queued` are names of mails it put into the queue."""

    again: float | None = None
    queued: list[str] = field(default_factory=list)


class Attempt:
    """A try at one entry along one route. `recheck` looks whether an earlier run delivered already."""

    def __init__(self, office: Office, one: entry.Entry, way: route.Route, *, postmaster: str | None,
                 recheck: bool, say: Callable[[str], None]) -> None:
        self.office, self.entry, self.route, self.postmaster = office, one, way, postmaster
        self.recheck, self.say = recheck, say
        self.named = frozenset(way.places)  # whom the envelope leads to, whatever rules say
        self.settings = office.settings()
        self.progress = progress.Progress()
        self.saved = False  # a state file exists
        self.moved = False  # the entry itself lies in the Maildir
        self.trouble: list[str] = []  # why something is left for the next try
        self.taken: set[str] = set()  # mailboxes whose room is taken for this mail, which is not there yet
        self.full: list[str] = []  # accounts that it waited for long enough
        self.after: list[Callable[[], None]] = []  # log lines for what the journal promises
        self.fd = -1
        self.header = b""

    def run(self) -> Outcome:
        """Do the work. FileNotFoundError when the entry is gone (removed or held by hand)."""
        queue = self.office.queue
        if self.entry.place == spool.NEW:
            queue.claim(self.entry.name)
            self.entry.place = spool.CUR
        self.fd = atomic.open_regular(self.entry.name, dir_fd=queue.fd(spool.CUR))
        self.copies = copies.Copies(self.office, self.entry, self.fd)
        try:
            # `lanmail queue` leaves an entry alone that is being worked on, and so do we
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.stat(self.entry.name, dir_fd=queue.fd(spool.CUR))
            return self._run()
        except BlockingIOError:
            return Outcome(again=1.0)
        finally:
            os.close(self.fd)

    def _run(self) -> Outcome:
        queue, outcome = self.office.queue, Outcome()
        earlier = progress.load(queue, self.entry.id)
        if earlier is not None:
            self.progress, self.saved = earlier, True
            outcome.queued += self.copies.hand_over(self.progress)
        self.header = self.copies.header = entry.header(queue, self.entry)
        if self.route.needs_rules:
            self.route = self._by_rules()
        held = self._work(outcome)
        if self.trouble:
            outcome.again = self._put_off()
        elif held is not None:
            if self.progress.delivered or self.progress.outbound:  # for the day it is released
                progress.save(self.office.hold, self.entry.id, self.progress)
            queue.hold(self.entry.name, held, spool.CUR)
            log.held(id=self.entry.id, why=held)
        elif not self.moved:
            os.unlink(self.entry.name, dir_fd=queue.fd(spool.CUR))
        if not self.trouble and self.saved:
            queue.drop_state(self.entry.id)
        return outcome

    def _by_rules(self) -> route.Route:
        mail = Mail(self.office.paths, self.settings, self.office.directory, self.entry, self.header, self.fd,
                    time.time(), self.say, self.progress.released)
        return expansion.Expansion(mail, expansion.RULES).find()

    def _work(self, outcome: Outcome) -> str | None:
        """Steps 3 to 5. The reason when the whole entry must go to hold; `trouble` tells what is left over."""
        self.trouble = [str(report.answer) for report in self.route.deferred]
        todo = self._todo()
        with self._room(todo):
            itself = todo.pop() if self._is_enough(todo) else None
            held = self._put_in_place(todo, outcome)
            if itself is not None and not self.trouble:
                self._move(itself)
        return held

    def _put_in_place(self, todo: list[route.Place], outcome: Outcome) -> str | None:
        settled = self.progress
        try:
            self._maildirs(todo)
            settled = self.progress.copied()
            held = self._others()
            if self.copies.ready:
                progress.save(self.office.queue, self.entry.id, self.progress)
                self.saved = True
        except OSError as error:
            # What lies in tmp/ may be named by a journal that did reach the disk, so it is removed only when a
            # journal without it has been written (_put_off).
            settled.delivered = self.progress.delivered
            self.progress = settled
            self.trouble.insert(0, _reason(error))
            return None
        outcome.queued += self.copies.hand_over(self.progress)
        self._tell()
        return held

    def _tell(self) -> None:
        for tell in self.after:
            tell()
        self.after.clear()

    # Maildirs

    def _todo(self) -> list[route.Place]:
        """The mailboxes that have no copy yet."""
        done = {*self.progress.delivered, *self.progress.full}
        todo = [place for key, place in self.route.places.items() if key not in done]
        if self.recheck or self.saved:
            for place in [one for one in todo if self.office.drop.has(one.account, self.entry.id, one.folder)]:
                todo.remove(place)
                self.progress.delivered.append(place.key)
        return todo

    def _is_enough(self, todo: list[route.Place]) -> bool:
        """True when the entry itself can be the copy that is still to be made: it names nobody but who has it then."""
        if not (len(todo) == len(self.entry.head.recipients) == 1 and self.named == {todo[0].account}):
            return False
        place, way = todo[0], self.route
        return (place.recipient is not None and place.changes == UNCHANGED and not place.flags
                and not (way.stuck or way.failed or way.deferred or way.delivered_wanted or self.trouble))

    def _maildirs(self, todo: list[route.Place]) -> None:
        """A clean copy of each kind, and a link for each mailbox; what fails is left for the next try."""
        kinds: dict[Changes, list[route.Place]] = {}
        for place in todo:
            kinds.setdefault(place.changes, []).append(place)
        for changes, places in kinds.items():
            with self.copies.sealed(self.entry.id, b"", changes) as (temporary, final):
                for place in places:
                    self._put(place, final, partial(
                        self.office.drop.link, place.account, final, self.office.queue.fd(spool.TMP), temporary,
                        place.folder, place.flags))
        if todo and self.saved:
            progress.save(self.office.queue, self.entry.id, self.progress)

    def _move(self, place: route.Place) -> None:
        """The entry itself becomes the copy."""
        name = self.entry.name
        self.moved = self._put(place, name, partial(
            self.office.drop.move, place.account, name, self.office.queue.fd(spool.CUR), place.folder))
        self._tell()

    @contextlib.contextmanager
    def _room(self, todo: list[route.Place]) -> Iterator[None]:
        """Take room in those mailboxes that have a limit; the full ones come off the list."""
        octets = maildir.sizes_of(self.entry.name)[0] or 0
        try:
            for place in [one for one in todo if self._limits(one) is not None]:
                name = place.account
                refusal = self.office.room.take(name, self.route.limits[name], octets)
                if refusal is None:
                    self.taken.add(name)
                else:
                    todo.remove(place)
                    if not self._waited_enough(place):
                        self.trouble.append(str(refusal))
            yield
        finally:
            for name in self.taken:
                self.office.room.give_back(name, octets)
            self.taken.clear()

    def _limits(self, place: route.Place) -> quota.Limits | None:
        """What counts for a copy; the sender's own is never refused."""
        return self.route.limits.get(place.account) if place.recipient is not None else None

    def _waited_enough(self, place: route.Place) -> bool:
        """True when the mailbox has been full for so long that the mail comes back (RFC 3463 §3.3: X.2.2)."""
        patience, since = self.settings.deliver.give_up, self.progress.since
        if place.recipient is None or not patience or not since or time.time() - since < patience:
            return False
        answer = Permanent(f"The mailbox of {place.account} is full, and has been for too long", 552, "5.2.2")
        self.route.failed.append(dsn.Report(place.recipient, answer))
        self.full.append(place.key)
        return True

    def _put(self, place: route.Place, final: str, arrive: Callable[[], None]) -> bool:
        """Into one Maildir, under the name `final`; True when it is there."""
        name, limits, octets = place.account, self._limits(place), maildir.sizes_of(self.entry.name)[0] or 0
        try:
            with self.office.room.arriving(name, limits, octets):
                arrive()
            self.taken.discard(name)
            if not self.office.queue.one_fsync:
                self.office.drop.sync(name, place.folder, place.flags)
        except OSError as error:
            self.trouble.append(_reason(error))
            return False
        self.progress.delivered.append(place.key)
        if not place.folder:
            self.office.filling.note(name, final)
        if self.office.room.delivered(name, limits, maildir.sizes_of(final)[0] or 0) and limits is not None:
            self.after.append(partial(self.office.room.notify, name, limits))
        to = str(place.recipient.address) if place.recipient else "sender"
        folder = place.folder.lstrip(".") or "INBOX"
        self.say(f"{self.entry.id}: <{to}> is account {name}: put into {folder}")
        log.delivered(id=self.entry.id, to=to, account=name, delay=self.entry.delay(), folder=folder, octets=octets)
        return True

    # everything else

    def _others(self) -> str | None:
        """Prepare copies for outside, bounces and copies for hold; why the whole entry goes to hold, if it does."""
        stuck = list(self.route.stuck)
        self._outside(stuck)
        self._made()
        self._failed(stuck)
        self._succeeded()
        stuck = [(one, why) for one, why in stuck if str(one.address) not in self.progress.failed]
        if not stuck:
            return None
        if any(why.startswith("mail loop") for _, why in stuck):
            self._note(stuck)
        why = "\n".join(f"<{one.address}>: {reason}" for one, reason in stuck)
        if len({one.address for one, _ in stuck}) == len({one.address for one in self.entry.head.recipients}):
            return why
        handing = self.copies.prepare(self.progress, "hold", self._subset([one for one, _ in stuck]))
        handing.why = why
        self.progress.failed += [str(one.address) for one, _ in stuck]
        self.after.append(partial(log.held, id=handing.temporary, why=why))
        return None

    def _outside(self, stuck: list[tuple[envelope.Recipient, str]]) -> None:
        """A copy for those named directly, and one for each way by which addresses of ours lead outside."""
        done = self.progress.outbound
        direct = [one for address, one in self.route.external.items() if str(address) not in done]
        if direct:
            self._hand_out(direct, [one.address for one in direct], route.Leaving())
        through: dict[tuple[envelope.Recipient | None, route.Leaving], list[envelope.Recipient]] = {}
        seen = {value.strip(b"<> ").lower() for value in message.fields(self.header, b"Delivered-To")}
        for address, (one, leaving) in self.route.leaving.items():
            if str(address) in done:
                continue
            if leaving.mark and leaving.mark.lower().encode() in seen and not self.progress.released:
                stuck.append((one, f"mail loop: it came back to {leaving.mark}, which leads outside"))
                continue
            alone = one if leaving.origin is None else None
            through.setdefault((alone, leaving), []).append(envelope.Recipient(address, one.params))
        for (_, leaving), targets in through.items():
            self._hand_out(targets, [one.address for one in targets], leaving)

    def _hand_out(self, targets: list[envelope.Recipient], addresses: list[Address], leaving: route.Leaving) -> None:
        head = archive.mark(self.entry.id, self._subset(targets), self.route.made)
        if leaving.origin is not None:
            params = tuple((key, value) for key, value in head.params if key.upper() in ("BODY", "SMTPUTF8"))
            head = envelope.Envelope(leaving.sender, targets, params, leaving.origin)
        handing = self.copies.prepare(self.progress, "outbound", head, changes=leaving.changes)
        for address in addresses:
            self.progress.outbound.append(str(address))
            self.say(f"{self.entry.id}: <{address}> is outside: copied to spool/outbound")
            self.after.append(partial(log.queued_outbound, id=handing.temporary, to=str(address)))

    def _made(self) -> None:
        """The new mails and jobs that rules wished."""
        for one in self.route.made:
            if one.key in self.progress.made:
                continue
            for entry_id, part in onward.ways(self.office.directory, one):
                handing = self.copies.prepare(self.progress, part.spool, part.head, text=part.text, entry_id=entry_id)
                self.say(f"{self.entry.id}: {part.key}: {handing.temporary} in spool/{part.spool}")
                self.after.append(partial(log.made, id=self.entry.id, what=part.key, spool=part.spool,
                                          entry=handing.temporary))
                if part.spool == "outbound":
                    to = log.some([recipient.address for recipient in part.head.recipients])
                    self.after.append(partial(log.queued_outbound, id=handing.temporary, to=to))
            self.progress.made.append(one.key)

    def _failed(self, stuck: list[tuple[envelope.Recipient, str]]) -> None:
        """Tell the sender if he is one of ours, else the postmaster gets the mail."""
        failed = [one for one in self.route.failed if str(one.recipient.address) not in self.progress.failed]
        if not failed:
            return
        keep = (self.settings.deliver.unknown_local == "postmaster" and self.postmaster is not None
                and not self.full)
        told = [one for one in failed if dsn.wanted(one.recipient, "failed")]
        if not keep and told == failed and dsn.may_notify(self.entry.head, self.header):
            self._bounce("failed", failed)
        elif self.postmaster is not None:
            self._to_postmaster(failed)
        else:
            stuck += [(one.recipient, f"{one.answer}; the sender must not be told, and no account is postmaster")
                      for one in failed]
            return
        self.progress.failed += [str(one.recipient.address) for one in failed]
        self.progress.full += self.full

    def _bounce(self, action: dsn.Action, reports: list[dsn.Report]) -> None:
        server = self.settings.server
        postmaster = Address("postmaster", server.domain) if action == "failed" and self.postmaster else None
        if self.entry.head.sender is not None and self.entry.head.sender.local == self.postmaster:
            postmaster = None  # he wrote it himself
        head, text = dsn.compose(
            action, reports, self.entry.head, self.header, entry_id=self.entry.id, domain=server.domain,
            hostname=server.hostname, arrived=self.entry.arrived(), copy_to=postmaster,
        )
        handing = self.copies.prepare(self.progress, "queue", head, text=text)
        for one in reports:
            to, answer = str(one.recipient.address), str(one.answer)
            self.say(f"{self.entry.id}: <{to}>: {answer}: told the sender ({action})")
            if action == "failed":
                self.after.append(partial(
                    log.bounced, id=self.entry.id, to=to, bounce=handing.temporary, reply=answer))

    def _to_postmaster(self, failed: list[dsn.Report]) -> None:
        """A copy that still names the recipients nobody has."""
        assert self.postmaster is not None
        head = envelope.encode(self._subset([one.recipient for one in failed]))
        entry_id = f"{self.entry.id}-postmaster"
        if not (self.recheck or self.saved) or not self.office.drop.has(self.postmaster, entry_id):
            with self.copies.sealed(entry_id, head) as (temporary, final):
                self.office.drop.link(self.postmaster, final, self.office.queue.fd(spool.TMP), temporary)
        for one in failed:
            to, answer = str(one.recipient.address), str(one.answer)
            log.undeliverable(id=self.entry.id, to=to, account=self.postmaster, why=answer)

    def _succeeded(self) -> None:
        """NOTIFY=SUCCESS (RFC 3461 §4.1), for what was delivered just now."""
        if not self.route.delivered_wanted or self.trouble or self.progress.told:
            return
        self.progress.told = True
        reached = dict.fromkeys(place.recipient for place in self.route.places.values() if place.recipient)
        asked = [dsn.Report(one, DELIVERED) for one in reached if dsn.wanted(one, "delivered")]
        if asked and dsn.may_notify(self.entry.head, self.header):
            self._bounce("delivered", asked)

    def _note(self, stuck: list[tuple[envelope.Recipient, str]]) -> None:
        if self.postmaster is None:
            return
        server = self.settings.server
        lines = [f"The mail with the id {self.entry.id} was stopped and lies in spool/hold.", ""]
        lines += [f"<{one.address}>: {why}" for one, why in stuck]
        lines += ["", f"Look at it:   lanmail queue show {self.entry.id}",
                  f"Send it on:   lanmail queue release {self.entry.id}",
                  f"Its history:  lanmail trace {self.entry.id}"]
        head, text = dsn.note(Address("postmaster", server.domain), "Mail loop stopped", "\n".join(lines),
                              entry_id=self.entry.id, domain=server.domain, hostname=server.hostname)
        self.copies.prepare(self.progress, "queue", head, text=text)

    def _subset(self, recipients: list[envelope.Recipient]) -> envelope.Envelope:
        head = self.entry.head
        return envelope.Envelope(head.sender, recipients, head.params, head.origin)

    def _put_off(self) -> float:
        """Keep what is done in the state file and come again."""
        reason = self.trouble[0]
        delay = self.progress.put_off(reason)
        with contextlib.suppress(OSError):  # no space for it either: names in the Maildirs still tell what is done
            progress.save(self.office.queue, self.entry.id, self.progress)
            self.copies.withdraw()
        log.deferred(id=self.entry.id, reason=reason, retry_in=delay, tries=self.progress.tries)
        self.say(f"{self.entry.id}: {reason}: again in {delay:.0f} s")
        return delay


def _reason(error: OSError) -> str:
    if isinstance(error, MailError):
        return str(error)
    return f"451 4.3.0 {error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def loop(one: entry.Entry, header: bytes, max_hops: int) -> route.Route | None:
    """The way into hold for a mail that went through too many servers; None for any other."""
    hops = len(message.fields(header, b"Received"))
    if hops <= max_hops:
        return None
    answer = Permanent(f"mail loop: {hops} Received lines, at most {max_hops} are allowed", 554, "5.4.6")
    return route.Route(stuck=[(recipient, answer.text) for recipient in one.head.recipients])
