"""The two trace lines at the top of a message: Return-Path and Received (RFC 5321 §4.4)."""

import ipaddress
import re
import ssl
import time
from functools import lru_cache

from lanmail.address import Address

_strange = re.compile(r"[^A-Za-z0-9.:_\-\[\]\u00a1-\u2027\u202a-\ud7ff\ue000-\U0010fffd]").sub

# RFC 3848 and RFC 6531 §4.3: the word after "with"
_LETTERS = ("", "A", "S", "SA")


def clean_helo(name: str) -> str:
    """A HELO name that can stand in a header, a log and an envelope line."""
    return _strange("_", name[:255]) or "unknown"


def protocol(*, lmtp: bool, esmtp: bool, utf8: bool, tls: bool, account: bool) -> str:
    """ESMTPSA and its relatives."""
    if not esmtp and not lmtp:
        return "SMTP"
    word = "LMTP" if lmtp else "SMTP" if utf8 else "ESMTP"
    return f"{'UTF8' if utf8 else ''}{word}{_LETTERS[2 * tls + account]}"


def cipher(tls: ssl.SSLObject) -> str:
    """TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)."""
    name, _, bits = tls.cipher() or ("unknown", "", 0)
    return f"{tls.version()} with cipher {name} ({bits} bits)"


def literal(client: str) -> str:
    """An IP address as an address literal, RFC 5321 §4.1.3."""
    try:
        return f"[IPv6:{client}]" if ipaddress.ip_address(client.partition("%")[0]).version == 6 else f"[{client}]"
    except ValueError:
        return "[unknown]"


@lru_cache(maxsize=4)
def date(second: int) -> str:
    """RFC 5322 §3.3, in local time."""
    local = time.localtime(second)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[local.tm_wday]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[local.tm_mon - 1]
    return time.strftime(f"{day}, %d {month} %Y %H:%M:%S %z", local)


def lines(
    sender: Address | None, start: str, entry_id: str, recipient: Address | None, now: float
) -> bytes:
    """Return-Path and Received. `start` is the part that is the same for a whole session (`session_part`);
    `recipient` only when there is but one, so that no blind copy is told."""
    to = f"\n\tfor <{recipient}>" if recipient else ""
    path = sender if sender is not None else ""
    return f"Return-Path: <{path}>\nReceived: {start} id {entry_id}{to}; {date(int(now))}\n".encode()


def session_part(helo: str, client: str, hostname: str, with_: str, tls: str | None) -> str:
    """from … by … with …"""
    secured = f"\n\t(using {tls})" if tls else ""
    return f"from {helo} ({literal(client)}){secured}\n\tby {hostname} (lanmail) with {with_}"
