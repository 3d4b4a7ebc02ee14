"""The open sessions of one process that began with a token: they end soon after what the token was granted by.

    sittings.began(session, standing, end)      after the log-in
    sittings.ended(session)                     whatever it began with
    await sittings.watch()                      until cancelled

A look at files in a thread, every EVERY seconds and only while there are such sessions; commands cost nothing more. The
first time `end(False)` is called, to end the session as soon as nothing is in the middle of being done; who is still
there at the next look is cut off by `end(True)`. So a minute after the end of a consent nobody is in by it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanmail import grants, log

EVERY = 20.0
End = Callable[[bool], None]


@dataclass(slots=True)
class _Sitting:
    standing: grants.Standing
    end: End
    told: bool = False


class Sittings:
    """One of a worker; `state` is that of the installation."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._open: dict[Any, _Sitting] = {}

    def began(self, session: Any, standing: grants.Standing | None, end: End) -> None:
        """Somebody is let in; without `standing` it was not by a token."""
        if standing is not None:
            self._open[session] = _Sitting(standing, end)

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
        """Once: end the sessions whose tokens would be refused because they were taken back."""
        wanted = {one.standing for one in self._open.values()}
        fallen = await asyncio.to_thread(self._fallen, wanted)
        for session, one in list(self._open.items()):
            if one.standing in fallen and session in self._open:
                if not one.told:
                    log.event("token-session-ended", account=one.standing.account, service=one.standing.service)
                hard, one.told = one.told, True
                one.end(hard)

    def _fallen(self, wanted: set[grants.Standing]) -> set[grants.Standing]:
        now = time.time()
        return {one for one in wanted if not grants.stands(self._state, one, now)}
