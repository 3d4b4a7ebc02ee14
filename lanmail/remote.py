"""A server elsewhere and the log-in to it: what [outgoing] and [incoming] have in common, and how defaults count.

`Remote` holds the keys; `combined` puts an account's own table over the default one. An account that says nothing uses
the default, and a changed default counts for all of those at once. One that names a server of its own takes nothing of
the default's server, TLS and log-in, for a password must never go to another server than the one it is for; one that
only names `user` and `password` logs in with them at the default's server. Everything else comes from the default key
by key.
"""

from collections.abc import Set
from typing import Any, Literal

from lanmail import keys, secret
from lanmail.keys import Model
from lanmail.units import Fingerprint, Host, Proxy

_key = keys.key

Tls = Literal["none", "auto", "starttls", "implicit"]
TlsVersion = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
Mechanism = Literal["", "PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER"]
Secret = secret.Reference

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})  # a password in clear stays on this machine
LOGIN = frozenset({"auth", "user", "password", "mechanism", "app"})
PROXY = frozenset({"proxy", "proxy_user", "proxy_password"})


class Remote(Model):
    """A server elsewhere, and how to log in there."""

    host: Host = _key("", "The server.")
    port: int = _key(0, "Its port; 0 is the usual one.", ge=0, le=65535)
    tls: Tls = _key("auto", "TLS when it is offered (auto), by STARTTLS, from the first octet (implicit), or none.")
    tls_min: TlsVersion = _key("TLSv1.2", "Oldest TLS version to use.")
    tls_max: TlsVersion = _key("TLSv1.3", "Newest TLS version to use; the same as tls_min means exactly this one.")
    tls_verify: bool = _key(True, "Check the server's certificate and its name.")
    tls_ca: str = _key("", "Certificates to trust in place of the system's, PEM; relative to conf/.")
    tls_fingerprint: list[Fingerprint] = _key([], "SHA-256 of the server's certificate: only these, whoever signed.")
    auth: Literal["none", "password", "oauth2"] = _key("password", "How to log in, if there is a user.")
    user: str = _key("", "User name to log in with; empty: no log-in.")
    password: Secret = _key("", "Its password: file:secrets/NAME or credential:NAME.")
    mechanism: Mechanism = _key("", "The only SASL mechanism to use; empty: the best of those offered.")
    app: str = _key("", "With auth = oauth2: the app whose tokens are used.")
    proxy: Proxy = _key("", "Proxy for all connections: http://HOST:PORT or socks5://HOST:PORT.")
    proxy_user: str = _key("", "User name at the proxy.")
    proxy_password: Secret = _key("", "Its password: file:secrets/NAME or credential:NAME.")


def given(own: Remote) -> set[str]:
    """The keys that a table names; a section without a key in it says nothing."""
    return {name for name in own.model_fields_set
            if not isinstance(part := getattr(own, name), Model) or part.model_fields_set}


def combined(default: Remote, own: Remote, policy: Set[str], *, own_server: bool) -> dict[str, Any]:
    """The values that hold for `own`, by key; `policy` are the keys that say nothing about a server."""
    said = given(own)
    inherited = set(policy)
    if not own_server:
        inherited |= type(own).model_fields.keys() - LOGIN - PROXY
        if not said & LOGIN:
            inherited |= LOGIN
    if not said & PROXY:
        inherited |= PROXY
    inherited = (inherited & type(default).model_fields.keys()) - said
    return {name: getattr(default if name in inherited else own, name) for name in type(own).model_fields}
