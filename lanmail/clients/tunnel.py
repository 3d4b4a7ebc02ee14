"""Connected sockets: straight, or through an HTTP (CONNECT) or SOCKS5 proxy.

The name of the server is given to the proxy, which resolves it. Whatever goes wrong is Temporary, and its text says
whether the proxy or the server is to blame.
"""

import asyncio
import base64
import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from lanmail import printable, secret
from lanmail.errors import Temporary

PORTS = {"http": 3128, "socks5": 1080}
MAX_HEAD = 16 << 10  # octets of a proxy's answer


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the log-in to it."""

    scheme: str  # http or socks5
    host: str
    port: int
    user: str = ""
    password: secret.Secret = secret.NONE

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Section(Protocol):
    """The keys of a section of conf that speaks of a proxy."""

    @property
    def proxy(self) -> str: ...
    @property
    def proxy_user(self) -> str: ...
    @property
    def proxy_password(self) -> str: ...


def parse(text: str) -> tuple[str, str, int]:
    """`http://HOST:PORT`, `socks5://HOST:PORT` → (scheme, host, port). ValueError with a sentence."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.username:
        raise ValueError(f'{text!r} is not a proxy; write it like "http://proxy.lan:3128" or "socks5://proxy.lan:1080"')
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


def of(section: Section, conf: Path) -> Proxy | None:
    """The proxy a section names, None when it names none. Temporary when its password cannot be read."""
    if not section.proxy:
        return None
    scheme, host, port = parse(section.proxy)
    password = secret.read(section.proxy_password, conf) if section.proxy_password else secret.NONE
    return Proxy(scheme, host, port, section.proxy_user, password)


async def connect(host: str, port: int, via: Proxy | None, seconds: float) -> socket.socket:
    """A non-blocking socket connected to the server within `seconds`. Temporary."""
    try:
        async with asyncio.timeout(seconds):
            if via is not None:
                return await _through(via, host, port, seconds)
            return await _straight(host, port, seconds)
    except TimeoutError as error:
        raise Temporary(f"{_name(host, port)} does not answer", 451, "4.4.1") from error


async def _straight(host: str, port: int, seconds: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise Temporary(f"the name {host} cannot be resolved: {getattr(error, 'strerror', error)}", 451,
                        "4.4.3") from error
    trouble: OSError = OSError("it has no address")
    for number, (family, kind, protocol, _, address) in enumerate(found):
        one = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            one.setblocking(False)
            # one dead address of several must not use up the time of the others
            async with asyncio.timeout(seconds / 2 if number + 1 < len(found) else None):
                await loop.sock_connect(one, address)
            return one
        except TimeoutError:
            one.close()
            trouble = OSError("no answer")
        except OSError as error:
            one.close()
            trouble = error
        except BaseException:
            one.close()
            raise
    # asyncio's own words ("Connect call failed …") say less than the system's
    why = os.strerror(trouble.errno) if trouble.errno else trouble
    raise Temporary(f"no connection to {_name(host, port)}: {why}", 451, "4.4.1") from trouble


async def _through(via: Proxy, host: str, port: int, seconds: float) -> socket.socket:
    if via.scheme == "http":
        return await _connect_method(via, host, port, seconds)
    from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType
    from python_socks.async_.asyncio import Proxy as Tunnel

    password = via.password.reveal() if via.user else None
    tunnel = Tunnel(ProxyType.SOCKS5, via.host, via.port, via.user or None, password, rdns=True)
    try:
        made: socket.socket = await tunnel.connect(host, port, timeout=seconds)
    except ProxyTimeoutError as error:
        raise Temporary(f"no answer through the proxy {via}", 451, "4.4.1") from error
    except ProxyConnectionError as error:
        raise Temporary(f"no connection to the proxy {via}: {error.strerror or error}", 451, "4.4.1") from error
    except (ProxyError, OSError) as error:
        raise Temporary(f"the proxy {via} refused the connection to {_name(host, port)}: {error}", 451,
                        "4.4.1") from error
    return made


async def _connect_method(via: Proxy, host: str, port: int, seconds: float) -> socket.socket:
    """CONNECT (RFC 9110 §9.3.6), read octet by octet: behind the answer's header the server's greeting may come."""
    loop = asyncio.get_running_loop()
    try:
        made = await _straight(via.host, via.port, seconds)
    except Temporary as error:
        raise Temporary(f"no connection to the proxy {via}: {error.text.rpartition(': ')[2]}", 451, "4.4.1") from error
    try:
        where = _name(host, port)
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if via.user:
            login = base64.b64encode(f"{via.user}:{via.password.reveal()}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {login}")
        await loop.sock_sendall(made, ("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octet = await loop.sock_recv(made, 1)
            head += octet
            if not octet or len(head) > MAX_HEAD:
                raise OSError("its answer is no HTTP")
        status = printable.line(head.partition(b"\r\n")[0].partition(b" ")[2].decode("latin-1"))[:200]
        if not status.startswith("2"):
            raise OSError(status)
    except OSError as error:
        made.close()
        raise Temporary(f"the proxy {via} refused the connection to {where}: {error.strerror or error}", 451,
                        "4.4.1") from error
    except BaseException:
        made.close()
        raise
    return made


def _name(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def close(one: socket.socket) -> None:
    """Give a socket back that nobody took over."""
    with contextlib.suppress(OSError):
        one.close()
