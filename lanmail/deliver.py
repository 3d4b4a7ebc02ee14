"""deliver: sorts queued mail into Maildirs and to the outside.

Takes every entry of spool/queue, looks up where its recipients lead, and puts it there:

    one local recipient      the file itself is renamed into maildirs/NAME/new
    several                  one copy without the envelope lines, linked into each Maildir
    outside                  spool/outbound, for relay; a copy for each kind of destination
    unknown, from our own    a bounce to the sender, with a copy to the postmaster
    unknown, from others     to the postmaster, for a bounce might hit somebody who never wrote
    unreadable, torn, loop   spool/hold, with the reason in a .why file beside it

A name is an account, an alias, a group, postmaster or abuse, in each local domain, also as name+anything. Members of a
group get one copy each, over groups in groups; copies for members outside come from NAME-owner, the group's owner.

It also takes what other programs drop into spool/pickup or spool/pickup/new: plain message files, when they are closed,
renamed in, or unchanged for deliver.pickup_wait. Names that start with a dot or end in .tmp, .part, .filepart or ~ are
left alone until they are renamed. X-Sender and X-Receiver lines at the top are the envelope; without them it comes
from Return-Path, Sender or From and from To, Cc and Bcc. Bcc lines are removed, Date and Message-ID added where they
are missing.

Trouble of our own (disk full, broken account file) never bounces a mail: it is tried again after 1, 2, 5, 10, 30
seconds and so on up to every 5 minutes. What is done of such a mail stands in state/queue/ID.json.

A mail that an account sends to itself with a subject like "LMS Forwarding on eva@example.org" or "LMS Autoresponder
off" is carried out and answered, not delivered (deliver.mail_commands). What an account with sent_copy hands in is
kept in its Sent folder; of mail that our own people hand in, all other copies go without Bcc lines.

With --once it empties pickup and queue and ends. With --trace it says on stderr what is done with each mail, and why.

Before an account's own rules, mail is shown to the filters of [filter] and of the account: rspamd, clamd, programs.
What they take for spam goes into the folder Junk, what they reject back to who wrote it here, else into spool/hold.

An account that has reached its quota gets nothing more: what is in the queue waits there and is tried again, and smtpd
refuses new mail for now, as long as state/full/NAME is there. From 90 per cent on the mailbox gets a notice a day.

Reads: conf/lanmail.toml, conf/accounts/, conf/aliases.toml, conf/groups.toml, spool/pickup,
spool/queue.

Writes: maildirs/, spool/outbound, spool/hold, spool/queue (bounces, answers), conf/accounts (commands by mail),
state/commands, state/queue, state/deliver.lock, state/log.

Signals: SIGTERM finishes what was taken, SIGHUP reads the settings again. Accounts, aliases and groups need no signal.

Exit status: 0; 75 when another deliver works here, or when --once left something to be tried again; 78 when the
configuration is wrong or a spool can be written by everybody.

Standards: RFC 3461, RFC 3464 and RFC 6522 for bounces, RFC 5321 §4.5.1 for postmaster, RFC 5322 §3.6.6 for Resent-*.

Security: needs no network. It never follows a link, never opens what is no plain file, never makes a path of an
address, and does not start with a spool that everybody may write to (pickup may be like /tmp: mode 1733). Bounces go to
our own users only.

Bugs: the fast path adds no Delivered-To line, for it changes nothing. A loop can only go through an address that leads
outside, and such copies carry the line. On two file systems spool/ and maildirs/ work, but every mail is copied.

See also: lanmail-smtpd, lanmail-sendmail, `lanmail queue`, `lanmail trace`.
"""

import asyncio
import os
import signal
import time

from lanmail import accounts, daemon, log, owner, watch
from lanmail.delivery import desk, drops, office

STOP_WORKING = 5.0  # seconds that a stopping deliver goes on with what lies in the queue
PATIENCE = 2.0  # seconds beyond pickup_wait that --once waits for a file that somebody still writes
TMP_SWEEP = 3600.0


class Deliver:
    """One run: the open office, the desk for the queue and the drops of pickup, fed by inotify and a slow sweep."""

    def __init__(self, context: daemon.Context) -> None:
        self.context = context
        lock = office.lock(context.paths)
        if lock is None:
            raise daemon.Refused(f"another lanmail-deliver works on {context.paths.root} already", os.EX_TEMPFAIL)
        try:
            self.office = office.open_office(context.paths, lambda: context.settings)
        except (owner.Unsafe, OSError) as error:
            os.close(lock)
            raise daemon.Refused(str(error), os.EX_CONFIG) from error
        self.lock = lock
        # the kernel's note that somebody writes to a file we are just looking at (spool.is_open); it would kill us
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        say = context.say if context.trace else None
        self.desk = desk.Desk(self.office, accounts.Directory(context.paths, lambda: context.settings), say)
        self.drops = drops.Drops(self.office, self.desk, say)
        self.watch = watch.Watch()

    def begin(self) -> None:
        """Listen first, then look at what is there: nothing can fall between."""
        self.watch.subscribe(self.office.queue.new, self.desk.arrived)
        interest = watch.ARRIVALS | watch.CREATE
        self.watch.subscribe(self.office.pickup.path, self.drops.arrived(drops.ROOT), interest)
        self.watch.subscribe(self.office.pickup.new, self.drops.arrived("new"), interest)
        self.watch.attach(asyncio.get_running_loop())
        self.drops.recover()
        self.desk.recover()

    async def sweep(self) -> None:
        """Every now and then: what no event told of, and what was abandoned in tmp/."""
        swept, told = 0.0, ""
        while True:
            if time.monotonic() - swept > TMP_SWEEP or not swept:
                swept = time.monotonic()
                for one in (self.office.queue, self.office.outbound, self.office.hold):
                    for name in one.sweep_tmp(time.time()):
                        log.abandoned(spool=one.path.name, file=name)
            await asyncio.sleep(self.context.settings.deliver.sweep)
            try:
                office.check(self.context.paths)
                told = ""
            except (owner.Unsafe, OSError) as error:  # at the next start we refuse; until then our descriptors count
                if told != str(error):
                    log.unsafe(error=str(error))
                told = str(error)
            if self.office.is_elsewhere():
                raise daemon.Refused("a spool was replaced by another directory: starting anew", os.EX_TEMPFAIL)
            self.drops.sweep()
            self.desk.sweep()
            self.desk.look_at_the_full()

    async def settle(self, *, patience: float) -> bool:
        """Until there is nothing to do now; `patience` seconds also for files that may still be written.

        True when nothing is left for another try.
        """
        limit = time.monotonic() + patience
        while True:
            await self.desk.idle.wait()
            quiet = self.drops.idle() and not self.desk.moved and self.desk.idle.is_set()
            if quiet and (not self.drops.waiting or time.monotonic() > limit):
                return not (self.drops.waiting or self.drops.tries or self.desk.due or self.desk.delayed)
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self.watch.close()
        self.desk.stop()
        self.drops.close()
        self.office.close()
        os.close(self.lock)


async def serve(context: daemon.Context) -> None:
    """Work until told to stop."""
    deliver = Deliver(context)
    try:
        deliver.begin()
        context.ready()
        await context.until_stopped(deliver.sweep())
        try:
            await asyncio.wait_for(deliver.settle(patience=0.0), STOP_WORKING)
        except TimeoutError:
            log.event("stopped-early", left=len(deliver.desk.ready))
    finally:
        deliver.close()


async def once(context: daemon.Context) -> int:
    """Empty pickup and queue; the exit code."""
    deliver = Deliver(context)
    try:
        deliver.begin()
        done = await deliver.settle(patience=context.settings.deliver.pickup_wait + PATIENCE)
        return os.EX_OK if done else os.EX_TEMPFAIL
    finally:
        deliver.close()


main = daemon.program("deliver", __doc__, serve, once=once)
