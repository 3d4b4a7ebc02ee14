"""What an account may say of its external mailboxes by itself, by the API or its pages.

Files, references, proxies, what concerns the certificate, and everything that leads mail to other people are for
administrators. A password goes only to the server that it was typed for: whoever names another server or user types it
again. A token is only used for whoever logged in for it from this account, at the provider's own servers.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping
from typing import Any

from lanmail import incoming, units
from lanmail.errors import ConfigError
from lanmail.incoming import Source
from lanmail.oauth import apps, trial, uses
from lanmail.oauth.apps import App
from lanmail.oauth.store import Store
from lanmail.paths import Paths
from lanmail.settings import Settings
from lanmail.sources.register import Place
from lanmail.web.api.frame import Refused
from lanmail.web.house import House

MAY = ("interface", "protocol", "host", "port", "tls", "auth", "user", "password", "app", "every", "window", "push",
       "delete", "delete_after", "delete_older", "move_to", "mark_seen", "max_size", "small_first", "folders",
       "exclude")
MOST = 50  # external mailboxes of one account that it makes by itself
OFTEN = 60.0  # seconds between two visits at least
PORTS = frozenset({0, *incoming.PORTS.values()})
_SERVER = frozenset({"host", "port", "protocol", "user", "tls", "auth", "app", "interface"})
_MOVED = frozenset({"host", "port", "protocol", "user", "tls"})  # with these, a password goes elsewhere


def refuse_foreign(found: Place) -> None:
    """Refused for a source that only administrators change."""
    if found.own.multidrop:
        raise Refused("forbidden", "this is a collective mailbox for several people: the administrator looks after it")


def check(changes: Mapping[str, Any]) -> None:
    """Refused for keys and values that are not for everybody."""
    for key, value in changes.items():
        if key not in Source.model_fields:
            continue  # said by the check that all files get
        if key not in MAY:
            raise Refused("forbidden", f"{key} is set by the administrator", key)
        if key == "password" and isinstance(value, str):
            raise Refused("forbidden", 'give the password itself, as {"secret": "…"}', key)
        if key == "tls" and value == "none":
            raise Refused("forbidden", "without TLS everybody on the way could read along; ask the administrator", key)
        if key == "auth" and value == "none":
            raise Refused("forbidden", "a mailbox needs a log-in", key)
        if key == "port" and value is not None and value not in PORTS:
            usual = ", ".join(str(port) for port in sorted(PORTS) if port)
            raise Refused("forbidden", f"port must be one of {usual}; others are set by the administrator", key)
        if key == "every" and value is not None and _often(value):
            raise Refused("forbidden", f"mail is fetched every {units.format_duration(OFTEN)} at most", key)


def _often(value: Any) -> bool:
    try:
        return units.duration(value) < OFTEN
    except ValueError:
        return False  # said by the check that all files get


def server(loaded: Settings, own: Source) -> None:
    """Refused when it is no server of a provider, but this machine."""
    host = own.host.rstrip(".").lower()
    known = {loaded.server.hostname, *loaded.httpd.hosts}
    if host and (host in known or _is_here(host) or any(map(_is_here, addresses(host)))):
        raise Refused("forbidden", "this is no mailbox of a provider; ask the administrator", "host")


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        if not re.fullmatch(r"[0-9a-fx.]+", host):
            return False
        try:
            found = ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001: what the system takes, too
        except (OSError, ValueError):
            return False
    plain = getattr(found, "ipv4_mapped", None) or found
    return bool(plain.is_loopback or plain.is_link_local or plain.is_unspecified or plain.is_multicast
                or _is_ours(plain))


def _is_ours(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """An address of this machine: what would go there would come from there. Nothing is sent."""
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((str(found), 9))
            return ipaddress.ip_address(way.getsockname()[0]) == found
    except OSError:
        return False


def addresses(host: str) -> list[str]:
    """Where a name leads just now; nowhere when nobody knows. A mailbox of one's own here would be fetched for ever."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def settled(paths: Paths, loaded: Settings, account: str, before: Source | None, own: Source, *,
            typed: bool) -> dict[str, Any]:
    """What has to be changed besides, so that the result is one that an account may have. Refused.

    `before` is None for a new source, `typed` says that a password came along.
    """
    if not own.user:
        raise Refused("invalid_field", "user must be set: whose mailbox is it?", "user")
    server(loaded, own)
    changed = {key for key in _SERVER if before is None or getattr(own, key) != getattr(before, key)}
    way = incoming.of(loaded.incoming, own)
    if way.auth == "oauth2":
        return _by_token(paths, account, before, own, way, changed) if changed else {}
    if before is not None and before.password and own.password and not typed and changed & _MOVED:
        raise Refused("invalid_field", "type the password again: it goes to another server or user than before",
                      "password")
    return {}


def _by_token(paths: Paths, account: str, before: Source | None, own: Source, way: Source,
              changed: set[str]) -> dict[str, Any]:
    app = app_of(paths, way.app)
    there = at_provider(app, way)
    made: dict[str, Any] = {"auth": "oauth2", **there, "password": None}
    if own.host and (own.host, own.port or there["port"]) != (there["host"], there["port"]):
        raise Refused("forbidden", f"with {app.title or app.name} mail is fetched from {there['host']}; leave host "
                                   "and port empty", "host")
    same = before is not None and before.interface != "disabled" and not changed & {"app", "user", "auth"}
    if own.interface != "disabled" and not same and not is_own_grant(paths, way.app, own.user, account):
        made["interface"] = "disabled"  # until somebody logs in for it from here
    elif own.interface != "disabled":
        made["interface"] = "standard"
    return made


def app_of(paths: Paths, name: str) -> App:
    """An app that people log in with. Refused."""
    if name not in apps.names(paths):
        raise Refused("invalid_field", "choose with which provider you log in", "app")
    try:
        app = apps.load(paths, name)
    except ConfigError:
        raise Refused("refused_by_rule", f"app {name} is not set up well; tell the administrator", "app") from None
    if not app.needs_person:
        raise Refused("forbidden", f"app {name} opens mailboxes without anybody's consent; the administrator sets up "
                                   "what uses it", "app")
    return app


def at_provider(app: App, way: Source) -> dict[str, Any]:
    """Host, port and TLS of the provider's own server. Refused."""
    found = _server(app, way.user, way.protocol)
    if not found:
        raise Refused("refused_by_rule", f"the mail server of {app.title or app.name} for {way.protocol.upper()} is "
                                         "not known here; tell the administrator", "app")
    return found


def servers(paths: Paths, app: str, user: str, protocol: str) -> dict[str, Any]:
    """The same where it is known; nothing is refused."""
    try:
        return _server(apps.load(paths, app), user, protocol)
    except ConfigError:
        return {}


def _server(app: App, user: str, protocol: str) -> dict[str, Any]:
    for one in trial.of_app(app, user):
        if one.protocol == protocol:
            return {"host": one.host, "port": one.port, "tls": one.tls if one.tls != "none" else "auto"}
    return {}


def is_own_grant(paths: Paths, app: str, address: str, account: str) -> bool:
    """Whether somebody logged in for this address from this account."""
    record = Store(paths).read(app, address, decrypt=False)
    return record is not None and record.account == account


def may_log_in(house: House, app: str, address: str, account: str) -> None:
    """Refused when a log-in by this account would take the place of one that is not its own."""
    record = Store(house.paths).read(app, address, decrypt=False)
    others = any(use.app == app and use.address.lower() == address.lower() and use.account != account
                 for use in uses.of(house.paths, house.settings(), house.read))
    if others or (record is not None and record.account != account):
        raise Refused("refused_by_rule", f"{address} is used elsewhere here; ask the administrator", "user")
