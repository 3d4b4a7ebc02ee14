"""tunnel.py: through an HTTP CONNECT or SOCKS5 proxy, with a log-in, or not at all."""

import asyncio
import base64
import contextlib
import os
import socket
import struct
from pathlib import Path

import pytest

from tests.smtppeer import Peer
from tests.test_transport_smtp import ALL, logged, root_for, server_tls


class Proxy:
    """HTTP CONNECT and SOCKS5, with a log-in."""

    def __init__(self, *, user: str = "", password: str = "", refuse: bool = False) -> None:
        self.login = (user.encode(), password.encode())
        self.refuse = refuse
        self.asked: list[str] = []

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None] | None] = set()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for task in self._tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*[task for task in self._tasks if task is not None], return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            first = await reader.readexactly(1)
            target = await (self._socks(reader, writer) if first == b"\x05" else self._connect(reader, writer))
            if target is not None:
                self.asked.append(f"{target[0]}:{target[1]}")
                there, back = await asyncio.open_connection(*target)
                try:
                    await asyncio.gather(_pump(reader, back), _pump(there, writer))
                finally:
                    back.transport.abort()
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        token = base64.b64encode(b":".join(self.login)).decode()
        if self.refuse or (self.login[0] and f"Basic {token}" not in head):
            writer.write(b"HTTP/1.1 407 Log in\r\nContent-Length: 0\r\n\r\n")
            return None
        writer.write(b"HTTP/1.1 200 go\r\n\r\n")
        host, _, port = head.split()[1].rpartition(":")
        return host, int(port)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if self.login[0] else 0
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted:
            user = await reader.readexactly((await reader.readexactly(2))[1])
            word = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user, word) == self.login
            writer.write(bytes([1, not good]))
            if not good:
                return None
        _, _, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        writer.write(bytes([5, 5 if self.refuse else 0, 0, 1]) + bytes(6))
        return None if self.refuse else (host, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("login", [True, False])
async def test_through_a_proxy(tmp_path: Path, scheme: str, login: bool) -> None:
    async with Peer("STARTTLS", *ALL, tls=server_tls()) as peer, \
            Proxy(user="us" if login else "", password="w:ort" if login else "") as proxy:
        root = root_for(tmp_path, peer.port, f'proxy = "{scheme}://127.0.0.1:{proxy.port}"\n'
                        + ('proxy_user = "us"\nproxy_password = "file:secrets/proxy"\n' if login else ""))
        root.paths.secrets.mkdir(parents=True)
        (root.paths.secrets / "proxy").write_text("w:ort")
        (root.paths.secrets / "proxy").chmod(0o600)
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
    assert proxy.asked == [f"127.0.0.1:{peer.port}"]
    assert len(peer.taken) == 1


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_refuses(tmp_path: Path, scheme: str) -> None:
    """Nothing goes past it."""
    async with Peer(*ALL) as peer, Proxy(refuse=True) as proxy:
        root = root_for(tmp_path, peer.port, f'proxy = "{scheme}://127.0.0.1:{proxy.port}"\n')
        root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert peer.connections == 0
    assert "the proxy" in logged(root)
