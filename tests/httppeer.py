"""An HTTP server for tests that says what its script says: odd answers, silence, hang-ups, floods."""

import asyncio
import ssl
from collections.abc import Callable


class Peer:
    """`answer` is raw bytes, or a function of the request's head that gives them; "hang" says nothing."""

    def __init__(self, answer: "bytes | str | Callable[[bytes], bytes]", *, tls: ssl.SSLContext | None = None,
                 early: bool = False, slow: float = 0.0) -> None:
        self.answer, self.tls, self.early, self.slow = answer, tls, early, slow
        self.requests: list[tuple[bytes, bytes]] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> "Peer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._tasks:
            if task is not None:
                task.cancel()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n")
                           if line.startswith(b"content-length:")), 0)
            body = b"" if self.early else await reader.readexactly(length)
            self.requests.append((head, body))
            if self.answer == "hang":
                await asyncio.sleep(3600)
            answer = self.answer(head) if callable(self.answer) else self.answer
            assert isinstance(answer, bytes)
            if self.slow:
                for octet in answer:
                    writer.write(bytes([octet]))
                    await writer.drain()
                    await asyncio.sleep(self.slow)
            writer.write(answer if not self.slow else b"")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def ok(body: bytes = b"taken") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
