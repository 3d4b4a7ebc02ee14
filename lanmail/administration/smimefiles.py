"""Certificates that somebody hands in for signing (S/MIME): looked at, then a file each in conf/secrets, mode 0600.

    signer = smimefiles.accept(data, "password")       of PEM or PKCS#12. Refused
    smimefiles.give(where, file, signer)               the account of this file signs with it from now on
    smimefiles.take(where, file)                       it has none any more
    smimefiles.sweep(where)                            files that nothing in conf/ names are removed

The file's name comes from the certificate, never from a person or an address. The password is not kept: what lies
there is the key itself, readable for the programs only, like the key of the server.
"""

import contextlib
import os
import re
from datetime import datetime
from pathlib import Path

import filelock
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lanmail import atomic, config, secretfiles, smime
from lanmail.paths import Paths
from lanmail.smime import Signer

LIMIT = 256 << 10  # octets of what is handed in
LEAST = 2048  # bits of an RSA key
_NAME = re.compile(r"smime-[0-9a-f]{32}")
_KEYS = (("outgoing", "smime", "key"), ("outgoing", "smime", "password"))


class Refused(Exception):
    """It cannot sign: a sentence, what it is about (data, password), and which rule is broken."""

    def __init__(self, text: str, field: str, kind: str) -> None:
        super().__init__(text)
        self.field, self.kind = field, kind


def accept(data: bytes, password: str, now: datetime) -> Signer:
    """What was handed in, if mail can be signed with it. Refused."""
    if len(data) > LIMIT:
        raise Refused(f"the file is larger than {LIMIT >> 10} KB", "data", "certificate-large")
    try:
        found = smime.read(data, password.encode() or None)
    except smime.PROBLEMS as error:
        raise _refusal(data, password, error) from None
    if isinstance(found.key, rsa.RSAPrivateKey) and found.key.key_size < LEAST:
        raise Refused(f"the key has {found.key.key_size} bits, at least {LEAST} are needed", "data", "certificate-weak")
    if found.certificate.not_valid_after_utc < now:
        raise Refused(f"the certificate ended {found.certificate.not_valid_after_utc:%Y-%m-%d}", "data",
                      "certificate-ended")
    return found


def _refusal(data: bytes, password: str, error: Exception) -> Refused:
    """Why it could not be read, as far as one can tell."""
    if b"-----BEGIN" in data and b"PRIVATE KEY-----" not in data:
        return Refused("the file has no private key; take one with certificate and key", "data", "certificate-keyless")
    if b"-----BEGIN" in data and b"ENCRYPTED" not in data:
        return Refused(f"the file cannot be used: {error}", "data", "certificate-none")
    if not password:
        return Refused("this is no certificate with its key (PEM, PKCS#12), or it has a password", "password",
                       "certificate-locked")
    return Refused("the password is wrong, or this is no certificate with its key (PEM, PKCS#12)", "password",
                   "certificate-locked")


def give(where: Paths, file: Path, signer: Signer, *, sign: bool = True) -> str:
    """Keep it and name it in the account's file; the name. ConfigError, OSError."""
    name = f"smime-{signer.certificate.fingerprint(hashes.SHA256()).hex()[:32]}"
    plain = signer.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
    chain = [one.public_bytes(serialization.Encoding.PEM) for one in (signer.certificate, *signer.chain)]
    with _alone(where):
        secretfiles.put(where, name, b"".join([plain, *chain]))
        try:
            config.edit(file, {("outgoing", "smime", "certificate"): f"{where.secrets.name}/{name}",
                               ("outgoing", "smime", "sign"): sign or None, **dict.fromkeys(_KEYS)})
        finally:
            _sweep(where)
    secretfiles.drop(where, file.stem, _KEYS[1])
    return name


def take(where: Paths, file: Path) -> None:
    """The account has no certificate of its own any more, so it does not sign with one. ConfigError, OSError."""
    with _alone(where):
        config.edit(file, {("outgoing", "smime", "certificate"): None, ("outgoing", "smime", "sign"): None,
                           **dict.fromkeys(_KEYS)})
        _sweep(where)
    secretfiles.drop(where, file.stem, _KEYS[1])


def sweep(where: Paths) -> None:
    """Remove what nothing names any more, as after the end of an account."""
    with _alone(where):
        _sweep(where)


def _alone(where: Paths) -> filelock.BaseFileLock:
    """A file is not named yet when it is written: nobody may sweep then."""
    where.state.mkdir(exist_ok=True)
    return filelock.FileLock(where.state / "smime.lock", timeout=10, mode=0o660)


def _sweep(where: Paths) -> None:
    with contextlib.suppress(OSError):  # what cannot be read may name them: nothing is removed
        found = [one for one in os.listdir(where.secrets) if _NAME.fullmatch(one)]
        named = b"".join(atomic.read(path) for path in [where.config_file, *config.account_files(where)])
        for one in found:
            if one.encode() not in named:
                (where.secrets / one).unlink(missing_ok=True)
