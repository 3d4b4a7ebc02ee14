"""What the server can do, as clients are told (RFC 3501 §7.2.1), and what they may ENABLE (RFC 5161).

An extension is named here in the commit that finishes it. An administrator can hide names, for all or for one account,
from clients that use an extension wrongly: `STATUS=SIZE` hides just that, `THREAD` every `THREAD=…`.
"""

import ipaddress
from typing import TYPE_CHECKING

from lanmail.imap.session import State

if TYPE_CHECKING:
    from lanmail.imap.session import Session

ALWAYS = ("IMAP4rev1", "SASL-IR", "LITERAL+", "ID", "ENABLE", "IDLE")
LOGGED_IN = (
    "NAMESPACE",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "CHILDREN",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "STATUS=SIZE",
    "ESEARCH",
    "SEARCH=FUZZY",
    "INPROGRESS",
    "SEARCHRES",
    "WITHIN",
    "MULTIAPPEND",
    "CONDSTORE",
    "QRESYNC",
    "ACL",
    "RIGHTS=texk",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "METADATA",
    "NOTIFY",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=REFERENCES",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFS",
    "PREVIEW",
    "SAVEDATE",
    "OBJECTID",
    "BINARY",
    "REPLACE",
    "UTF8=ACCEPT",
)
ENABLES: frozenset[str] = frozenset({"CONDSTORE", "QRESYNC", "UTF8=ACCEPT"})


def text(session: "Session") -> str:
    """What this client may know of, now."""
    return " ".join(_shown(session, _names(session)))


def enables(session: "Session") -> frozenset[str]:
    """What ENABLE can switch on; what is hidden it cannot."""
    return frozenset(_shown(session, list(ENABLES)))


def _names(session: "Session") -> list[str]:
    names = list(ALWAYS)
    if session.state is not State.FRESH:
        return [*names, *LOGGED_IN, f"APPENDLIMIT={session.worker.limits.max_append}"]
    if not session.connection.secure and session.worker.tls_possible:
        names.append("STARTTLS")
    allowed = may_log_in(session)
    names += [f"AUTH={name}" for name in session.worker.checker.mechanisms(secure=allowed)]
    return names if allowed else [*names, "LOGINDISABLED"]


def _shown(session: "Session", names: list[str]) -> list[str]:
    hidden = set(session.worker.config.imapd.hide_capabilities)
    if session.account is not None:
        hidden.update(session.account.hide_capabilities)
    hidden = {name.upper() for name in hidden}
    return [name for name in names if hidden.isdisjoint((name.upper(), name.partition("=")[0].upper()))]


def may_log_in(session: "Session") -> bool:
    """Passwords only where nobody can listen: under TLS, or from the networks that the admin named."""
    if session.connection.secure:
        return True
    try:
        peer = ipaddress.ip_address(session.connection.peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return any((mapped or peer) in network for network in session.worker.cleartext_networks)
