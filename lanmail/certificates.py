"""Our own CA and the server certificate it signs, for an office where no public CA reaches.

Made once by `lanmail init`; people then import conf/tls/ca.pem into their mail programs. Nothing is ever overwritten:
a certificate from elsewhere is put in place of server.pem and server.key and stays. `renew` is for the certificates
made here only.

RSA 2048 with SHA-256, although ECDSA P-256 is quicker: it is what scanners, old Outlooks and TLS 1.0 cipher suites
understand. A server certificate lives 825 days, the most that Apple's systems accept from a private CA; the CA ten
years. Renewing keeps the key, so that one atomic replacement of server.pem is all: there is no moment at which
key and certificate on disk do not belong together.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lanmail import atomic, paths

CA_DAYS = 3652
SERVER_DAYS = 825
RENEW_DAYS = 30
_ALWAYS_NAMES = ("localhost",)
_ALWAYS_IPS = ("127.0.0.1", "::1")
# Clocks of small machines are late; a certificate must be good the minute it is made.
_BACKDATED = datetime.timedelta(days=1)


def make_ca(where: paths.Paths, domain: str, hostnames: Iterable[str] = (), ips: Iterable[str] = ()) -> list[Path]:
    """Make what is missing of CA and server certificate in conf/tls; the files made.

    The certificate is good for `hostnames` (mail.<domain> when there are none), localhost, `ips` and the loopback
    addresses. Raises ValueError for a name that cannot stand in a certificate, FileNotFoundError when one half of a
    pair is there without the other.
    """
    names = _names([*(list(hostnames) or [f"mail.{domain}"]), *_ALWAYS_NAMES], [*ips, *_ALWAYS_IPS])
    ca_files = where.tls / "ca.pem", where.tls / "ca.key"
    server_files = where.tls / "server.pem", where.tls / "server.key"
    made: list[Path] = []
    where.tls.mkdir(mode=0o755, parents=True, exist_ok=True)
    if _missing(*server_files):
        if _missing(*ca_files):
            key = _new_key()
            _save(key, _sign_ca(key, domain), *ca_files)
            made += ca_files
        key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(names))])
        _save(key, _sign(where, key.public_key(), subject, names), *server_files)
        made += server_files
    return made


def renew(where: paths.Paths, *, days: int = RENEW_DAYS) -> bool:
    """Sign our server certificate anew, with its key and names, when it ends in fewer than `days`; whether it was."""
    files = [where.tls / name for name in ("server.pem", "server.key", "ca.pem", "ca.key")]
    if not all(path.exists() for path in files):
        return False
    old, ca = load(files[0]), load(files[2])
    if old.issuer != ca.subject or not _signed_by(old, ca):
        return False
    if old.not_valid_after_utc - _now() >= datetime.timedelta(days=days):
        return False
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    _write_cert(files[0], _sign(where, _load_key(files[1]).public_key(), old.subject, names))
    return True


def load(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(atomic.read(path))


def names_of(cert: x509.Certificate) -> list[str]:
    """The DNS names and IP addresses a certificate is good for."""
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def covers(cert: x509.Certificate, hostname: str) -> bool:
    """Whether a client that wants `hostname` is content with the certificate (RFC 6125 §6.4)."""
    wanted = hostname.encode("idna").decode().lower() if not hostname.isascii() else hostname.lower()
    return any(name in (wanted, f"*.{wanted.partition('.')[2]}") for name in map(str.lower, names_of(cert)))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _missing(cert: Path, key: Path) -> bool:
    """Whether a pair is not there yet; half a pair is an error, for nothing is overwritten."""
    if cert.exists() != key.exists():
        there, gone = (cert, key) if cert.exists() else (key, cert)
        raise FileNotFoundError(f"{gone} is missing, but {there} is there")
    return not cert.exists()


def _names(hostnames: Iterable[str], ips: Iterable[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for hostname in hostnames:
        ascii_name = hostname.rstrip(".").encode("idna").decode() if not hostname.isascii() else hostname.rstrip(".")
        names.append(x509.DNSName(ascii_name.lower()))
    names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
    return x509.SubjectAlternativeName(dict.fromkeys(names))


def _common_name(names: x509.SubjectAlternativeName) -> str:
    """The first name; X.520 allows 64 characters, and clients that are not antique read the SANs."""
    return names.get_values_for_type(x509.DNSName)[0][:64]


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _sign_ca(key: rsa.RSAPrivateKey, domain: str) -> x509.Certificate:
    label = f"lanmail CA {_now():%Y-%m-%d} {domain}"[:64]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
    return (
        _builder(subject, subject, key.public_key(), key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _sign(
    where: paths.Paths, public: rsa.RSAPublicKey, subject: x509.Name, names: x509.SubjectAlternativeName
) -> x509.Certificate:
    ca, ca_key = load(where.tls / "ca.pem"), _load_key(where.tls / "ca.key")
    return (
        _builder(subject, ca.subject, public, ca_key.public_key(), SERVER_DAYS, ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: rsa.RSAPublicKey,
    issuer_public: rsa.RSAPublicKey,
    days: int,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    begin = _now().replace(microsecond=0) - _BACKDATED
    end = begin + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(min(end, latest) if latest else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )


def _usage(**on: bool) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in every.split()})


def _signed_by(cert: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        cert.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(atomic.read(path), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path}: not an RSA key, so not made here")
    return key


def _save(key: rsa.RSAPrivateKey, cert: x509.Certificate, cert_file: Path, key_file: Path) -> None:
    """The key first: a certificate without its key looks complete to nobody."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    atomic.write(key_file, pem, mode=0o600)
    _write_cert(cert_file, cert)


def _write_cert(path: Path, cert: x509.Certificate) -> None:
    atomic.write(path, cert.public_bytes(serialization.Encoding.PEM), mode=0o644)
