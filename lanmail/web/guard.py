"""What holds for every request, before any page sees it: who asks, under which name, over what, and how much.

    421 the name in Host is none of ours (DNS rebinding)      413 the body is too large
    308 to HTTPS, for whoever may not use plain HTTP           400 a request that is none      408 it came too slowly

Every answer carries headers that forbid framing, foreign content, sniffing and referrers, unless a page set its own.
"""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from lanmail import log
from lanmail.settings import Settings
from lanmail.web.house import House

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
                                 b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
STILL, SLOWEST = 30.0, 1000.0  # seconds for any body, and octets a second that it has to make beyond them
_AROUND = 1 << 20  # octets of a mail's recipients, and of what its size does not count
CLIENT_NAMES = frozenset({"autoconfig", "autodiscover"})  # names before our domains that mail clients ask for


class Guard:
    """Around the application."""

    def __init__(self, application: Asgi, house: House) -> None:
        self.application, self.house = application, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began, answered = time.monotonic(), 0
        settings = self.house.settings()
        header = _header(scope)
        client, scheme = _asker(scope, header, settings)
        scope["client"], scope["scheme"] = (client, 0), scheme

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = message["status"]
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in there)]
            await send(message)

        try:
            refusal = self._refusal(scope, header, settings, client, scheme)
            if refusal is not None:
                await _say(answer, *refusal)
            else:
                await self.application(scope, _Body(receive, _most(scope, settings)), answer)
        except Cut as error:
            if not answered:
                await _say(answer, error.status, error.text.encode())
        finally:
            log.requested(client=client, method=scope["method"], path=scope["path"][:200], status=answered,
                          seconds=round(time.monotonic() - began, 3))

    def _refusal(self, scope: Scope, header: dict[bytes, bytes], settings: Settings, client: str,
                 scheme: str) -> tuple[int, bytes, bytes] | tuple[int, bytes] | None:
        host = header.get(b"host", b"").decode("latin-1")
        if not is_ours(host, settings):
            return 421, b"This server has another name. Its administrator can add this one to httpd.hosts."
        try:
            length = int(header.get(b"content-length", b"0"))
        except ValueError:
            return 400, b"Content-Length is no number."
        if length > _most(scope, settings):
            return 413, b"The request is too large."
        if scheme != "https" and not among(client, settings.auth.cleartext_networks):
            if not settings.httpd.tls_port:
                return 403, b"This server wants HTTPS."
            name = urlsplit(f"//{host}").hostname or settings.server.hostname
            name = f"[{name}]" if ":" in name else name
            query = scope["query_string"].decode("latin-1")
            there = f"https://{name}:{settings.server.port(settings.httpd.tls_port)}{scope['raw_path'].decode('latin-1')}"
            return 308, b"This server wants HTTPS.", (there + (f"?{query}" if query else "")).encode("latin-1")
        return None


def _most(scope: Scope, settings: Settings) -> int:
    """Octets that a body may have; a mail comes in base64, with some lines around it."""
    if scope["path"] == "/api/v1/message.submit":
        return max(settings.httpd.max_body, settings.smtpd.max_size * 4 // 3 * 79 // 76 + _AROUND)
    return settings.httpd.max_body


class Cut(Exception):
    """The body went on beyond a limit: nobody waits for the rest of it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class _Body:
    """The request's body, as long as it is allowed to be, in size and in time."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive, self.left, self.over = receive, limit, False
        self.until = 0.0

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.over:  # now it is whether the client is still there
            return await self.receive()
        self.until = self.until or time.monotonic() + STILL  # from when somebody wants it: we may have made it wait
        try:
            async with asyncio.timeout(max(self.until - time.monotonic(), 0.0)):
                message = await self.receive()
        except TimeoutError:
            raise Cut(408, "The request came too slowly.") from None
        size = len(message.get("body", b""))
        self.left, self.until, self.over = self.left - size, self.until + size / SLOWEST, not message.get("more_body")
        if self.left < 0:
            raise Cut(413, "The request is too large.")
        return message


def is_ours(host: str, settings: Settings) -> bool:
    """Whether the value of a Host field is a name of this server: a known name, or an IP address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        urlsplit(f"//{host}").port  # noqa: B018 — raises for a port that is none
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        known = {"localhost", settings.server.hostname, *settings.httpd.hosts,
                 urlsplit(settings.httpd.public_url).hostname or ""}
        first, _, rest = name.partition(".")  # mail clients look for autoconfig.DOMAIN
        return bool(name) and (name in known or (first in CLIENT_NAMES and rest in settings.server.local_domains))
    return True


def foreign(headers: Mapping[str, str], settings: Settings) -> bool:
    """Whether a page of another site sent this, as far as browsers say (Fetch Metadata, else Origin)."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and not is_ours(urlsplit(origin).netloc, settings)


def _header(scope: Scope) -> dict[bytes, bytes]:
    """The fields by lower-case name; of several the last."""
    return dict(scope["headers"])


def _asker(scope: Scope, header: dict[bytes, bytes], settings: Settings) -> tuple[str, str]:
    """Who asks, and over what: what the connection says, or a proxy that we trust."""
    client, scheme = (scope.get("client") or ("", 0))[0], scope["scheme"]
    if not among(client, settings.httpd.trusted_proxies):
        return client, scheme
    forwarded = header.get(b"x-forwarded-for", b"").decode("latin-1").rpartition(",")[2].strip()
    try:
        client = str(ipaddress.ip_address(forwarded))
    except ValueError:
        pass
    return client, "https" if header.get(b"x-forwarded-proto", b"").strip() == b"https" else "http"


def among(client: str, networks: list[Any]) -> bool:
    """Whether an address is in one of these networks."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


async def _say(send: Send, status: int, text: bytes, there: bytes = b"") -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text) + 1).encode()),
               (b"connection", b"close")]
    if there:
        headers.append((b"location", there))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text + b"\n"})
