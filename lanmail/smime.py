"""S/MIME of what is sent (RFC 8551): multipart/signed, and enveloped-data for whose certificates are known.

    own(section, conf, sender) -> Signer          an account's certificate with chain and key; Temporary
    sign(data, signer) -> bytes                   a message (LF form) signed; what is signed or encrypted already stays
    encrypt(data, certificates) -> bytes          a message encrypted to all of these
    directory(path) -> dict of address → Certificate      whom we can encrypt to: conf/smime/certs/

The entity that is signed goes out in 7 bits, so no server on the way has a reason to change it. A message is never put
together anew: its Content-* fields move into the signed part, all other octets stay.
"""

import base64
import contextlib
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from lanmail import atomic, eightbit, message, secret
from lanmail.errors import Temporary
from lanmail.outgoing import Smime

Certificate = x509.Certificate
SUFFIXES = (".pem", ".crt", ".cer")
LIMIT = 1 << 20  # octets of a file with certificates
OPENSSL_TIME = 60.0
_field = re.compile(rb"[^\n]*\n(?:[ \t][^\n]*\n)*").findall
_TAKEN = ("multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
PROBLEMS = (OSError, ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs."""

    certificate: Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    chain: tuple[Certificate, ...] = ()

    def expired(self, now: datetime) -> bool:
        """Whether the certificate is not good now."""
        return not is_good(self.certificate, now)


def is_good(certificate: Certificate, now: datetime) -> bool:
    """Whether now is within its time."""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def own(section: Smime, conf: Path) -> Signer:
    """The certificate, chain and key that a section names. Temporary."""
    try:
        password = secret.read(section.password, conf).reveal().encode() if section.password else None
        data = atomic.read(conf / section.certificate, LIMIT)
        return read(data, password, atomic.read(conf / section.key, LIMIT) if section.key else data)
    except PROBLEMS as error:
        what = section.certificate or "(no smime.certificate)"
        raise Temporary(f"the S/MIME certificate {what} cannot be used: {error}", 451, "4.3.5") from error


def read(data: bytes, password: bytes | None, text: bytes | None = None) -> Signer:
    """The certificate with chain of a PEM or PKCS#12 file; `text` is the PEM of its key, if that lies elsewhere.

    One of PROBLEMS.
    """
    if not data.lstrip().startswith(b"-----") and b"-----BEGIN" not in data:
        return _of_pkcs12(data, password)
    found = x509.load_pem_x509_certificates(data)
    text = data if text is None else text
    key = serialization.load_pem_private_key(text, password if b"ENCRYPTED" in text else None)
    mine = next((one for one in found if one.public_key() == key.public_key()), None)
    if mine is None:
        raise ValueError("the key belongs to none of the certificates")
    return Signer(mine, _usable(key), tuple(one for one in found if one != mine))


def _of_pkcs12(data: bytes, password: bytes | None) -> Signer:
    found = pkcs12.load_pkcs12(data, password)
    if found.cert is None or found.key is None:
        raise ValueError("the PKCS#12 file lacks the certificate or the key")
    return Signer(found.cert.certificate, _usable(found.key), tuple(one.certificate for one in found.additional_certs))


def _usable(key: object) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return key
    raise ValueError("only RSA and EC keys can sign mail")


def directory(path: Path) -> dict[str, Certificate]:
    """Certificates by mail address, in lower case: those in the certificate, or the one that is the file's name.

    Of several for an address the one that is good for longest. A file that is no certificate is passed over.
    """
    found: dict[str, Certificate] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() not in SUFFIXES:
                continue
            try:
                certificate = _read_certificate(atomic.read(entry.path, LIMIT))
            except PROBLEMS:
                continue
            for name in {*addresses(certificate), *([stem.lower()] if "@" in stem else [])}:
                known = found.get(name)
                if known is None or known.not_valid_after_utc < certificate.not_valid_after_utc:
                    found[name] = certificate
    return found


def _read_certificate(data: bytes) -> Certificate:
    if b"-----BEGIN" in data:
        return x509.load_pem_x509_certificates(data)[0]
    return x509.load_der_x509_certificate(data)


def addresses(certificate: Certificate) -> set[str]:
    """The mail addresses a certificate speaks for (RFC 8550 §3), in lower case."""
    found = {str(one.value) for one in certificate.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)}
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found |= set(names.get_values_for_type(x509.RFC822Name))
    return {one.lower() for one in found}


def is_protected(data: bytes) -> bool:
    """Whether a message is signed or encrypted already."""
    kind = (message.field(data[: message.header_end(data)], b"Content-Type") or b"").lower()
    return kind.startswith(tuple(one.encode() for one in _TAKEN))


def sign(data: bytes, signer: Signer) -> bytes:
    """The message, signed; unchanged when somebody did so before."""
    if is_protected(data):
        return data
    outer, entity = _parted(data)
    inner = eightbit.to_seven(entity).removesuffix(b"\n").replace(b"\n", b"\r\n")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(inner).add_signer(signer.certificate, signer.key, hashes.SHA256())
    for one in signer.chain:
        builder = builder.add_certificate(one)
    signature = builder.sign(serialization.Encoding.DER,
                             [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    border = b"=-lanmail-" + secrets.token_hex(16).encode()
    return b"".join([
        outer, b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\n\tmicalg=sha-256; boundary="',
        border, b'"\n\nThis message is signed (S/MIME).\n\n--', border, b"\n", inner.replace(b"\r\n", b"\n"),
        b"\n--", border, b"\n", _attached(b"application/pkcs7-signature", b"smime.p7s", signature),
        b"--", border, b"--\n",
    ])


def encrypt(data: bytes, certificates: list[Certificate]) -> bytes:
    """The message, readable for the owners of these certificates only. Temporary."""
    outer, entity = _parted(data)
    plain = entity.replace(b"\n", b"\r\n")
    if all(isinstance(one.public_key(), rsa.RSAPublicKey) for one in certificates):
        builder = pkcs7.PKCS7EnvelopeBuilder().set_data(plain)
        builder = builder.set_content_encryption_algorithm(algorithms.AES256)
        for one in certificates:
            builder = builder.add_recipient(one)
        sealed = builder.encrypt(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
    else:
        sealed = _encrypt_by_openssl(plain, certificates)
    return outer + _attached(b"application/pkcs7-mime; smime-type=enveloped-data", b"smime.p7m", sealed)


def _encrypt_by_openssl(plain: bytes, certificates: list[Certificate]) -> bytes:
    """For keys on elliptic curves, which the library cannot encrypt to; the certificates go by inherited files."""
    program = shutil.which("openssl")
    if program is None:
        raise Temporary("encrypting to an EC certificate needs the program openssl", 451, "4.3.5")
    with contextlib.ExitStack() as stack:
        files = []
        for one in certificates:
            descriptor = os.memfd_create("certificate")
            stack.callback(os.close, descriptor)
            atomic.write_all(descriptor, one.public_bytes(serialization.Encoding.PEM))
            files.append(descriptor)
        try:
            done = subprocess.run(  # noqa: S603 — a fixed program, no shell
                [program, "cms", "-encrypt", "-aes256", "-binary", "-outform", "DER",
                 *(f"/proc/self/fd/{one}" for one in files)],
                input=plain, capture_output=True, timeout=OPENSSL_TIME, pass_fds=files, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise Temporary(f"openssl cms -encrypt failed: {error}", 451, "4.3.0") from error
    return done.stdout


def _parted(data: bytes) -> tuple[bytes, bytes]:
    """The outer header, and the entity: the Content-* fields with the body. Both LF form; MIME-Version is outside."""
    end = message.header_end(data)
    outer: list[bytes] = []
    inner: list[bytes] = []
    mime = False
    for field in _field(data[:end] if data[:end].endswith(b"\n") else data[:end] + b"\n"):
        name = field.partition(b":")[0].rstrip(b" \t").lower()
        if field == b"\n":
            continue
        mime |= name == b"mime-version"
        (inner if name.startswith(b"content-") else outer).append(field)
    if not mime:
        outer.append(b"MIME-Version: 1.0\n")
    return b"".join(outer), b"".join(inner) + b"\n" + data[end:]


def _attached(kind: bytes, name: bytes, data: bytes) -> bytes:
    return b"".join([
        b"Content-Type: ", kind, b"; name=", name, b"\nContent-Transfer-Encoding: base64\n",
        b"Content-Disposition: attachment; filename=", name, b"\n\n", base64.encodebytes(data),
    ])


def now() -> datetime:
    """The moment, as certificates tell time."""
    return datetime.now(UTC)
