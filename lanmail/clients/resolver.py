"""DNS as sending needs it: MX, addresses, TXT, from the system's resolvers or from the one that conf names.

An answer that says "there is none" is permanent (NoSuchDomain, an empty list); no answer at all is Temporary.
"""

from collections.abc import Callable

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from lanmail import units
from lanmail.errors import Permanent, Temporary

LIFETIME = 20.0  # seconds for one question, all servers and repetitions together
MAX_HOSTS = 20  # of a domain that lists hundreds, the first ones are enough


class NoSuchDomain(Permanent):
    """The domain does not exist, or has nothing of the kind."""


class Resolver:
    """Asks; answers are kept as long as their TTL. `server` is `HOST` or `HOST:PORT`, empty for the system's."""

    def __init__(self, server: Callable[[], str]) -> None:
        self._server = server
        self._for: str | None = None
        self._made: dns.asyncresolver.Resolver | None = None

    def _resolver(self) -> dns.asyncresolver.Resolver:
        wanted = self._server()
        if self._made is None or wanted != self._for:
            made = dns.asyncresolver.Resolver(configure=not wanted)
            if wanted:
                host, port = units.split_port(wanted, 53)
                made.nameservers, made.port = [host], port
            made.lifetime = LIFETIME
            made.cache = dns.resolver.LRUCache(2000)
            self._made, self._for = made, wanted
        return self._made

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer | None:
        """The answer, None when the name exists and has nothing of this kind. NoSuchDomain, Temporary."""
        try:
            asked = dns.name.from_unicode(name) if not name.isascii() else dns.name.from_text(name)
            return await self._resolver().resolve(asked, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            raise NoSuchDomain(f"the domain {name} does not exist", 550, "5.1.2") from None
        except dns.resolver.YXDOMAIN as error:
            raise NoSuchDomain(f"the name {name} is too long", 550, "5.1.2") from error
        except (dns.resolver.NoResolverConfiguration, dns.exception.DNSException, OSError, UnicodeError) as error:
            if isinstance(error, dns.name.LabelTooLong | dns.name.NameTooLong | dns.name.EmptyLabel | UnicodeError):
                raise NoSuchDomain(f"{name} is no domain name", 550, "5.1.2") from error
            reason = "no answer" if isinstance(error, dns.exception.Timeout) else type(error).__name__
            raise Temporary(f"DNS: {kind} of {name}: {reason}", 451, "4.4.3") from error

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """(preference, host) in order; an empty list when there are none; host "" is the null MX (RFC 7505)."""
        answer = await self._ask(domain, "MX")
        if answer is None or answer.rrset is None:
            return []
        found = [(int(one.preference), one.exchange.to_text(omit_final_dot=True).lower()) for one in answer.rrset]
        return sorted((number, "" if host in (".", "@") else host) for number, host in found)[:MAX_HOSTS]

    async def addresses(self, host: str) -> list[str]:
        """IPv6 and IPv4 addresses in turn. NoSuchDomain when there are none; Temporary."""
        lists: list[list[str]] = []
        trouble: Permanent | Temporary | None = None
        for kind in ("AAAA", "A"):
            try:
                answer = await self._ask(host, kind)
                lists.append([one.address for one in answer.rrset] if answer is not None and answer.rrset else [])
            except (NoSuchDomain, Temporary) as error:
                trouble = error if trouble is None or isinstance(error, Temporary) else trouble
                lists.append([])
        six, four = lists
        found = [one for pair in zip(six, four, strict=False) for one in pair]
        shorter = min(len(six), len(four))
        found += six[shorter:] + four[shorter:]
        if not found:
            raise trouble or NoSuchDomain(f"the host {host} has no address", 550, "5.4.4")
        return found[:MAX_HOSTS]

    async def txt(self, name: str) -> list[str]:
        """The TXT records of a name; an empty list when there are none. Temporary."""
        try:
            answer = await self._ask(name, "TXT")
        except NoSuchDomain:
            return []
        if answer is None or answer.rrset is None:
            return []
        return [b"".join(one.strings).decode("utf-8", "replace") for one in answer.rrset]
