"""Waiting for new mail on an open IMAP connection: IDLE (RFC 2177), or NOOP now and then where there is none.

    await wait(client, raw, newest)     returns when there may be new mail in the folder

Nothing is sent but a new IDLE every few minutes: a server may end one after half an hour, Gmail does after ten minutes,
and a dead line is only noticed by sending. What came while nobody was waiting is seen by UIDNEXT.
"""

import asyncio
from dataclasses import dataclass

from lanmail.clients.imapclient import Client

IDLE = 9 * 60.0  # seconds of one IDLE; RFC 2177 wants less than 29 minutes
NOOP = 60.0  # seconds between two, without IDLE
SHORT = 60.0  # a connection that lived for less than this long is a bad sign
MOST = 600.0

pause = asyncio.sleep


async def wait(client: Client, raw: bytes, newest: int) -> None:
    """Wait, for hours if need be; all up to the UID `newest` is known. Denied, Broken."""
    if client.opened != raw:
        await client.examine(raw)
        if client.selected.uidnext > newest + 1:
            return
    while not client.selected.grown:
        if "IDLE" in client.capabilities:
            await client.idle(IDLE)
        else:
            await pause(NOOP)
            await client.command("NOOP")


@dataclass(slots=True)
class Pauses:
    """How long to wait before a lost connection is made again."""

    short: int = 0  # connections in a row that did not live long

    def went_well(self) -> None:
        self.short = 0

    def after(self, seconds: float) -> float:
        """Seconds, after one that lived so long."""
        self.short = self.short + 1 if seconds < SHORT else 0
        return min(MOST, 5.0 * 2 ** min(self.short, 10)) if self.short else 0.0
