"""The open sessions of one process: they end soon after the account, or what they began with, is no good.

    sittings.began(session, account, standing, end)      after the log-in
    sittings.ended(session)                              whatever it began with
    await sittings.watch()                               until cancelled

A look at files every EVERY seconds and only while somebody is there; commands cost nothing more. The first time
`end(False)` is called, to end the session as soon as nothing is in the middle of being done; who is still there at the
next look is cut off by `end(True)`. So a minute after an account is disabled or removed, its password is changed, or a
consent has ended, nobody is in by it. Who came by a token stays when the password is changed: that ends for itself.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lanmail import log
from lanmail.errors import MailError
from lanmail.logins import grants
from lanmail.settings import Account

EVERY = 20.0
End = Callable[[bool], None]


@dataclass(slots=True)
class _Sitting:
    account: str
    standing: grants.Standing | None
    password: str | None  # the hash that it began with; None: no matter, or not known
    end: End
    told: bool = False


class Accounts(Protocol):
    """What of `accounts.Directory` is needed here."""

    def account(self, name: str) -> Account | None: ...


class Sittings:
    """One of a worker; `state` is that of the installation."""

    def __init__(self, state: Path, directory: Accounts) -> None:
        self._state, self._directory = state, directory
        self._open: dict[Any, _Sitting] = {}

    def began(self, session: Any, account: str, standing: grants.Standing | None, end: End) -> None:
        """Somebody is let in; without `standing` it was not by a token."""
        password = None
        if standing is None:
            with contextlib.suppress(MailError):
                known = self._directory.account(account)
                password = known.password if known is not None else None
        self._open[session] = _Sitting(account, standing, password, end)

    def ended(self, session: Any) -> None:
        """The connection is gone."""
        if self._open:
            self._open.pop(session, None)

    async def watch(self) -> None:
        """Look, now and then."""
        while True:
            await asyncio.sleep(EVERY)
            if self._open:
                await self.look()

    async def look(self) -> None:
        """Once: end the sessions that would not be let in now."""
        known = await self._known({one.account for one in self._open.values()})
        wanted = {one.standing for one in self._open.values() if one.standing is not None}
        void = await asyncio.to_thread(self._void, wanted) if wanted else set()
        for session, one in list(self._open.items()):
            why = "token taken back" if one.standing in void else _trouble(one, known)
            if why and session in self._open:
                hard, one.told = one.told, True
                if not hard:
                    log.event("session-ended", account=one.account, reason=why)
                one.end(hard)

    async def _known(self, accounts: set[str]) -> dict[str, Account | None]:
        """As they are now. One that cannot be read is not among them, and left alone."""
        found = {}
        for name in accounts:
            with contextlib.suppress(MailError):
                found[name] = self._directory.account(name)
            await asyncio.sleep(0)  # the others have their turn
        return found

    def _void(self, wanted: set[grants.Standing]) -> set[grants.Standing]:
        now = time.time()
        return {one for one in wanted if not grants.stands(self._state, one, now)}


def _trouble(one: _Sitting, known: dict[str, Account | None]) -> str:
    """Why nobody would be let in as this one was; empty when somebody would."""
    if one.account not in known:
        return ""
    account = known[one.account]
    if account is None or account.disabled:
        return "account disabled"
    return "password changed" if one.password is not None and one.password != account.password else ""
