"""The PROXY protocol, versions 1 and 2: a load balancer in front tells the client's address.

    await listen(make, one, networks=…, tls=…, handshake=…, service="pop3") -> Server
                               like loop.create_server, for `make(client)`; "" where the transport knows the client
    greet(one, balancer, make, tls, …)          for a socket that is known to be a balancer's
    take_over(transport) -> socket              the socket of a transport, which forgets it

Only a listed network may speak it, and must: anybody else who tries is no mail client, and a listed balancer that
does not is set up wrongly. aiosmtpd reads the header; it is read from the bare socket, octet for octet, so that what
follows (a TLS handshake perhaps) is left to the server.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence

from aiosmtpd import proxy_protocol

from lanmail import log
from lanmail.units import Network

TIMEOUT = 10.0
Make = Callable[[str], asyncio.Protocol]


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


def take_over(transport: asyncio.BaseTransport) -> socket.socket:
    """The socket of a transport, which forgets it."""
    one = transport.get_extra_info("socket")
    taken = socket.fromfd(one.fileno(), one.family, one.type, one.proto)
    taken.setblocking(False)
    transport.abort()  # type: ignore[attr-defined]
    return taken


async def greet(one: socket.socket, balancer: str, make: Make, tls: ssl.SSLContext | None, *, service: str = "smtp",
                handshake: float | None = None) -> None:
    """Read the header and begin the session of the client it names; `make` is given the client's address."""
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
    await _begin(one, client, make, tls, service, handshake)


async def _begin(one: socket.socket, client: str, make: Make, tls: ssl.SSLContext | None, service: str,
                 handshake: float | None) -> None:
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_accepted_socket(lambda: make(client), one, ssl=tls,
                                           ssl_handshake_timeout=handshake if tls else None)
    except OSError as error:
        log.tls_failed(client=client, service=service, error=str(error))
        one.close()


async def listen(make: Make, one: socket.socket, *, networks: Sequence[Network], tls: ssl.SSLContext | None,
                 handshake: float, service: str) -> asyncio.Server:
    """A server on a listening socket. Without `networks` the loop does all by itself."""
    loop = asyncio.get_running_loop()
    if not networks:
        return await loop.create_server(lambda: make(""), sock=one, ssl=tls,
                                        ssl_handshake_timeout=handshake if tls else None)
    tasks: set[asyncio.Task[None]] = set()

    def take(taken: socket.socket, client: str) -> None:
        if _within(client, networks):
            work = greet(taken, client, make, tls, service=service, handshake=handshake)
        else:
            work = _begin(taken, client, make, tls, service, handshake)
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return await loop.create_server(lambda: _Door(take), sock=one)


class _Door(asyncio.Protocol):
    """Hands every new connection on before anything is read from it."""

    def __init__(self, take: Callable[[socket.socket, str], None]) -> None:
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._take(take_over(transport), str(peer[0]) if isinstance(peer, tuple) else "local")


def _within(client: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return False
    return any(address.version == network.version and address in network for network in networks)
