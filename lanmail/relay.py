"""NAME
    lanmail-relay - send mail to the outside

SYNOPSIS
    lanmail-relay [--root DIR] [--check] [--once] [--trace]

DESCRIPTION
    Takes every entry of spool/outbound and sends it the way that its account or [outgoing] names:

    smtp       by a smarthost: TLS, log-in by password or OAuth2, proxy
    mx         straight to the servers of the recipient's domain
    folder     into a directory, for other software
    http       by POST to a program on a web server
    webspace   by our PHP scripts on a web space
    graph      by Microsoft Graph

    What is not taken is tried again after 1, 5, 15, 30, 60 minutes and then every hour (relay.retry). A destination
    that cannot be reached at all is left alone for the same times, and the tries of its mails are not counted. After
    4 hours the sender is told that his mail is late (relay.delay_notice), after 3 days it comes back (relay.give_up).
    Whatever is refused for good comes back at once, with a copy to the postmaster: one bounce for a mail, however many
    mails it was split into. A bounce that cannot be delivered goes to the postmaster.

    Mail is split when the settings (outgoing.max_recipients) or the server (Gmail's "Multiple destination domains")
    want it. outgoing.rate spreads mail over the hour, outgoing.hold keeps each mail back for some seconds in which
    `lanmail queue remove` takes it back.

    Beside mail it carries out jobs (spool/jobs): short messages are handed to the gateway that [sms] names and given up
    after an hour (sms.give_up); documents are posted to the URL that an account names. A document that could not be
    posted until relay.give_up goes to hold, and the account gets a notice.

    `lanmail queue` shows what waits, why and until when; its retry, hold, release and remove work while relay runs.

    --once sends what is due and ends; 75 means that something has to be tried again later.
    --trace says on stderr what is done with each mail, and why.

READS
    conf/lanmail.toml, conf/accounts/, conf/aliases.toml, conf/groups.toml, conf/secrets/, state/tokens,
    spool/outbound, spool/jobs

WRITES
    spool/queue (bounces), spool/archive, spool/hold, state/outbound, state/jobs, state/relay, state/tls-seen.json,
    state/relay.lock, state/log

SIGNALS
    SIGTERM finishes what is on the wire, SIGHUP reads the settings again. Accounts and passwords need no signal.

STANDARDS
    RFC 5321 and its extensions PIPELINING, SIZE, 8BITMIME, CHUNKING, SMTPUTF8, DSN, STARTTLS and AUTH; RFC 7505 and
    8461 for mx; RFC 3461, 3464 and 6533 for bounces.

SECURITY
    No password goes over a connection that is not encrypted, unless tls = "none" asks for it. A smarthost that once
    offered TLS is not used without it again. What servers say is bounded in size and time, and never reaches a log or a
    terminal with control characters in it.

BUGS
    When we are killed, or the connection is lost, between the last octet of a mail and the server's answer, the mail is
    sent again and may arrive twice. The log says `resumed`, or "it may arrive twice".

SEE ALSO
    lanmail-deliver, lanmail queue, lanmail trace, lanmail route
"""

import asyncio
import contextlib
import os
import signal
import time

from lanmail import daemon, log, owner, watch
from lanmail.relaying import desk, errands, office

STOP_SENDING = 20.0  # seconds that a stopping relay waits for what is on the wire
TMP_SWEEP = 3600.0


class Relay:
    """One run: the open office and the desk, fed by inotify and a slow sweep."""

    def __init__(self, context: daemon.Context) -> None:
        self.context = context
        lock = owner.lock(context.paths.state / "relay.lock")
        if lock is None:
            raise daemon.Refused(f"another lanmail-relay works on {context.paths.root} already", os.EX_TEMPFAIL)
        self.lock = lock
        try:
            self.office = office.open_office(context.paths, lambda: context.settings, context.say)
        except (owner.Unsafe, OSError) as error:
            os.close(lock)
            raise daemon.Refused(str(error), os.EX_CONFIG) from error
        # the kernel's note that somebody writes to a file we are just looking at (spool.is_open); it would kill us
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        self.desk = desk.Desk(self.office, context.say)
        self.errands = errands.Errands(self.office, context.say)
        self.watch = watch.Watch()

    def begin(self) -> None:
        """Listen first, then look at what is there: nothing can fall between."""
        self.watch.subscribe(self.office.outbound.new, self.desk.arrived)
        self.watch.subscribe(self.office.jobs.new, self.errands.arrived)
        self.watch.attach(asyncio.get_running_loop())
        self.desk.recover()
        self.errands.recover()

    async def sweep(self) -> None:
        """Every now and then: what no event told of, and what was abandoned in tmp/."""
        swept, told = -TMP_SWEEP, ""
        while True:
            if time.monotonic() - swept > TMP_SWEEP:
                swept = time.monotonic()
                for one in (self.office.outbound, self.office.jobs):
                    for name in one.sweep_tmp(time.time()):
                        log.abandoned(spool=one.path.name, file=name)
            await asyncio.sleep(self.context.settings.relay.sweep)
            try:
                office.check(self.context.paths)
                told = ""
            except (owner.Unsafe, OSError) as error:  # at the next start we refuse; until then our descriptors count
                if told != str(error):
                    log.unsafe(error=str(error))
                told = str(error)
            self.desk.sweep()
            self.errands.sweep()

    async def settle(self) -> None:
        """Until nothing is left but what waits for its time."""
        while not (self.desk.idle and self.errands.idle):  # noqa: ASYNC110 — --once only, and nothing tells when a desk is idle
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Finish what is on the wire, and let go of everything."""
        self.desk.stopping = True
        limit = time.monotonic() + STOP_SENDING
        while self.desk.sending.tasks and time.monotonic() < limit:
            await asyncio.wait(set(self.desk.sending.tasks), timeout=0.2)
        for task in set(self.desk.sending.tasks):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self.desk.sending.tasks, return_exceptions=True)
        await self.errands.close(max(0.0, limit - time.monotonic()))
        self.watch.close()
        self.desk.pool.shutdown(wait=True)
        await self.office.close()
        os.close(self.lock)


async def serve(context: daemon.Context) -> None:
    """Work until told to stop."""
    relay = Relay(context)
    try:
        relay.begin()
        context.ready()
        await context.until_stopped(relay.sweep())
    finally:
        await relay.close()


async def once(context: daemon.Context) -> int:
    """Send what is due; the exit code."""
    relay = Relay(context)
    try:
        relay.begin()
        await relay.settle()
        waiting = relay.desk.sleeping or relay.errands.sleeping or any(
            one.parked for one in relay.desk.sending.destinations.values())
        return os.EX_TEMPFAIL if waiting else os.EX_OK
    finally:
        await relay.close()


main = daemon.program("relay", __doc__, serve, once=once)
