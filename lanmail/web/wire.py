"""How patient we are with a connection: it has to say what it wants, and one address has half of them at most.

Without this a single machine that opens connections and says nothing keeps everybody out (slow loris). Bodies have
their time in `guard`; a connection between two requests has httpd.KEEP_ALIVE. Reverse proxies that we trust ask for
many, so they may have all.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lanmail import log
from lanmail.settings import Settings
from lanmail.web import guard

HEAD = 20.0  # seconds for a request's line and header
_FULL = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n"
         b"Connection: close\r\n\r\nToo many connections.\n")


class Protocol(H11Protocol):
    """uvicorn's, with a clock that runs while a header is waited for."""

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody is there."""
        super().connection_made(transport)
        if self._has_too_many():
            transport.write(_FULL)
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Something came; was it a header?"""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """He is gone."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop()
        elif self._clock is None:  # not anew with each octet
            self._clock = self.loop.call_later(HEAD, self._end)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end(self) -> None:
        log.event("disconnected", client=self._address(), reason="no request came in time")
        self.transport.abort()

    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _has_too_many(self) -> bool:
        settings: Settings = self.app.house.settings()
        mine = self._address()
        most = max(1, settings.httpd.max_connections // 2)
        if not mine or guard.among(mine, settings.httpd.trusted_proxies):
            return False
        held: int = sum(isinstance(one, Protocol) and one._address() == mine for one in self.connections)
        return held > most
