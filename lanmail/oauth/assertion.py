"""JWTs that prove who we are: an app with a certificate (RFC 7523 §2.2), a service account of Google (§2.1)."""

import base64
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from lanmail import atomic, secret
from lanmail.errors import Temporary
from lanmail.oauth.apps import App
from lanmail.paths import Paths
from lanmail.secret import Secret

CLIENT_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE = 300  # seconds; providers take ten minutes at most
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What a service account's JSON file says."""

    email: str
    key: Secret
    key_id: str


def client(app: App, paths: Paths) -> Secret:
    """What an app with a certificate sends in place of a secret. Temporary."""
    header: dict[str, Any] = {"alg": "PS256", "typ": "JWT"}
    if app.certificate:
        try:
            certificate = x509.load_pem_x509_certificate(atomic.read(paths.conf / app.certificate))
        except (OSError, ValueError) as error:
            raise Temporary(f"the certificate {app.certificate} of app {app.name} cannot be read: {error}") from error
        der = certificate.public_bytes(serialization.Encoding.DER)
        header["x5t#S256"] = _base64url(hashlib.sha256(der).digest())
        header["x5t"] = _base64url(hashlib.sha1(der, usedforsecurity=False).digest())
    now = int(time.time())
    claims = {"aud": app.token_url, "iss": app.client_id, "sub": app.client_id, "jti": str(uuid.uuid4()), "iat": now,
              "nbf": now - 60, "exp": now + _LIFE}
    return _sign(header, claims, secret.read(app.private_key, paths.conf), f"private_key of app {app.name}")


def service(app: App, paths: Paths, address: str, scope: str) -> Secret:
    """What a service account hands in for a token of somebody's mailbox. Temporary."""
    account = read(app, paths)
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.key_id} if account.key_id else {})
    claims = {"iss": account.email, "sub": address, "scope": scope, "aud": app.token_url, "iat": now,
              "exp": now + _HOUR}
    return _sign(header, claims, account.key, f"service_account of app {app.name}")


def read(app: App, paths: Paths) -> ServiceAccount:
    """The JSON file of an app's service account. Temporary, with no word of what stands in it."""
    text = secret.read(app.service_account, paths.conf).reveal()
    try:
        said = json.loads(text)
        return ServiceAccount(str(said["client_email"]), Secret(str(said["private_key"])),
                              str(said.get("private_key_id", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        why = "is no JSON file of a service account with client_email and private_key"
        raise Temporary(f"service_account of app {app.name} {why}") from None


def _sign(header: dict[str, Any], claims: dict[str, Any], key: Secret, what: str) -> Secret:
    pem = key.reveal().encode()
    try:
        if b"EC PRIVATE" in pem or _is_ec(pem):
            return Secret(jwt.encode(header | {"alg": "ES256"}, claims, ECKey.import_key(pem), algorithms=["ES256"]))
        return Secret(jwt.encode(header, claims, RSAKey.import_key(pem), algorithms=["PS256", "RS256"]))
    except (ValueError, TypeError, JoseError):
        raise Temporary(f"{what} is no private key that can be used") from None


def _is_ec(pem: bytes) -> bool:
    key = serialization.load_pem_private_key(pem, None)
    return type(key).__name__.endswith("EllipticCurvePrivateKey")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
