"""What all sessions of one worker share: settings, the check of passwords, threads, the counts behind the limits."""

import asyncio
import contextlib
import functools
import ipaddress
import os
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lanmail import accounts, passwords, tls
from lanmail.logins import sittings
from lanmail.monitoring import metrics
from lanmail.paths import Paths
from lanmail.settings import Settings

THREADS = 8
_T = TypeVar("_T")


class Service:
    """One per worker. `settings` returns the current settings."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings]) -> None:
        self.paths = paths
        self._settings = settings
        self.directory = accounts.Directory(paths, settings)
        self.checker = passwords.Checker(self.directory, settings(), state=paths.state / "auth")
        self.locks = str(paths.state / "pop3")
        os.makedirs(self.locks, mode=0o750, exist_ok=True)
        self.waiting: Counter[str] = Counter()           # by IP address, not logged in
        self.users: Counter[tuple[str, str]] = Counter()  # by account and IP address
        self.open = 0
        self.sessions: set[Any] = set()
        self.sittings = sittings.Sittings(paths.state, self.directory)
        metrics.watch("connections", lambda: self.open)
        self._empty = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, "files")
        self._is_cleartext = functools.lru_cache(1024)(self._find_cleartext)

    @property
    def settings(self) -> Settings:
        """The settings of the moment."""
        return self._settings()

    def reload(self) -> None:
        """New settings are in force."""
        self.checker.configure(self.settings)
        self._is_cleartext.cache_clear()

    def close(self) -> None:
        """End the threads."""
        self.checker.close()
        self._threads.shutdown(wait=False)

    def came(self, session: Any) -> None:
        """A session began."""
        self.open += 1
        self.sessions.add(session)

    def gone(self, session: Any) -> None:
        """A session ended."""
        self.open -= 1
        self.sessions.discard(session)
        self.sittings.ended(session)
        if not self.sessions:
            self._empty.set()

    async def drain(self, seconds: float) -> None:
        """Let every session finish what it is doing, then close it."""
        for session in list(self.sessions):
            session.finish()
        self._empty.clear()
        if self.sessions:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)

    def in_thread(self, function: Callable[..., _T], *arguments: Any) -> "asyncio.Future[_T]":
        """Run something that may wait for the disk or a lock."""
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def may_log_in_clear(self, client: str) -> bool:
        """Whether a client at this address may send its password without TLS."""
        return self._is_cleartext(client)

    def _find_cleartext(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self.settings.auth.cleartext_networks)

    def tls_context(self) -> ssl.SSLContext | None:
        """The context for STLS; None when there is no certificate."""
        try:
            return tls.server_context(self.settings, self.paths)
        except OSError:
            return None

    def mailbox(self, account: str) -> str:
        """The Maildir of an account; the name is one of a file in conf/accounts, never a client's text."""
        return f"{self.paths.maildirs}/{account}"
