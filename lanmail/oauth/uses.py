"""The places in conf/ that log in by a token, and the servers at which one can be tried."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lanmail import config, incoming, outgoing, remote
from lanmail.clients import tlsclient, tunnel
from lanmail.errors import ConfigError
from lanmail.oauth import trial
from lanmail.oauth.apps import App
from lanmail.oauth.pending import Wish
from lanmail.paths import Paths
from lanmail.settings import Account, Settings
from lanmail.sources import place, register


@dataclass(frozen=True, slots=True)
class Use:
    """One place. `account` is empty for the defaults of all; `server` None where no mail server is logged in to."""

    app: str
    address: str
    account: str
    where: str  # for people
    server: trial.Server | None
    source: str = ""  # the name of the source, where mail is fetched


def of(paths: Paths, settings: Settings, read: Callable[[Path], Account] | None = None) -> Iterator[Use]:
    """All places; those in broken files of accounts are left out. `read` as in sources/register.py."""
    hostname = settings.server.hostname
    if _by_token(settings.outgoing):
        yield _sending(paths, settings.outgoing, "", hostname)
    for path in config.account_files(paths):
        try:
            account = read(path) if read else config.load_account(path, settings.account_defaults)
        except ConfigError:
            continue
        way = outgoing.of(settings.outgoing, account.outgoing)
        if account.outgoing is not None and outgoing.given(account.outgoing) and _by_token(way):
            yield _sending(paths, way, account.name, hostname)
        yield from _fetching(paths, settings, account)


def _by_token(way: remote.Remote) -> bool:
    return bool(way.auth == "oauth2" and way.app and way.user)


def _sending(paths: Paths, way: outgoing.Outgoing, account: str, hostname: str) -> Use:
    server = None
    if way.transport == "smtp" and way.host:
        server = trial.Server("smtp", way.host, outgoing.port_of(way), way.tls, way.user, way.mechanism,
                              tlsclient.wish(way, paths.conf), tunnel.of(way, paths.conf), way.helo or hostname)
    return Use(way.app, way.user, account, f"[outgoing] of {account or 'lanmail.toml'}", server)


def _fetching(paths: Paths, settings: Settings, account: Account) -> Iterator[Use]:
    for name, own in account.sources.items():
        way = incoming.of(settings.incoming, own)
        if way.interface != "disabled" and way.host and _by_token(way):
            tls = incoming.tls_of(way)
            server = trial.Server(way.protocol, way.host, incoming.port_of(way), tls, way.user, way.mechanism,
                                  tlsclient.wish(way, paths.conf), tunnel.of(way, paths.conf))
            yield Use(way.app, way.user, account.name, f"source {account.name}/{name}", server, name)


def fetch_now(paths: Paths, settings: Settings, wish: Wish) -> None:
    """Mail that waited for this log-in need not wait any longer. OSError."""
    for use in of(paths, settings):
        if use.source and use.app == wish.app and use.address.lower() == wish.address.lower():
            place.request(paths, use.account, use.source)


def switch_on(paths: Paths, settings: Settings, wish: Wish) -> None:
    """The external mailbox that an account wanted this log-in for is fetched from now on. OSError."""
    for found in register.all_of(paths, settings, wish.account) if wish.source and wish.by == wish.account else ():
        way = found.source
        if found.name == wish.source and way.interface == "disabled" and way.auth == "oauth2" and (
                way.app, way.user.lower()) == (wish.app, wish.address.lower()):
            with contextlib.suppress(ConfigError):  # somebody broke the file meanwhile: it stays off
                config.edit(found.file, {found.key("interface"): "standard"})


def servers(paths: Paths, settings: Settings, app: App, wish: Wish) -> list[trial.Server]:
    """Where a token is tried: the servers that conf/ names for it, and the provider's for the protocols left."""
    found = [replace(use.server, user=wish.user) for use in of(paths, settings) if use.server is not None
             and use.app == wish.app and use.address.lower() == wish.address.lower()]
    known = {one.protocol for one in found}
    return list(dict.fromkeys([*found, *(one for one in trial.of_app(app, wish.user) if one.protocol not in known)]))
