"""Open connections between two mails: the next mail to the same server finds one that is ready."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from lanmail.clients.smtpclient import Client
from lanmail.clients.smtpwire import Broken
from lanmail.errors import Temporary
from lanmail.transports import Job, Result

Connect = Callable[[], Awaitable[Client]]


class Pool:
    """Idle SMTP connections by server and log-in. The newest is taken first, so the others run out of time."""

    def __init__(self, idle: Callable[[], float]) -> None:
        self._idle = idle  # seconds that a connection is kept
        self._clients: dict[Hashable, list[tuple[Client, asyncio.TimerHandle]]] = {}

    async def send(self, key: Hashable, job: Job, connect: Connect) -> list[Result]:
        """Send over a connection of `key`, a new one when there is none. What `connect` and `Client.send` raise."""
        while (client := self._take(key)) is not None:
            try:
                return await self._send(key, client, job)
            except Broken as error:
                if client.answered:
                    raise _lost(job, client, error) from error
                # closed while it was idle: nothing was said, so nothing was sent
        client = await connect()
        try:
            return await self._send(key, client, job)
        except Broken as error:
            raise _lost(job, client, error) from error

    async def _send(self, key: Hashable, client: Client, job: Job) -> list[Result]:
        try:
            results = await client.send(job)
        except Broken:
            raise
        except Exception:
            self._give_back(key, client)
            raise
        except BaseException:
            client.wire.fail("stopped")
            raise
        self._give_back(key, client)
        return results

    def _take(self, key: Hashable) -> Client | None:
        waiting = self._clients.get(key)
        while waiting:
            client, timer = waiting.pop()
            timer.cancel()
            if client.usable:
                return client
        return None

    def _give_back(self, key: Hashable, client: Client) -> None:
        if not client.usable:
            return
        timer = asyncio.get_running_loop().call_later(self._idle(), self._expire, key, client)
        self._clients.setdefault(key, []).append((client, timer))

    def _expire(self, key: Hashable, client: Client) -> None:
        left = [one for one in self._clients.get(key, ()) if one[0] is not client]
        if left:
            self._clients[key] = left
        else:
            self._clients.pop(key, None)
        client.close()

    async def close(self) -> None:
        """Say QUIT on all, and see them closed."""
        idle = [one for waiting in self._clients.values() for one in waiting]
        self._clients.clear()
        for client, timer in idle:
            timer.cancel()
            client.close()
        await asyncio.gather(*(client.wire.see_closed() for client, _ in idle))


def _lost(job: Job, client: Client, error: Broken) -> Temporary:
    return Temporary(f"{client.target.host}: {error}", 451, "4.4.2")
