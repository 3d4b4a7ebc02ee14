"""DKIM signatures (RFC 6376, RFC 8463): written, not checked; checking needs DNS and is the receivers' business.

    sign(data, key, now) -> bytes       the DKIM-Signature field (LF form) for a message in LF form
    load(path, domain, selector) -> Key     a private key, RSA of 1024 bits and more or Ed25519, PEM
    record(key) -> str                  what stands in DNS at SELECTOR._domainkey.DOMAIN

`data` must be what goes out but for its line ends: what changes an octet afterwards breaks the signature. Both
canonicalizations are `relaxed`; From, To, Subject and Date are signed once more than they are there, so that nobody can
add another.
"""

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from lanmail import atomic, message
from lanmail.errors import Temporary

# RFC 6376 §5.4.1. Not those that servers on the way may change: Return-Path, Received; nor Bcc.
SIGNED = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"sender",
    b"list-id", b"list-unsubscribe", b"list-unsubscribe-post", b"auto-submitted",
)
ONCE_MORE = frozenset((b"from", b"to", b"subject", b"date"))
MIN_BITS = 1024  # RFC 8301 §3.2: signers should use 2048
WIDTH = 72
_field = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*").findall
_blanks = re.compile(rb"[ \t]+").sub
_at_end = re.compile(rb"[ \t]+\n").sub


@dataclass(frozen=True, slots=True)
class Key:
    """A private key, and where its public half is published."""

    domain: str  # A-labels
    selector: str
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        return "rsa-sha256" if isinstance(self.private, rsa.RSAPrivateKey) else "ed25519-sha256"

    def sign(self, data: bytes) -> bytes:
        """RFC 8463 §3: Ed25519 signs the hash."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(hashlib.sha256(data).digest())


_loaded: dict[tuple[Path, str, str], tuple[tuple[int, ...], Key]] = {}


def load(path: Path, domain: str, selector: str) -> Key:
    """The key in a PEM file, read again when the file changed. Temporary."""
    place = (path, domain, selector)
    try:
        status = os.stat(path)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = _loaded.get(place)
        if known is None or known[0] != stamp:
            private = serialization.load_pem_private_key(atomic.read(path, 64 << 10), None)
            if isinstance(private, rsa.RSAPrivateKey):
                if private.key_size < MIN_BITS:
                    raise ValueError(f"an RSA key of {private.key_size} bits is too short")
            elif not isinstance(private, ed25519.Ed25519PrivateKey):
                raise ValueError("it is neither an RSA nor an Ed25519 key")
            name = domain.encode("idna").decode("ascii").lower()
            known = _loaded[place] = (stamp, Key(name, selector, private))
        return known[1]
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Temporary(f"the DKIM key {path} cannot be used: {error}", 451, "4.3.5") from error


def record(key: Key) -> str:
    """The text of the TXT record (RFC 6376 §3.6.1, RFC 8463 §4)."""
    public = key.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = "rsa"
        raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        kind = "ed25519"
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"


def sign(data: bytes, key: Key, now: int) -> bytes:
    """The field to put in front of the message."""
    end = message.header_end(data)
    fields = [(field.partition(b":")[0].rstrip(b" \t").lower(), field) for field in _field(data[:end])
              if b":" in field]
    chosen = _chosen(fields)
    names = [name for name, _ in chosen]
    digest = base64.b64encode(hashlib.sha256(relaxed_body(data[end:])).digest()).decode()
    unsigned = _folded(
        [f"v=1; a={key.algorithm}; c=relaxed/relaxed;", f"d={key.domain}; s={key.selector}; t={now};",
         "h=" + ":".join(name.decode() for name in names) + ";", f"bh={digest};", "b="])
    signed = b"".join(relaxed_field(field) for _, field in chosen if field)
    signed += relaxed_field(unsigned.encode() + b"\n")[:-2]
    value = base64.b64encode(key.sign(signed)).decode()
    lines = [value[start : start + WIDTH] for start in range(0, len(value), WIDTH)]
    return (unsigned + "\n\t ".join(lines) + "\n").encode()


def _chosen(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """(name, field) in the order of h=; several of a name from the bottom up (§5.4.2); an empty field is none."""
    there: dict[bytes, list[bytes]] = {}
    for name, field in fields:
        there.setdefault(name, []).append(field)
    chosen: list[tuple[bytes, bytes]] = []
    for name in SIGNED:
        found = there.get(name, [])
        chosen += [(name, field) for field in reversed(found)]
        if name in ONCE_MORE:
            chosen.append((name, b""))
    return chosen


def _folded(tags: list[str]) -> str:
    """The field in lines; blanks after a colon of h= are allowed (§3.5)."""
    lines = []
    for tag in tags:
        while len(tag) > WIDTH and (cut := tag.rfind(":", 0, WIDTH)) > 0:
            lines.append(tag[: cut + 1])
            tag = tag[cut + 1 :]
        lines.append(tag)
    return "DKIM-Signature: " + "\n\t".join(lines)


def relaxed_field(field: bytes) -> bytes:
    """RFC 6376 §3.4.2, with CRLF."""
    name, _, value = field.partition(b":")
    value = _blanks(b" ", value.replace(b"\r", b"").replace(b"\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4, with CRLF."""
    if body and not body.endswith(b"\n"):
        body += b"\n"
    body = _blanks(b" ", _at_end(b"\n", body)).rstrip(b"\n")
    return body.replace(b"\n", b"\r\n") + b"\r\n" if body else b""
