"""What all sessions of one process share: settings, log-in, boxes, one inotify descriptor, threads for file work."""

import asyncio
import contextlib
import functools
import ipaddress
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lanmail import accounts, daemon, log, maildir, passwords, settings, sockets, tls, watch
from lanmail.folders import quota, shares
from lanmail.imap import box, dispatch, held, indexer, names, readahead, wire
from lanmail.imap.session import Session
from lanmail.logins import sittings
from lanmail.mime import tree
from lanmail.monitoring import metrics
from lanmail.textindex import indexes

T = TypeVar("T")
THREADS = 8  # concurrent fsyncs share journal commits; more threads only wait for the GIL
SWEEP = 5.0
GONE_KEPT = 3600.0  # seconds that the cache of a folder may hold what it knew of messages that are gone
KEPT_BOXES = 64
KEPT_MESSAGES = 300_000


class Worker:
    """One process; `greet` is the protocol factory of its listeners."""

    def __init__(self, context: daemon.Context) -> None:
        self._context = context
        self.directory = accounts.Directory(context.paths, lambda: context.settings)
        self.meter = quota.Meter()
        self.shares = shares.Shares(context.paths, lambda: context.settings)
        self.checker = passwords.Checker(self.directory, context.settings, state=context.paths.state / "auth")
        self._pool = ThreadPoolExecutor(THREADS, "files")
        self._boxes: dict[str, box.Box] = {}
        self._sessions: set[Session] = set()
        self.sittings = sittings.Sittings(context.paths.state, self.directory)
        self.held = held.Held(held.ROOM)
        self.held_small = held.Held(held.ROOM_FOR_SMALL)
        self._users: Counter[tuple[str, str]] = Counter()  # by account and IP address
        self._fresh_ones: Counter[str] = Counter()  # by IP address, not logged in
        self.indexes = indexes.Indexes(context.paths.indexes)
        self.indexer = indexer.Indexer(self.indexes)
        self.readers = readahead.Readers(lambda: (self.limits.max_mime_depth, self.limits.max_mime_parts))
        self.watch = _watch()
        metrics.watch("connections", lambda: len(self._sessions))
        context.on_reload(self._reload)
        self._reload()

    def _reload(self) -> None:
        tree.MAX_DEPTH, tree.MAX_PARTS = self.limits.max_mime_depth, self.limits.max_mime_parts
        self.checker.configure(self.config)
        self.tls_possible = self.tls_context() is not None
        self.cleartext_networks = [ipaddress.ip_network(network) for network in self.config.auth.cleartext_networks]

    @property
    def config(self) -> settings.Settings:
        return self._context.settings

    @property
    def limits(self) -> settings.Imapd:
        return self._context.settings.imapd

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run blocking file work in a thread."""
        return await self.start(work, *arguments)

    def start(self, work: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
        """The same, begun at once; who called waits for it later."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def together(self, *works: Callable[[], object]) -> None:
        """Run pieces of file work in threads at once; when all are done, what one of them raised is raised."""
        loop, left, problems = asyncio.get_running_loop(), list(works), list[BaseException]()
        done = loop.create_future()

        def run(work: Callable[[], object]) -> None:
            try:
                work()
            except BaseException as problem:
                problems.append(problem)
            left.pop()  # atomic, and only the last one wakes the loop
            if not left:
                loop.call_soon_threadsafe(_finish, done)

        for work in works:
            self._pool.submit(run, work)
        await done
        if problems:
            raise problems[0]

    def later(self, work: Callable[[], None]) -> None:
        """Run file work in a thread without waiting for it; a failure is logged."""
        task = asyncio.get_running_loop().run_in_executor(self._pool, work)
        task.add_done_callback(_report)

    # how much mail there is

    async def usage(self, owner: str, *, exact: bool = False) -> quota.Usage:
        """What lies in the folders of an account."""
        known = None if exact else self.known_usage(owner)
        if known is not None:
            return known
        return await self.run(functools.partial(self.meter.of, self.shares.root(owner), exact=exact))

    def known_usage(self, owner: str) -> quota.Usage | None:
        return self.meter.known(self.shares.root(owner))

    def measure(self, owner: str) -> None:
        """Find out how much mail an account has, for later."""
        self.later(functools.partial(self.meter.measure, self.shares.root(owner)))

    def stored(self, owner: str, octets: int, messages: int) -> None:
        """So much was put into the folders of an account, or with negative numbers, removed."""
        root = self.shares.root(owner)
        self.meter.add(root, octets, messages)
        quota.note(root, octets, messages)

    # connections

    def greet(self, client: str = "") -> wire.Connection:
        return wire.Connection(self._serve, client)

    async def _serve(self, connection: wire.Connection) -> None:
        session = Session(connection, self)
        if (len(self._sessions) >= sockets.most_connections(self.limits.max_connections)
                or self._fresh_ones[connection.peer] >= self.limits.max_connections_per_client):
            session.bye("[LIMIT] Too many connections, try again later.")
            connection.close()
            return
        self._sessions.add(session)
        self._fresh_ones[connection.peer] += 1
        try:
            await dispatch.serve(session)
        except wire.Closed:
            pass
        finally:
            self._sessions.discard(session)
            self.sittings.ended(session)
            session.unselect()
            session.heed(None)
            if session.account is not None:
                _take_one(self._users, (session.account.name, connection.peer))
            else:
                _take_one(self._fresh_ones, connection.peer)
            connection.close()

    def admit(self, session: Session, account: settings.Account) -> bool:
        """Count a log-in; False when the account has as many connections from that address as it may have."""
        key = (account.name, session.connection.peer)
        if self._users[key] >= self.limits.max_connections_per_user:
            return False
        self._users[key] += 1
        _take_one(self._fresh_ones, session.connection.peer)
        session.account = account
        return True

    async def open_home(self, account: settings.Account) -> names.Home:
        """The folders of an account, made at the first log-in."""
        root = str(self._context.paths.maildirs / account.name)
        await self.run(maildir.prepare, root)
        limits = self.limits
        spaces = names.Spaces(account.name, self.shares, limits.users_namespace, limits.shared_namespace)
        return names.Home(root, limits.namespace_prefix, spaces)

    def look_for_shares(self) -> None:
        """Somebody lists folders: see to it that the index of the shared ones is not too old next time."""
        if self.shares.stale():
            self.later(self.shares.rebuild)

    def tls_context(self) -> ssl.SSLContext | None:
        try:
            return tls.server_context(self.config, self._context.paths)
        except OSError as error:
            log.certificate_unusable(file=self.config.tls.cert, error=str(error))
            return None

    async def close(self) -> None:
        """Say goodbye to everybody; who is in the middle of a command finishes it first."""
        self.indexer.stop()
        await self.readers.stop()
        for session in list(self._sessions):
            session.leave()
        tasks = [session.connection.task for session in self._sessions if session.connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=20)
        if self.watch is not None:
            self.watch.close()
        self._pool.shutdown(wait=False)

    # boxes

    async def open_box(self, home: names.Home, name: str) -> box.Box:
        """The box of a folder, refreshed. box.Gone when there is no such folder."""
        path = home.path(name)
        found = self._boxes.get(path)
        if found is not None:
            with contextlib.suppress(box.Gone):
                return await self._fresh(found)
        # none yet, or the folder at this path is not the one it was
        found = self._boxes[path] = box.Box(self, path, home.place(name).root)
        self._forget_some()
        return await self._fresh(found)

    async def _fresh(self, found: box.Box) -> box.Box:
        found.used = time.monotonic()
        await found.refresh()
        if found.dead:
            raise box.Gone
        return found

    def opened(self, path: str) -> box.Box | None:
        """The box of a folder if this process has one."""
        return self._boxes.get(path)

    def forget(self, gone: box.Box) -> None:
        if self._boxes.get(gone.path) is gone:
            del self._boxes[gone.path]

    def _forget_some(self) -> None:
        """Drop the boxes that nobody has selected and that were not used for the longest."""
        idle = sorted((one for one in self._boxes.values() if not one.views), key=lambda one: one.used)
        total = sum(len(one.messages) for one in self._boxes.values())
        while idle and (len(idle) > KEPT_BOXES or total > KEPT_MESSAGES):
            total -= len(idle[0].messages)
            idle[0].tidy()
            del self._boxes[idle.pop(0).path]

    async def sweep(self) -> None:
        """Look at selected mailboxes now and then, for file systems that send no events."""
        while True:
            await asyncio.sleep(SWEEP)
            self.held.sweep()
            self.held_small.sweep()
            self.indexer.tend()
            self.readers.tend()
            if self.watch is None:
                for session in self._sessions:
                    if session.notices is not None:
                        session.notices.sweep()
            for one in list(self._boxes.values()):
                one.tidy(GONE_KEPT)
                if one.views and one.folder.peek() is not one.snapshot:
                    for view in one.views:
                        view.notify()


def _take_one(counts: Counter[T], key: T) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


def _finish(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def _report(task: "asyncio.Future[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.event("imap-failed", error=str(error))


def _watch() -> watch.Watch | None:
    try:
        watcher = watch.Watch()
    except OSError as error:
        log.event("no-inotify", error=str(error), hint="new mail is noticed every few seconds")
        return None
    watcher.attach(asyncio.get_running_loop())
    return watcher


