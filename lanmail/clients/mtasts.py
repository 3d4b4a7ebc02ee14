"""MTA-STS (RFC 8461): a domain says by HTTPS which servers take its mail, by verified TLS only.

    state/mta-sts/DOMAIN.json    the policy last seen, until it expires

A policy that cannot be fetched changes nothing: the one last seen counts until it expires, and without one mail goes as
to any other domain (§3.3, §5). So an attacker who blocks the fetch later wins nothing.
"""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lanmail import atomic
from lanmail.clients import tlsclient
from lanmail.clients.resolver import Resolver
from lanmail.errors import MailError

MAX_POLICY = 64 << 10  # §3.2 suggests this
MAX_AGE = 31557600
TIMEOUT = 30.0
PORT = 443
ASK_AGAIN = 300.0  # seconds between two looks at the TXT record of a domain
_ID = re.compile(r"v=STSv1\s*;(?:.*;)?\s*id=([A-Za-z0-9]{1,32})\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; `mode` is enforce, testing or none."""

    id: str
    mode: str
    mx: tuple[str, ...]
    until: float

    def allows(self, host: str) -> bool:
        """Whether an MX host is one of those it names (§4.1)."""
        for pattern in self.mx:
            if pattern == host or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:]):
                return True
        return False


def parse(text: str, policy_id: str, now: float) -> Policy | None:
    """The policy in a policy file; None when it is none."""
    values: dict[str, str] = {}
    hosts = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            continue
        key, value = key.strip(), value.strip()
        if key == "mx":
            hosts.append(value.lower().rstrip("."))
        else:
            values.setdefault(key, value)
    age = values.get("max_age", "")
    if values.get("version") != "STSv1" or not (age.isascii() and age.isdigit()) or len(age) > 10:
        return None
    mode = values.get("mode", "")
    if mode not in ("enforce", "testing", "none") or (mode != "none" and not hosts):
        return None
    return Policy(policy_id, mode, tuple(hosts), now + min(int(age), MAX_AGE))


class Policies:
    """The policies of all domains, as far as anybody asked."""

    def __init__(self, state: Path, resolver: Resolver) -> None:
        self._directory = state / "mta-sts"
        self._resolver = resolver
        self._known: dict[str, Policy | None] = {}
        self._asked: dict[str, float] = {}

    async def of(self, domain: str) -> Policy | None:
        """The policy in force; None when there is none."""
        with contextlib.suppress(UnicodeError):
            domain = domain.encode("idna").decode("ascii").lower()
        now = time.time()
        if domain not in self._known:
            if len(self._known) > 5000:
                self._known.clear()
                self._asked.clear()
            self._known[domain] = self._load(domain)
        if time.monotonic() - self._asked.get(domain, -1e9) >= ASK_AGAIN:
            self._asked[domain] = time.monotonic()
            await self._renew(domain, now)
        policy = self._known[domain]
        return policy if policy is not None and policy.until > now and policy.mode != "none" else None

    async def _renew(self, domain: str, now: float) -> None:
        old = self._known.get(domain)
        try:
            records = [one for one in await self._resolver.txt(f"_mta-sts.{domain}") if one.startswith("v=STSv1")]
            found = _ID.match(records[0]) if len(records) == 1 else None
            if found is None or (old is not None and old.id == found[1] and old.until > now + 86400):
                return
            host = f"mta-sts.{domain}"
            addresses = await self._resolver.addresses(host)
            text = await asyncio.get_running_loop().run_in_executor(None, fetch, host, addresses)
        except (MailError, OSError, http.client.HTTPException, ValueError):
            return
        policy = parse(text, found[1], now)
        if policy is not None:
            self._known[domain] = policy
            with contextlib.suppress(OSError):
                self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
                atomic.write(self._directory / f"{domain}.json", json.dumps(asdict(policy)) + "\n")

    def _load(self, domain: str) -> Policy | None:
        try:
            found = json.loads(atomic.read(self._directory / f"{domain}.json", 1 << 20))
            return Policy(str(found["id"]), str(found["mode"]), tuple(map(str, found["mx"])), float(found["until"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def fetch(host: str, addresses: list[str], context: ssl.SSLContext | None = None) -> str:
    """The policy file of a domain: verified TLS, no redirects, bounded. Blocks. OSError, HTTPException, ValueError."""
    with socket.create_connection((addresses[0], PORT), timeout=TIMEOUT) as plain:
        deadline = time.monotonic() + TIMEOUT
        context = context or tlsclient.context(tlsclient.DEFAULT)
        with context.wrap_socket(plain, server_hostname=host) as secure:
            connection = http.client.HTTPSConnection(host, timeout=TIMEOUT)
            connection.sock = secure
            connection.request("GET", "/.well-known/mta-sts.txt", headers={"User-Agent": "lanmail"})
            answer = connection.getresponse()
            if answer.status != 200 or not (answer.getheader("Content-Type") or "").startswith("text/plain"):
                raise ValueError(f"HTTP {answer.status}")
            data = b""
            while len(data) <= MAX_POLICY and time.monotonic() < deadline and (piece := answer.read1(4096)):
                data += piece
    if len(data) > MAX_POLICY:
        raise ValueError("the policy is too long")
    return data.decode("utf-8")
