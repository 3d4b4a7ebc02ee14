"""What the answer to EHLO and HELP says."""

from functools import lru_cache
from typing import TYPE_CHECKING

from lanmail import policy

if TYPE_CHECKING:
    from lanmail.smtp.session import Session


def offers_tls(session: "Session") -> bool:
    """Whether STARTTLS may be said now."""
    return session.client.tls is None and session.service.has_tls


def wants_login(session: "Session") -> bool:
    """Whether this listener has log-in at all."""
    kind = session.client.kind
    return kind in (policy.SUBMISSION, policy.SUBMISSIONS) or (kind == policy.MX and session.service.smtpd.mx_auth)


def is_secure(session: "Session") -> bool:
    """Whether a password may be sent: nobody can overhear it."""
    return session.client.tls is not None or policy.within(session.client.address, session.service.cleartext_networks)


def answer(session: "Session") -> bytes:
    """The reply to EHLO or LHLO."""
    mechanisms: tuple[str, ...] = ()
    if wants_login(session) and session.client.account is None:
        mechanisms = tuple(session.service.checker.mechanisms(secure=is_secure(session)))
    smtpd = session.service.smtpd
    return _answer(session.service.hostname, smtpd.max_size, smtpd.max_recipients, offers_tls(session), mechanisms)


@lru_cache(maxsize=64)
def _answer(hostname: str, max_size: int, max_recipients: int, tls: bool, mechanisms: tuple[str, ...]) -> bytes:
    words = [hostname, "PIPELINING", f"SIZE {max_size}"]
    if tls:
        words.append("STARTTLS")
    if mechanisms:
        words.append(f"AUTH {' '.join(mechanisms)}")
    words += ["8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", f"LIMITS RCPTMAX={max_recipients}"]
    return "\r\n".join([*(f"250-{word}" for word in words), "250 HELP"]).encode()


def help_text(session: "Session", verb: str) -> bytes:
    """The reply to HELP: the verbs, or how one of them is written."""
    name = session.verbs.get(verb.upper().encode())
    text = getattr(getattr(session, name), "__smtp_syntax__", "") if name else ""
    if text:
        extended = getattr(getattr(session, str(name)), "__smtp_syntax_extended__", None) or ""
        return f"214 2.0.0 {text}{extended}".encode()
    known = " ".join(sorted(verb.decode() for verb in session.verbs))
    return f"214 2.0.0 {known}".encode()
