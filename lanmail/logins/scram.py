"""SCRAM-SHA-256 as a server speaks it (RFC 5802, RFC 7677): log-in without the password ever being sent.

    make(password, stored) -> str          the verifier to keep beside the Argon2id hash `stored`; ValueError
    read(verifier, stored) -> Keys | None  None for what is no verifier, or one of another password than `stored` is of
    decoy(secret, user) -> Keys            what an exchange with somebody is about who has none; no password fits
    Dialogue(first)                        one exchange, from the client's first message on; ValueError

A verifier is written as RFC 5803 has it: `SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY`, each in base64. It lets
nobody log in who reads it, but guessing the password behind it is cheaper than behind Argon2id: that is the price.
Its salt is made of the Argon2id hash, so that a verifier of an earlier password is recognised and counts for nothing.

Channel binding (SCRAM-SHA-256-PLUS) is not offered: Python's ssl has neither tls-exporter (RFC 9266) nor, under
TLS 1.3, anything else that clients would use.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from typing import NamedTuple

NAME = "SCRAM-SHA-256"
# As many as all clients take: Cyrus SASL refuses more than 65,536. RFC 7677 §4 asks for at least 4,096.
ITERATIONS = 65_536
FORM = r"SCRAM-SHA-256\$[1-9][0-9]{3,6}:[A-Za-z0-9+/]{8,88}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}="
_SALT = 16
_FORM = re.compile(FORM)
_FIRST = re.compile(rb"(?P<gs2>(?P<binding>[ny]|p=[A-Za-z0-9.-]{1,64}),(?:a=(?P<authzid>[^,]*))?,)"
                    rb"(?P<bare>n=(?P<user>[^,]+),r=(?P<nonce>[!-+\--~]{8,512})(?:,[a-zA-Z]=[^\0]*)?)")
_FINAL = re.compile(rb"(?P<unproven>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)(?:,[a-zA-Z]=[^\0]*)?)"
                    rb",p=(?P<proof>[A-Za-z0-9+/=]+)")
# RFC 4013 §2.3
_PROHIBITED = (stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
               stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
               stringprep.in_table_c9, stringprep.in_table_a1)


class Keys(NamedTuple):
    """What a server knows of a password (RFC 5802 §3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def make(password: str, stored: str) -> str:
    """The verifier of a password; ValueError for one that RFC 4013 does not permit."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), _salt(stored), ITERATIONS)
    stored_key = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    salt, first, second = (base64.b64encode(part).decode()
                           for part in (_salt(stored), stored_key, _mac(salted, b"Server Key")))
    return f"{NAME}${ITERATIONS}:{salt}${first}:{second}"


def read(verifier: str, stored: str) -> Keys | None:
    """The keys in a verifier that belongs to the password with the hash `stored`."""
    if not stored or not _FORM.fullmatch(verifier):
        return None
    head, keys = verifier.removeprefix(NAME + "$").split("$")
    iterations, salt = head.split(":")
    found = Keys(base64.b64decode(salt), int(iterations), *map(base64.b64decode, keys.split(":")))
    return found if found.salt == _salt(stored) else None


def decoy(secret: bytes, user: str) -> Keys:
    """Always the same salt for the same name, or asking twice would tell who has an account."""
    salt = _mac(secret, user.encode("utf-8", "surrogatepass"))[:_SALT]
    return Keys(salt, ITERATIONS, secrets.token_bytes(32), secrets.token_bytes(32))


def _salt(stored: str) -> bytes:
    return hashlib.sha256(b"SCRAM" + stored.encode()).digest()[:_SALT]


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def saslprep(text: str) -> str:
    """RFC 4013: how RFC 5802 §2.2 has the client prepare the password. ValueError for what it does not permit."""
    mapped = "".join(" " if stringprep.in_table_c12(letter) else letter
                     for letter in text if not stringprep.in_table_b1(letter))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(is_in(letter) for letter in prepared for is_in in _PROHIBITED):
        raise ValueError("it has characters that RFC 4013 does not permit in passwords")
    right = [stringprep.in_table_d1(letter) for letter in prepared]
    if any(right) and (not right[0] or not right[-1] or any(map(stringprep.in_table_d2, prepared))):
        raise ValueError("it mixes letters written from the right and from the left")
    return prepared


class Dialogue:
    """One exchange: `user` and `authzid` as the client names them, then `challenge`, then `finish`."""

    def __init__(self, first: bytes) -> None:
        found = _FIRST.fullmatch(first)
        if found is None or found["binding"].startswith(b"p"):
            raise ValueError("not a first message without channel binding")
        self.user = _saslname(found["user"])
        self.authzid = _saslname(found["authzid"] or b"")
        self._gs2, self._bare = found["gs2"], found["bare"]
        self._nonce = found["nonce"] + secrets.token_urlsafe(24).encode()
        self._keys = Keys(b"", 0, b"", b"")
        self._said = b""

    def challenge(self, keys: Keys) -> bytes:
        """The server's first message."""
        self._keys = keys
        self._said = b"r=%b,s=%b,i=%d" % (self._nonce, base64.b64encode(keys.salt), keys.iterations)
        return self._said

    def finish(self, final: bytes) -> bytes | None:
        """The server's last message, None when the proof is wrong; ValueError when it is no final message."""
        found = _FINAL.fullmatch(final)
        if found is None:
            raise ValueError("not a final message")
        try:
            binding, proof = (base64.b64decode(found[name], validate=True) for name in ("binding", "proof"))
        except binascii.Error:
            raise ValueError("not base64") from None
        if binding != self._gs2 or found["nonce"] != self._nonce or len(proof) != 32:
            raise ValueError("not the final message of this exchange")
        said = b",".join((self._bare, self._said, found["unproven"]))
        signature = _mac(self._keys.stored_key, said)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self._keys.stored_key):
            return None
        return b"v=" + base64.b64encode(_mac(self._keys.server_key, said))


def _saslname(raw: bytes) -> str:
    """RFC 5802 §5.1: "=2C" is a comma and "=3D" an equals sign."""
    if b"\0" in raw or re.search(rb"=(?!2C|3D)", raw):
        raise ValueError("not a saslname")
    return raw.replace(b"=2C", b",").replace(b"=3D", b"=").decode()
