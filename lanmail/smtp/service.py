"""What all sessions of one worker share."""

import asyncio
import functools
import os
import ssl

from lanmail import accounts, daemon, log, passwords, policy, proxy, settings, sockets, spool, tls
from lanmail.logins import sittings
from lanmail.monitoring import metrics
from lanmail.smtp import connection, disk, limits, lmtp, session

PATIENCE = daemon.DRAIN - 5.0  # for mail that is under way when the program is to end
TICK = 1.0  # how often time-outs are looked at


class Service:
    """Settings of the moment, accounts, log-ins, the queue, threads, counters, open sessions."""

    def __init__(self, context: daemon.Context) -> None:
        self.context = context
        self.loop = asyncio.get_running_loop()
        self.directory = accounts.Directory(context.paths, lambda: context.settings)
        self.checker = passwords.Checker(self.directory, context.settings, state=context.paths.state / "auth")
        self.queue = spool.queue(context.paths)
        self.queue.ensure()
        self.pool = disk.Pool(self.loop)
        self.room = limits.Room(self.queue.path, self.pool)
        self.gate = limits.Gate()
        self.sessions: set[connection.Connection] = set()
        self.sittings = sittings.Sittings(context.paths.state, self.directory)
        self.stopping = False
        self._has_tls = False
        self._empty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settle()
        context.on_reload(self._reloaded)
        metrics.watch("connections", lambda: len(self.sessions))

    def _settle(self) -> None:
        self.settings: settings.Settings = self.context.settings
        self.smtpd: settings.Smtpd = self.settings.smtpd
        self.hostname: str = self.settings.server.hostname
        self.most_connections = sockets.most_connections(self.smtpd.max_connections)
        self.lan_networks = tuple(self.smtpd.lan.networks)
        self.proxy_networks = tuple(self.settings.server.proxy_networks)
        self.cleartext_networks = tuple(self.settings.auth.cleartext_networks)

    def _reloaded(self) -> None:
        self._settle()
        self.checker.configure(self.settings)

    def is_full(self, account: str) -> bool:
        """Whether deliver says that the mailbox of an account is over its quota."""
        return os.path.exists(f"{self.context.paths.full}/{account}")  # asked for each recipient: a text, not a Path

    def tls_context(self, kind: str) -> ssl.SSLContext:
        """The certificate of the moment; old devices may use old TLS on the LAN listener only."""
        oldest = self.smtpd.lan.tls_min if kind == policy.LAN else None
        return tls.server_context(self.settings, self.context.paths, min_version=oldest)

    def left(self, one: connection.Connection) -> None:
        """A session has ended."""
        self.sessions.discard(one)
        self.sittings.ended(one)
        if self.stopping and not self.sessions:
            self._empty.set()

    @property
    def has_tls(self) -> bool:
        """Whether there is a certificate; once there was one, `tls` keeps the last good one."""
        if not self._has_tls:
            try:
                self.tls_context(policy.MX)
            except OSError:
                return False
            self._has_tls = True
        return True

    def session(self, listener: sockets.Listener, client: str = "") -> session.Session:
        """A new connection; `client` when a proxy told who it is."""
        kind = lmtp.Lmtp if listener.kind == policy.LMTP else session.Session
        return kind(self, listener, client)

    def proxied(self, transport: asyncio.BaseTransport, balancer: str, listener: sockets.Listener) -> None:
        """A connection from a load balancer: it tells the client's address first."""
        try:
            context = self.tls_context(listener.kind) if listener.tls else None
        except OSError as error:
            log.tls_failed(client=balancer, service="smtp", error=str(error))
            context = None
        work = proxy.greet(proxy.take_over(transport), balancer, functools.partial(self.session, listener), context)
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def watch(self) -> None:
        """End the sessions that take too long, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            now = self.loop.time()
            for one in list(self.sessions):
                one.check_time(now)

    async def drain(self) -> None:
        """Let what is on the wire end: sessions between mails go at once, others after their mail."""
        self.stopping = True
        for one in list(self.sessions):
            one.stop()
        if self.sessions:
            self.loop.call_later(PATIENCE, self._hurry)
            await self._empty.wait()
        self.pool.close()

    def _hurry(self) -> None:
        for one in list(self.sessions):
            one.stop(now=True)
