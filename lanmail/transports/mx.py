"""Transport mx: straight to the servers of the recipients' domain, found by DNS (RFC 5321 §5.1).

TLS is taken when it is offered, without looking at the certificate: what anybody on the way could prevent needs none. A
domain with an MTA-STS policy gets verified TLS or nothing. A domain without MX has its address for a server; one with a
null MX (RFC 7505) takes no mail.
"""

import ipaddress
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from lanmail import log
from lanmail.clients import mtasts, resolver, smtpclient, tlsclient, tunnel
from lanmail.clients.smtpclient import Client, Target, TlsFailed
from lanmail.errors import Permanent, Temporary
from lanmail.outgoing import Outgoing
from lanmail.transports import House, Job, Result, Unreachable, smtp
from lanmail.transports.pool import Pool

MAX_TRIES = 6  # addresses of one domain that one mail tries
DEAD = 60.0  # seconds that an address is left alone after it did not answer
_OPPORTUNISTIC = tlsclient.Wish(minimum="TLSv1", verify=False)


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where the mail of a domain goes, and under which policy."""

    names: list[str]
    policy: mtasts.Policy | None = None


class Transport:
    """See lanmail.transports."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._pool = Pool(lambda: house.settings().relay.idle_timeout)
        self._resolver = resolver.Resolver(lambda: house.settings().relay.resolver)
        self._policies = mtasts.Policies(house.paths.state, self._resolver)
        self._dead: dict[str, float] = {}  # address → until

    async def send(self, job: Job) -> list[Result]:
        """Send to the recipients of one domain. Temporary, Permanent, Unreachable."""
        domain, way = job.domain or job.recipients[0].address.domain, job.way
        key = (domain, way.helo, way.proxy, way.port)
        return await self._pool.send(key, job, lambda: self.connect(domain, way))

    async def connect(self, domain: str, way: Outgoing) -> Client:
        """A connection to the first server of the domain that takes one. Unreachable, Permanent."""
        hosts = await self.hosts(domain)
        trouble: Unreachable | None = None
        tries = 0
        for name in hosts.names:
            try:
                addresses = await self._addresses(name, way)
            except (Permanent, Temporary) as error:
                trouble = trouble or Unreachable(error.text, 451, "4.4.4")
                continue
            for address in addresses:
                if self._dead.get(address, 0.0) > time.monotonic():
                    trouble = trouble or Unreachable(f"{name} ({address}) did not answer a moment ago", 451, "4.4.1")
                    continue
                if tries >= MAX_TRIES:
                    break
                tries += 1
                try:
                    return await self._reach(name, address, way, hosts.policy)
                except Unreachable as error:
                    trouble = error
                    self._house.say(f"{domain}: {name} ({address}): {error.text}")
                    if error.dsn == "4.4.1":
                        self._bury(address)
        raise trouble or Unreachable(f"no server of {domain} can be reached", 451, "4.4.1")

    def _bury(self, address: str) -> None:
        if len(self._dead) > 5000:
            self._dead.clear()
        self._dead[address] = time.monotonic() + DEAD

    async def hosts(self, domain: str) -> Hosts:
        """The servers of a domain in the order in which to try them. Permanent, Unreachable."""
        if domain.startswith("["):
            return Hosts([domain])
        try:
            found = await self._resolver.mx(domain)
        except Temporary as error:
            raise Unreachable(error.text, error.code, error.dsn) from error
        if found and all(not host for _, host in found):
            raise Permanent(f"the domain {domain} takes no mail (null MX)", 556, "5.1.10")
        names = self._in_order(domain, [one for one in found if one[1]]) if found else [domain]
        if not found:
            try:
                await self._resolver.addresses(domain)
            except Temporary as error:
                raise Unreachable(error.text, error.code, error.dsn) from error
        policy = await self._policies.of(domain) if self._house.settings().relay.mta_sts else None
        if policy is None:
            return Hosts(names)
        allowed = [name for name in names if policy.allows(name)]
        if policy.mode != "enforce":
            if allowed != names:
                log.policy_broken(domain=domain, hosts=",".join(name for name in names if name not in allowed))
            return Hosts(names)
        if not allowed:
            raise Unreachable(f"none of the servers of {domain} is named in its MTA-STS policy", 451, "4.7.5")
        return Hosts(allowed, policy)

    def _in_order(self, domain: str, found: list[tuple[int, str]]) -> list[str]:
        """By preference, equal ones shuffled; those at or behind ourselves would send it back to us (§5.1)."""
        own = self._house.settings().server.hostname
        mine = [number for number, host in found if host == own]
        if mine:
            found = [one for one in found if one[0] < min(mine)]
            if not found:
                raise Permanent(f"mail for {domain} would come back to us: its best server is {own}", 554, "5.4.6")
        keyed = sorted((number, random.random(), host) for number, host in found)  # noqa: S311 — spreads load
        return [host for _, _, host in keyed]

    async def _addresses(self, name: str, way: Outgoing) -> list[str]:
        if name.startswith("["):
            return [str(ipaddress.ip_address(name[1:-1].lower().removeprefix("ipv6:")))]
        if way.proxy:
            return [name]  # the proxy resolves it
        return await self._resolver.addresses(name)

    async def _reach(self, name: str, address: str, way: Outgoing, policy: mtasts.Policy | None) -> Client:
        via = tunnel.of(way, self._house.paths.conf)
        target = Target(name, way.port or 25, smtp.helo(way, self._house), wish=_OPPORTUNISTIC, via=via,
                        address=address)
        wait = smtp.patience(self._house)
        if policy is not None:
            return await smtpclient.connect(replace(target, tls="starttls", wish=tlsclient.DEFAULT), wait)
        try:
            return await smtpclient.connect(target, wait)
        except TlsFailed as error:
            # RFC 7435: bad TLS is no reason to send nothing where none at all would do
            self._house.say(f"{name}: {error.text}: without TLS")
            return await smtpclient.connect(replace(target, tls="none"), wait)

    async def probe(self, way: Outgoing, _account: str | None, say: Callable[[str], None], domain: str = "") -> None:
        """Say where the mail of a domain goes, and reach its server."""
        hosts = await self.hosts(domain)
        under = f" (MTA-STS: {', '.join(hosts.policy.mx)})" if hosts.policy is not None else ""
        say(f"the servers of {domain} are {', '.join(hosts.names)}{under}")
        client = await self.connect(domain, way)
        secure = tlsclient.describe(client.tls) if client.tls is not None else "without TLS"
        say(f"connected to {client.target.host} ({client.target.address}), {secure}")
        client.close()

    async def close(self) -> None:
        """Give connections back."""
        await self._pool.close()
