"""The client's side of TLS: one context for each set of wishes, and what a server's certificate must be.

A context costs 20 ms to make (it reads all trusted certificates), so it is kept, and made anew when its CA file
changed. With fingerprints only those certificates count, whoever signed them and whatever their name and dates; else
`verify` asks for a trusted certificate with the server's name.

TLS 1.0 and 1.1 need OpenSSL's security level lowered (they sign with SHA-1); only who asks for them gets that.
"""

import hashlib
import os
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lanmail.errors import Temporary

VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_OLD = ("TLSv1", "TLSv1.1")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a connection asks of TLS."""

    minimum: str = "TLSv1.2"
    maximum: str = "TLSv1.3"
    verify: bool = True
    ca: Path | None = None  # trusted certificates in place of the system's
    fingerprints: tuple[str, ...] = ()  # SHA-256, lower-case hex without colons


DEFAULT = Wish()


class Section(Protocol):
    """The keys of a section of conf that speaks of TLS."""

    @property
    def tls_min(self) -> str: ...
    @property
    def tls_max(self) -> str: ...
    @property
    def tls_verify(self) -> bool: ...
    @property
    def tls_ca(self) -> str: ...
    @property
    def tls_fingerprint(self) -> list[str]: ...


def wish(section: Section, conf: Path) -> Wish:
    """The wishes of a section of conf."""
    return Wish(
        section.tls_min, section.tls_max, section.tls_verify, conf / section.tls_ca if section.tls_ca else None,
        tuple(normal(one) for one in section.tls_fingerprint),
    )


def normal(fingerprint: str) -> str:
    """A fingerprint as people copy it (`SHA256:AA:BB…`, blanks) → plain hex."""
    return fingerprint.lower().removeprefix("sha256:").replace(":", "").replace(" ", "")


_made: dict[tuple[Wish, tuple[int, ...]], ssl.SSLContext] = {}


def context(wished: Wish) -> ssl.SSLContext:
    """The context for these wishes. Temporary when the CA file cannot be used, or the versions exclude each other."""
    stamp: tuple[int, ...] = ()
    try:
        if wished.ca is not None:
            status = os.stat(wished.ca)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = _made.get((wished, stamp))
        if known is None:
            if len(_made) > 100:
                _made.clear()
            known = _made[(wished, stamp)] = _make(wished)
        return known
    except (OSError, ValueError) as error:
        what = wished.ca or "trusted certificates"
        raise Temporary(f"TLS cannot be set up: {what}: {error}", 454, "4.3.5") from error


def _make(wished: Wish) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    low, high = VERSIONS[wished.minimum], VERSIONS[wished.maximum]
    if low > high:
        raise ValueError(f"tls_min {wished.minimum} is above tls_max {wished.maximum}")
    if wished.minimum in _OLD:
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of TLS 1.0 and 1.1, which were asked for
        made.minimum_version, made.maximum_version = low, high
    made.options |= ssl.OP_NO_COMPRESSION
    if wished.fingerprints or not wished.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE  # fingerprints are compared by `check`, after the handshake
    elif wished.ca is not None:
        made.load_verify_locations(wished.ca)
    else:
        made.load_default_certs()
    return made


def check(wished: Wish, tls: ssl.SSLObject | ssl.SSLSocket) -> None:
    """After a handshake: compare the certificate with the fingerprints. Temporary when it is none of them."""
    if not wished.fingerprints:
        return
    shown = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    if shown not in wished.fingerprints:
        raise Temporary(f"the server's certificate has the fingerprint {shown}, which tls_fingerprint does not list",
                        454, "4.7.5")


def describe(tls: ssl.SSLObject) -> str:
    """Version and cipher, for the log."""
    cipher = tls.cipher()
    return f"{tls.version()}/{cipher[0] if cipher else '?'}"


def certificate(tls: ssl.SSLObject | ssl.SSLSocket) -> str:
    """What the server's certificate says, in one line: for whom, until when, by whom, its SHA-256."""
    from cryptography import x509  # only people ask for this; programs do without the library's memory

    raw = tls.getpeercert(binary_form=True) or b""
    try:
        found = x509.load_der_x509_certificate(raw)
        until = found.not_valid_after_utc.strftime("%Y-%m-%d")
        subject, issuer = found.subject.rfc4514_string(), found.issuer.rfc4514_string()
    except ValueError:
        return f"cannot be read, SHA-256 {hashlib.sha256(raw).hexdigest()}"
    return f"{subject} until {until}, by {issuer}, SHA-256 {hashlib.sha256(raw).hexdigest()}"


def reason(error: BaseException) -> str:
    """Why a handshake failed, in the words of people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        what = (error.reason or "failed").lower().replace("_", " ")
        return f"TLS handshake: {what}"
    if isinstance(error, TimeoutError):
        return "TLS handshake: no answer"
    return f"TLS handshake: {error or type(error).__name__}"
