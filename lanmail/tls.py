"""The server's side of TLS: contexts that follow their files.

A program asks once per listener for a context and gives it to the listening socket. When the certificate or key
changes on disk, the next handshake uses the new one: no restart, no signal. A pair that cannot be loaded (half
written, key and certificate of different makes) leaves the last good one in force and is warned about once.

TLS 1.2 is the oldest version unless a listener is told otherwise; below 1.2 OpenSSL also wants its security level
lowered, because those versions sign with SHA-1. Only the `lan` listener, for scanners and old devices, does that.

How the certificate comes to be is in `certificates`.
"""

import hashlib
import os
import ssl
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path

from lanmail import atomic, log
from lanmail.paths import Paths
from lanmail.settings import Settings

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_OLD = ("TLSv1", "TLSv1.1")
_cache: dict[tuple[Path, Path, str], "_Follower"] = {}

_Stamp = tuple[tuple[int, int, int], ...]


def server_context(
    settings: Settings, paths: Paths, *, min_version: str | None = None
) -> ssl.SSLContext:
    """The context for a listening socket; the same one for the same files and version.

    Raises OSError (ssl.SSLError among them) when there is no usable certificate yet.
    """
    cert, key = paths.conf / settings.tls.cert, paths.conf / settings.tls.key
    wanted = (cert, key, min_version or settings.tls.min_version)
    follower = _cache.get(wanted)
    if follower is None:
        follower = _cache[wanted] = _Follower(*wanted)
    return follower.front


def make_ca(
    paths: Paths, domain: str, hostnames: Iterable[str] = (), ips: Iterable[str] = ()
) -> list[Path]:
    """Make what is missing of our own CA and server certificate; see `certificates.make_ca`."""
    from lanmail import certificates  # 10 MB and 60 ms that only this needs, and no server

    return certificates.make_ca(paths, domain, hostnames, ips)


def fingerprint(path: Path) -> str:
    """SHA-256 of a PEM file's first certificate, as mail programs show it: AA:BB:…; raises OSError, ValueError."""
    pem = atomic.read(path).decode("ascii")
    end = "-----END CERTIFICATE-----"
    first = pem[: pem.index(end) + len(end)]
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN CERTIFICATE-----") :]))
    return digest.digest().hex(":").upper()


def _make(cert: Path, key: Path, min_version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of TLS 1.0 and 1.1, which were asked for
        context.minimum_version = _VERSIONS[min_version]
    if min_version in _OLD:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    # RFC 5746; a client that renegotiates can only burn our time
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if os.stat(key).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise PermissionError(f"{key} can be read by others; its mode must be 0600 or 0640")
    context.load_cert_chain(cert, key)
    return context


class _Follower:
    """One context on a socket, which hands each handshake to a context of the files as they are now."""

    def __init__(self, cert: Path, key: Path, min_version: str) -> None:
        self._cert, self._key, self._min_version = cert, key, min_version
        self._stamp = self._stat()
        self.front = self._current = _make(cert, key, min_version)
        # Called in every handshake, also when the client names no server.
        self.front.sni_callback = self._choose

    def _choose(self, tls: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        stamp = self._stat()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = _make(self._cert, self._key, self._min_version)
            except OSError as error:
                log.certificate_unusable(file=str(self._cert), error=str(error))
        if self._current is not self.front:
            tls.context = self._current

    def _stat(self) -> _Stamp:
        try:
            files = [os.stat(path) for path in (self._cert, self._key)]
        except OSError:
            return ()
        return tuple((file.st_ino, file.st_size, file.st_mtime_ns) for file in files)
