"""smime.py: what openssl verifies and decrypts, and relay's use of it."""

import datetime
import email
import email.policy
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import dkim as dkimpy
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from lanmail import admin, dkim, smime
from lanmail.errors import Temporary
from lanmail.outgoing import Smime
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer

TEXT = (
    "From: Hans <meier@office.lan>\nTo: x@far.example\nSubject: Vertrag\nMIME-Version: 1.0\n"
    "Content-Type: text/plain;\n charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n.dot\nGr\u00fc\u00dfe \n\n\n"
).encode()
MULTI = (b"From: meier@office.lan\nTo: x@far.example\nSubject: x\nMIME-Version: 1.0\n"
         b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n"
         b"Content-Transfer-Encoding: 8bit\n\n\xc3\xa4\n--b\nContent-Type: application/pdf\n"
         b"Content-Transfer-Encoding: base64\n\nJVBERi0=\n--b--\n")
BARE = b"From: meier@office.lan\nTo: x@far.example\nSubject: x\n\nbody\n"

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here: apt install openssl")


class Authority:
    """A CA that makes certificates as a test wants them."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.keys: dict[tuple[str, str], Any] = {}
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        self.certificate = self._make(self.name, self.key.public_key(), None, -1, 100, ca=True)
        (base / "ca.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _make(self, name, public, address, start, end, *, ca=False):
        now = datetime.datetime.now(datetime.UTC)
        builder = (x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(public)
                   .serial_number(x509.random_serial_number()).not_valid_before(now + datetime.timedelta(days=start))
                   .not_valid_after(now + datetime.timedelta(days=end))
                   .add_extension(x509.BasicConstraints(ca, None), critical=True))
        if address:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(address)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, address: str, kind: str = "rsa", start: int = -1, end: int = 30):
        """(certificate, key); both are in base/ADDRESS.pem."""
        if (address, kind) not in self.keys:
            self.keys[address, kind] = (rsa.generate_private_key(65537, 2048) if kind == "rsa"
                                        else ec.generate_private_key(ec.SECP256R1()))
        key = self.keys[address, kind]
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
        certificate = self._make(name, key.public_key(), address, start, end)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption())
        (self.base / f"{address}.pem").write_bytes(pem + private)
        return certificate, key

    def verified(self, data: bytes) -> bytes | None:
        """What openssl says is signed, None when it does not verify."""
        done = subprocess.run(["openssl", "cms", "-verify", "-CAfile", str(self.base / "ca.pem"), "-purpose", "any"],
                              input=data, capture_output=True)
        return done.stdout if done.returncode == 0 else None

    def decrypted(self, data: bytes, address: str) -> bytes | None:
        done = subprocess.run(["openssl", "cms", "-decrypt", "-inkey", str(self.base / f"{address}.pem"), "-recip",
                               str(self.base / f"{address}.pem")], input=data, capture_output=True)
        return done.stdout if done.returncode == 0 else None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    return Authority(tmp_path_factory.mktemp("ca"))


def signer(authority: Authority, kind: str) -> smime.Signer:
    certificate, key = authority.issue(f"{kind}@office.lan", kind)
    return smime.Signer(certificate, key, (authority.certificate,))


@openssl
@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("text", [TEXT, MULTI, BARE, b"From: a@b.example\n\n"], ids=["text", "multi", "bare", "empty"])
def test_openssl_verifies(authority: Authority, kind: str, text: bytes) -> None:
    signed = smime.sign(text, signer(authority, kind))
    assert signed.isascii()
    for data in (signed, signed.replace(b"\n", b"\r\n")):
        entity = authority.verified(data)
        assert entity is not None
    assert signed.count(b"MIME-Version: 1.0\n") == 1
    before, after = (email.message_from_bytes(one, policy=email.policy.default) for one in (text, signed))
    assert after.get_content_type() == "multipart/signed"
    inner = after.get_payload(0)
    assert [after[name] for name in ("From", "To", "Subject")] == [before[name] for name in ("From", "To", "Subject")]
    assert inner.get_content_type() == before.get_content_type()
    if not before.is_multipart():
        assert inner.get_content().rstrip("\n") == before.get_content().rstrip("\n")


@openssl
def test_one_octet_breaks_it(authority: Authority) -> None:
    signed = smime.sign(MULTI, signer(authority, "rsa"))
    assert authority.verified(signed.replace(b"JVBERi0=", b"JVBERi1=")) is None


def test_what_is_signed_stays(authority: Authority) -> None:
    one = signer(authority, "rsa")
    signed = smime.sign(TEXT, one)
    assert smime.sign(signed, one) == signed


@openssl
@pytest.mark.parametrize("kinds", [("rsa",), ("rsa", "rsa"), ("ec",), ("rsa", "ec")], ids=str)
def test_openssl_decrypts(authority: Authority, kinds: tuple[str, ...]) -> None:
    issued = [authority.issue(f"{number}{kind}@far.example", kind) for number, kind in enumerate(kinds)]
    sealed = smime.encrypt(MULTI, [certificate for certificate, _ in issued])
    assert b"JVBERi0" not in sealed
    assert sealed.startswith(MULTI[: MULTI.index(b"Content-Type")])
    for number, kind in enumerate(kinds):
        entity = authority.decrypted(sealed, f"{number}{kind}@far.example")
        assert entity == MULTI[MULTI.index(b"Content-Type: multipart") :].replace(b"\n", b"\r\n")


@pytest.mark.parametrize("form", ["pem", "two files", "pkcs12", "encrypted"])
def test_forms_of_an_own_certificate(authority: Authority, tmp_path: Path, form: str) -> None:
    certificate, key = authority.issue("me@office.lan", "rsa")
    pem = certificate.public_bytes(serialization.Encoding.PEM) + authority.certificate.public_bytes(
        serialization.Encoding.PEM)
    secret_file = tmp_path / "password"
    secret_file.write_text("geheim\n")
    secret_file.chmod(0o600)
    values = {"certificate": "me.pem", "password": "file:password"}
    lock = serialization.BestAvailableEncryption(b"geheim")
    if form == "pkcs12":
        data = pkcs12.serialize_key_and_certificates(b"me", key, certificate, [authority.certificate], lock)
        (tmp_path / "me.pem").write_bytes(data)
    else:
        how = lock if form == "encrypted" else serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        (tmp_path / "me.pem").write_bytes(pem if form == "two files" else private + pem)
        (tmp_path / "me.key").write_bytes(private)
        values |= {"key": "me.key"} if form == "two files" else {}
    one = smime.own(Smime.model_validate(values), tmp_path)
    assert one.certificate == certificate
    assert one.chain == (authority.certificate,)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_bad_certificates_are_temporary(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "me.pem").write_bytes(content)
    with pytest.raises(Temporary, match=r"me\.pem cannot be used"):
        smime.own(Smime(certificate="me.pem"), tmp_path)


def test_whom_we_can_encrypt_to(authority: Authority, tmp_path: Path) -> None:
    old, _ = authority.issue("Both@far.example", "ec", end=5)
    new, _ = authority.issue("both@far.example", "ec", end=9)
    (tmp_path / "a.pem").write_bytes(new.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "b.crt").write_bytes(old.public_bytes(serialization.Encoding.DER))
    (tmp_path / "Alias@far.example.cer").write_bytes(old.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "broken.pem").write_text("no")
    (tmp_path / "link.pem").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo.pem")
    found = smime.directory(tmp_path)
    assert found == {"both@far.example": new, "alias@far.example": old}
    assert smime.directory(tmp_path / "none") == {}


# --- in relay

def office(base: Path, port: int, authority: Authority, settings: str, own: str = "me@office.lan") -> Root:
    root = Root(base, smarthost(port))
    root.account("meier", f'[outgoing.smime]\ncertificate = "{authority.base}/{own}.pem"\n{settings}')
    (root.paths.conf / "smime/certs").mkdir(parents=True)
    return root


def known(root: Root, authority: Authority, *names: str, end: int = 30) -> None:
    for name in names:
        certificate, _ = authority.issue(name, "rsa", end=end)
        (root.paths.conf / "smime/certs" / f"{name}.pem").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM))


@openssl
async def test_relay_signs(tmp_path: Path, authority: Authority) -> None:
    authority.issue("me@office.lan")
    async with Peer("PIPELINING") as peer:  # no 8BITMIME: nothing may be changed behind the signature
        root = office(tmp_path, peer.port, authority, "sign = true")
        root.put("x@far.example", message=TEXT)
        root.put("x@far.example", message=TEXT, account="chef")
        assert await root.once() == 0
    one, other = sorted(peer.taken, key=lambda mail: b"multipart/signed" in mail.text, reverse=True)
    assert authority.verified(one.text) is not None
    assert b"multipart/signed" not in other.text


@pytest.mark.parametrize(("expired", "goes"), [("hold", False), ("unsigned", True)])
async def test_an_expired_certificate(tmp_path: Path, authority: Authority, expired: str, goes: bool) -> None:
    authority.issue("old@office.lan", "ec", start=-9, end=-1)
    async with Peer("PIPELINING") as peer:
        root = office(tmp_path, peer.port, authority, f'sign = true\nexpired = "{expired}"', "old@office.lan")
        entry_id = root.put("x@far.example", message=TEXT)
        await root.once()
    assert len(peer.taken) == goes
    assert (entry_id in root.held()) is not goes
    assert not goes or b"multipart/signed" not in peer.taken[0].text


@openssl
async def test_relay_encrypts_and_tells_nobody_of_bcc(tmp_path: Path, authority: Authority) -> None:
    authority.issue("me@office.lan")
    async with Peer("PIPELINING", "8BITMIME") as peer:
        root = office(tmp_path, peer.port, authority, 'sign = true\nencrypt = "require"')
        known(root, authority, "x@far.example", "y@far.example", "bcc1@far.example", "bcc2@far.example")
        root.put("x@far.example", "y@far.example", "bcc1@far.example", "bcc2@far.example",
                 message=TEXT.replace(b"To: x@far.example", b"To: x@far.example\nCc: Y <y@far.example>"))
        assert await root.once() == 0
    assert sorted(mail.recipients for mail in peer.taken) == [
        ["bcc1@far.example"], ["bcc2@far.example"], ["x@far.example", "y@far.example"]]
    for mail in peer.taken:
        for name in ("x@far.example", "y@far.example", "bcc1@far.example", "bcc2@far.example", "me@office.lan"):
            entity = authority.decrypted(mail.text, name)
            assert (entity is not None) is (name in mail.recipients or name == "me@office.lan"), name
            if entity is not None:
                assert authority.verified(entity) is not None


@pytest.mark.parametrize(("policy", "lacking", "result"), [
    ("if-possible", "none", "plain"), ("if-possible", "expired", "plain"), ("require", "none", "bounced"),
    ("never", "", "plain"), ("if-possible", "", "sealed")])
async def test_without_a_certificate(tmp_path: Path, authority: Authority, policy: str, lacking: str,
                                     result: str) -> None:
    async with Peer("PIPELINING", "8BITMIME") as peer:
        root = office(tmp_path, peer.port, authority, f'encrypt = "{policy}"')
        known(root, authority, "x@far.example")
        if lacking != "none":
            known(root, authority, "y@far.example", end=0 if lacking else 30)
        root.put("x@far.example", "y@far.example", message=TEXT)
        assert await root.once() == 0
    if result == "bounced":
        assert not peer.taken
        assert b"no valid S/MIME certificate to encrypt to y@far.example" in root.queued()[0][1]
    else:
        assert all((b"enveloped-data" in mail.text) is (result == "sealed") for mail in peer.taken)
        assert {one for mail in peer.taken for one in mail.recipients} == {"x@far.example", "y@far.example"}


async def test_dkim_signs_what_smime_made(tmp_path: Path, authority: Authority) -> None:
    _certificate, key = authority.issue("me@office.lan", "rsa")
    async with Peer("PIPELINING") as peer:
        root = office(tmp_path, peer.port, authority, "sign = true")
        listed = f'[dkim]\nkeys = [{{ domain = "office.lan", selector = "s", key = "{authority.base}/dkim.pem" }}]\n'
        (authority.base / "dkim.pem").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        root.configure(smarthost(peer.port), listed)
        root.put("x@far.example", message=TEXT)
        assert await root.once() == 0
    text = peer.taken[0].text
    assert text.startswith(b"DKIM-Signature:")
    record = dkim.record(dkim.Key("office.lan", "s", key)).encode()
    assert dkimpy.verify(text, dnsfunc=lambda _name, timeout=5: record)
    assert b"multipart/signed" in text


async def test_the_list_of_certificates(tmp_path: Path, authority: Authority) -> None:
    authority.issue("old@office.lan", "ec", start=-9, end=-1)
    root = office(tmp_path, 1, authority, "sign = true", "old@office.lan")
    known(root, authority, "x@far.example")
    root.account("chef", "[outgoing.smime]\nsign = true\ncertificate = \"none.pem\"\n")
    done = click.testing.CliRunner().invoke(admin.cli, ["smime", "list", "--json", "--root", str(tmp_path)])
    assert done.exit_code == 1
    rows = {row["address"]: row for row in json.loads(done.stdout)}
    assert "none.pem cannot be used" in rows["chef"]["problem"]
    assert rows["meier"]["problem"] == "not good now"
    assert rows["x@far.example"]["problem"] is None
