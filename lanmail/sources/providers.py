"""Well-known providers: which servers have the mailbox of an address (providers.toml).

    of_address(domain) / named(name) / of_server(host) -> Provider or None
    by_mx(domain, resolver) looks who takes the domain's mail: a company's own domain at a provider
    find(settings, mailbox, named, host)    all of it for a new source; blocks
"""

import asyncio
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanmail.clients.resolver import Resolver
from lanmail.errors import MailError
from lanmail.settings import Settings

_PATIENCE = 5.0  # seconds for the DNS to say whose mailbox it is


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider; both servers speak TLS from the first octet at the usual port."""

    name: str
    title: str
    imap: str
    pop3: str = ""
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    advice: str = ""
    german: str = ""  # the same
    app: bool = False  # passwords are refused

    def told(self, language: str) -> str:
        """What people must do there first."""
        return self.german if language == "de" else self.advice


@functools.cache
def known() -> dict[str, Provider]:
    """All of them, by name."""
    data = tomllib.loads(Path(__file__).with_name("providers.toml").read_text())
    return {name: _provider(name, table) for name, table in data.items()}


def _provider(name: str, table: dict[str, Any]) -> Provider:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Provider(name, **given)


def of_address(domain: str) -> Provider | None:
    """Whose domain it is."""
    return next((one for one in known().values() if _ends(domain, one.domains)), None)


def of_server(host: str) -> Provider | None:
    """Whose server it is."""
    return next((one for one in known().values() if host and host.lower() in (one.imap, one.pop3)), None)


async def by_mx(domain: str, resolver: Resolver) -> Provider | None:
    """Who takes the mail of a domain; None when the DNS does not say."""
    try:
        hosts = [host for _, host in await resolver.mx(domain)]
    except MailError:
        return None
    return next((one for host in hosts for one in known().values() if _ends(host.rstrip("."), one.mx)), None)


def find(loaded: Settings, mailbox: str, named: str = "", host: str = "") -> Provider | None:
    """The provider of a new source: as named, else by its server, else by the address. KeyError for an unknown name."""
    if named:
        return known()[named]
    if host:
        return of_server(host)
    domain = mailbox.rpartition("@")[2]
    if not domain or domain == mailbox or loaded.incoming.host:
        return None
    return of_address(domain) or asyncio.run(_asked(loaded, domain))


async def _asked(loaded: Settings, domain: str) -> Provider | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await by_mx(domain, Resolver(lambda: loaded.relay.resolver))
    except TimeoutError:
        return None


def _ends(name: str, ends: tuple[str, ...]) -> bool:
    folded = name.lower()
    return any(folded == end or folded.endswith(f".{end}") for end in ends)
