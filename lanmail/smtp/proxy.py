"""The PROXY protocol, versions 1 and 2: a load balancer in front tells the client's address.

Only a listed network may speak it, and must: anybody else who tries is no mail client, and a listed balancer that
does not is set up wrongly. aiosmtpd reads the header; it is read from the bare socket, octet for octet, so that what
follows (a TLS handshake perhaps) is left to the server.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiosmtpd import proxy_protocol

from lanmail import log

if TYPE_CHECKING:
    import ssl

    from lanmail.smtp.connection import Connection

TIMEOUT = 10.0


class _Reader:
    """aiosmtpd's AsyncReader over a socket that must not be read ahead."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._loop = asyncio.get_running_loop()

    async def read(self, n: int = -1) -> bytes:
        return await self._loop.sock_recv(self._socket, n)

    async def readexactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = await self.read(n - len(data))
            if not piece:
                raise asyncio.IncompleteReadError(data, n)
            data += piece
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        data = b""
        while not data.endswith(separator) and len(data) <= 107:  # the longest header of version 1
            data += await self.readexactly(1)
        return data


async def greet(
    one: socket.socket, balancer: str, make: Callable[[str], "Connection"], tls: "ssl.SSLContext | None"
) -> None:
    """Read the header and begin the session of the client it names; `make` is given the client's address."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            told = await proxy_protocol.get_proxy(_Reader(one))
            if not told.valid:
                raise ValueError(told.error or "no PROXY header")
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        log.proxy_failed(balancer=balancer, error=str(error) or "timeout")
        one.close()
        return
    # LOCAL and UNKNOWN: the balancer itself, looking whether we are alive
    client = str(told.src_addr) if told.src_addr is not None and told.family in (1, 2) else balancer
    try:
        await loop.connect_accepted_socket(lambda: make(client), one, ssl=tls)
    except OSError as error:
        log.tls_failed(client=client, service="smtp", error=str(error))
        one.close()
