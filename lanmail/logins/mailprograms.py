"""Registering mail programs that log in by OAuth2: what the command line and the HTTP API have in common.

    add(register, "meier", "Thunderbird", ["imap", "smtp"])     the client, and its secret, which is shown this once
    limit(client, ["smtp"])                                     the same client, for less
    services(client)                                            what it may be used for

Everything is kept by grants.Register. Refused has a sentence for people, and the name of what is wrong.
"""

from collections.abc import Sequence
from dataclasses import replace

from lanmail.logins import endpoints
from lanmail.logins.grants import INTROSPECT, SCOPES, Client, Register

MOST = 50  # of one account
_LONGEST = 100  # characters of a name
_REDIRECTS = 20


class Refused(Exception):
    """It cannot be done; the text says why."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def add(register: Register, account: str, name: str, wanted: Sequence[str] = (), *, public: bool = False,
        redirects: Sequence[str] = ()) -> tuple[Client, str]:
    """A new mail program of an account, for all services or those that are named. Refused, OSError."""
    _check_name(name)
    for uri in redirects:
        if (problem := endpoints.redirect_problem(uri)) is not None:
            raise Refused("redirect_uris", f"{uri}: {problem}")
    if len(redirects) > _REDIRECTS:
        raise Refused("redirect_uris", f"at most {_REDIRECTS} addresses")
    scopes = _scopes(wanted or tuple(SCOPES))
    if len(register.clients(account)) >= MOST:
        raise Refused("account", f"{account} has {MOST} clients already; remove one that is not used")
    return register.add_client(account, name.strip(), scopes, public=public, redirect_uris=tuple(redirects))


def add_server(register: Register, name: str) -> tuple[Client, str]:
    """A new server that may ask whether a token is good. Refused, OSError."""
    _check_name(name)
    return register.add_client("", name.strip(), [INTROSPECT])


def limit(client: Client, wanted: Sequence[str]) -> Client:
    """The same client, for these services only. Refused."""
    if INTROSPECT in client.scopes:
        raise Refused("services", "this client is a server that asks about tokens; it has no services")
    return replace(client, scopes=tuple(_scopes(wanted)))


def services(client: Client) -> list[str]:
    """What it may be used for; a server that asks about tokens for nothing."""
    return [service for service, scope in SCOPES.items() if scope in client.scopes]


def _scopes(wanted: Sequence[str]) -> list[str]:
    if not wanted:
        raise Refused("services", "a client without any service is of no use; disable or remove it")
    for one in wanted:
        if one not in SCOPES:
            raise Refused("services", f"{one!r} is no service; there are {', '.join(SCOPES)}")
    return [scope for service, scope in SCOPES.items() if service in wanted]


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > _LONGEST or not name.isprintable():
        raise Refused("name", f"a name has 1 to {_LONGEST} characters, on one line")
