"""Where our OAuth2 server is reached, and where it may send people back to.

    base(settings)            its address for browsers and clients, the issuer
    urls(settings)            the endpoints, by the names of RFC 8414
    device_page(settings)     where people type the code of a program that has no browser
    redirect_problem(uri)     why a client cannot register this address
    is_loopback(uri)          an address on the client's own machine, which every client may use (RFC 8252 §7.3)
"""

from urllib.parse import urlsplit

from lanmail.settings import Settings

OOB = "urn:ietf:wg:oauth:2.0:oob"  # the page shows the code, to be copied
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def base(settings: Settings) -> str:
    """Where browsers reach us, without a slash at the end: the issuer (RFC 8414 §2)."""
    own, server = settings.httpd, settings.server
    if own.public_url:
        return own.public_url.rstrip("/")
    if own.tls_port:
        return f"https://{server.hostname}:{server.port(own.tls_port)}"
    return f"http://{server.hostname}:{server.port(own.port)}"


def urls(settings: Settings) -> dict[str, str]:
    """The endpoints, by the names of RFC 8414."""
    at = base(settings)
    return {"authorization_endpoint": f"{at}/oauth2/auth", "token_endpoint": f"{at}/oauth2/token",
            "end_session_endpoint": f"{at}/oauth2/logout", "revocation_endpoint": f"{at}/oauth2/revoke",
            "introspection_endpoint": f"{at}/oauth2/introspect",
            "device_authorization_endpoint": f"{at}/oauth2/device_authorization"}


def device_page(settings: Settings) -> str:
    """Where people type the code of a program without a browser (RFC 8628 §3.2)."""
    return f"{base(settings)}/oauth2/device"


def is_loopback(uri: str) -> bool:
    """http://localhost, 127.0.0.1 or [::1] with any port and path; no user, no fragment."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    plain = uri.isprintable() and " " not in uri and "\\" not in uri
    return (plain and parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK and "@" not in parts.netloc
            and not parts.fragment and "#" not in uri)


def redirect_problem(uri: str) -> str | None:
    """Why this cannot be registered as a redirect URI; None when it can."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return "it is no address"
    if not uri.isprintable() or " " in uri or "\\" in uri or "#" in uri or "@" in parts.netloc or "*" in uri:
        return "it must be one exact address, without user, fragment and '*'"
    if parts.scheme == "https" and parts.hostname:
        return None
    if is_loopback(uri) or ("." in parts.scheme and parts.scheme not in ("http", "https")):
        return None
    return "it must start with https:// (http:// only for this machine: localhost, 127.0.0.1 or [::1])"
