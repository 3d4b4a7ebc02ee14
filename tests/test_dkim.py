"""dkim.py: signatures that other people's verifiers accept, and that break when anything signed changes."""

import os
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lanmail import dkim, spool
from lanmail.errors import Temporary
from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer

TEXT = (
    "Received: from a by b\nFrom: Hans Meier <meier@firma.example>\nTo: x@far.example\nTO: y@far.example\n"
    "Subject: Gr\u00fc\u00dfe\n \tund  mehr \nMessage-ID: <1@firma.example>\nDate: Sat, 21 Nov 2026 10:00:00 +0100\n"
    "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
    ".dot\n  body \u00e4  with\tblanks \t\n\nend\n\n \n\n"
).encode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base, made = tmp_path_factory.mktemp("dkim"), {}
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    for name, private in (("rsa", rsa.generate_private_key(65537, 2048)),
                          ("ed25519", ed25519.Ed25519PrivateKey.generate())):
        made[name] = base / f"{name}.pem"
        made[name].write_bytes(private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return made


def accepted(data: bytes, key: dkim.Key, *, index: int = 0) -> bool:
    """What dkimpy says of the message as it is on the wire."""
    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        here = f"{key.selector}._domainkey.{key.domain}."
        return dkim.record(key).encode() if name.decode() == here else None

    try:
        return dkimpy.DKIM(data.replace(b"\n", b"\r\n")).verify(index, dnsfunc=dns)
    except dkimpy.ValidationError:
        return False


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_others_accept_it(keys: dict[str, Path], kind: str) -> None:
    key = dkim.load(keys[kind], "firma.example", "s1")
    field = dkim.sign(TEXT, key, 1_700_000_000)
    assert field.count(b"\n") == len(field.splitlines())
    assert max(map(len, field.splitlines())) < 79
    assert accepted(field + TEXT, key)


@pytest.mark.parametrize(("old", "new"), [
    (b"end", b"End"), (b"Hans", b"Hannes"), (b"Subject: ", b"Subject: Re: "), (b"MIME-", b"Subject: x\nMIME-"),
    (b"To: x@", b"To: z@"), (b"\nFrom: ", b"\nFrom: evil@x.example\nFrom: "), (b"MIME-", b"Date: now\nMIME-"),
])
def test_a_change_breaks_it(keys: dict[str, Path], old: bytes, new: bytes) -> None:
    key = dkim.load(keys["rsa"], "firma.example", "s1")
    signed = dkim.sign(TEXT, key, 1_700_000_000) + TEXT
    changed = signed.replace(old, new, 1)
    assert changed != signed
    assert not accepted(changed, key)


@pytest.mark.parametrize(("old", "new"), [
    (b"Received: from a", b"Received: from c by d\nReceived: from a"), (b"body \xc3\xa4  with", b"body \xc3\xa4 with"),
    (b"Subject:", b"SUBJECT:   "), (b"\n\n \n\n", b"\n"), (b"MIME-", b"X-New: x\nMIME-"),
])
def test_what_servers_change_does_not(keys: dict[str, Path], old: bytes, new: bytes) -> None:
    key = dkim.load(keys["rsa"], "firma.example", "s1")
    signed = dkim.sign(TEXT, key, 1_700_000_000) + TEXT
    changed = signed.replace(old, new, 1)
    assert changed != signed
    assert accepted(changed, key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(body=st.lists(st.sampled_from([b" ", b"\t", b"\n", b".", b"x", b"\xe4", b"\n\n"]), max_size=40),
       subject=st.lists(st.sampled_from([b" ", b"\t", b"\n ", b"x", b":"]), max_size=10))
def test_odd_blanks(keys: dict[str, Path], body: list[bytes], subject: list[bytes]) -> None:
    key = dkim.load(keys["ed25519"], "firma.example", "s1")
    text = b"From: a@firma.example\nSubject:x" + b"".join(subject) + b"\n\n" + b"".join(body)
    text += b"" if text.endswith(b"\n") else b"\n"
    assert accepted(dkim.sign(text, key, 1) + text, key)


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n"])
def test_bad_keys_are_temporary(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(Temporary, match=r"the DKIM key .*key\.pem cannot be used"):
        dkim.load(path, "firma.example", "s1")
    path.write_bytes(content)
    with pytest.raises(Temporary):
        dkim.load(path, "firma.example", "s1")


# --- relay signs what it sends

def signing(base: Path, port: int, keys: dict[str, Path], more: str = "") -> Root:
    listed = ", ".join(f'{{ domain = "firma.example", selector = "{name}", key = "{path}" }}'
                       for name, path in keys.items())
    return Root(base, smarthost(port, more), settings=f"[dkim]\nkeys = [{listed}]\n")


async def test_what_goes_over_the_wire_verifies(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with Peer("PIPELINING", "8BITMIME") as peer:
        root = signing(tmp_path, peer.port, keys)
        root.put("x@far.example", message=TEXT.replace(b"end\n", b"end\rbare\r\r\n"))
        assert await root.once() == 0
    sent = peer.taken[0].text.replace(b"\r\n", b"\n")
    assert sent.count(b"DKIM-Signature:") == 2
    for index, name in enumerate(keys):
        assert accepted(sent, dkim.load(keys[name], "firma.example", name), index=index)


async def test_the_new_sender_is_signed(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with Peer("PIPELINING") as peer:
        root = signing(tmp_path, peer.port, keys, 'overwrite_sender = "%localpart%@firma.example"')
        root.put("x@far.example", sender="meier@office.lan")
        assert await root.once() == 0
    mail = peer.taken[0]
    assert mail.sender == "meier@firma.example"
    assert b"\r\nFrom: meier@firma.example\r\n" in mail.text
    assert b"\r\nReply-To: meier@office.lan\r\n" in mail.text
    assert accepted(mail.text.replace(b"\r\n", b"\n"), dkim.load(keys["rsa"], "firma.example", "rsa"))


@pytest.mark.parametrize("overwrite", [True, False])
async def test_a_forward_keeps_the_authors_signature_or_gets_ours_with_the_new_sender(
        tmp_path: Path, keys: dict[str, Path], overwrite: bool) -> None:
    theirs = dkim.load(keys["rsa"], "firma.example", "theirs")
    text = TEXT.replace(b"meier@firma", b"hans@firma")
    signed = b"Delivered-To: meier@office.lan\n" + dkim.sign(text, theirs, 1_700_000_000) + text
    async with Peer("PIPELINING", "8BITMIME") as peer:
        root = signing(tmp_path, peer.port, {"ed25519": keys["ed25519"]},
                       'overwrite_sender = "%localpart%@firma.example"' if overwrite else "")
        root.put("x@far.example", message=signed, origin="forward", account="meier", keep="no")
        assert await root.once() == 0
    sent = peer.taken[0].text.replace(b"\r\n", b"\n")
    assert sent.count(b"DKIM-Signature:") == 1 + overwrite
    assert accepted(sent, dkim.load(keys["ed25519"], "firma.example", "ed25519")) is overwrite
    assert accepted(sent, theirs, index=int(overwrite)) is not overwrite


@pytest.mark.parametrize(("author", "origin", "signed"), [
    ("m@firma.example", "submission", True), ("m@sub.firma.example", "submission", True),
    ("m@firma.example", "pickup", True), ("m@firma.example", "lan", True), ("m@notfirma.example", "submission", False),
    ("m@example", "submission", False), ("m@firma.example", "mx", False), ("m@firma.example", "fetch", False),
])
async def test_only_our_own_mail_of_that_domain(tmp_path: Path, keys: dict[str, Path], author: str, origin: str,
                                                signed: bool) -> None:
    async with Peer("PIPELINING") as peer:
        root = signing(tmp_path, peer.port, keys)
        root.put("x@far.example", message=f"From: {author}\nSubject: x\n\nx\n".encode(), origin=origin, client="1")
        assert await root.once() == 0
    assert (b"DKIM-Signature" in peer.taken[0].text) is signed


async def test_without_its_key_a_mail_waits(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with Peer("PIPELINING") as peer:
        root = signing(tmp_path, peer.port, {"gone": tmp_path / "gone.pem"})
        entry_id = root.put("x@far.example", message=TEXT)
        assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    assert not peer.taken
    assert "gone.pem" in root.events("deferred")[0]


async def test_the_stored_mail_stays_as_it_is(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with Peer("PIPELINING", script={"DATA": "451 later"}) as peer:
        root = signing(tmp_path, peer.port, keys, 'overwrite_sender = "info@firma.example"')
        entry_id = root.put("x@far.example", message=TEXT)
        assert await root.once() == os.EX_TEMPFAIL
    name = next(one for one in os.listdir(root.paths.outbound / "cur") if spool.parse_name(one).id == entry_id)
    assert (root.paths.outbound / "cur" / name).read_bytes().endswith(TEXT)


async def test_a_bounce_keeps_its_null_sender(tmp_path: Path, keys: dict[str, Path]) -> None:
    async with Peer("PIPELINING") as peer:
        root = signing(tmp_path, peer.port, keys, 'overwrite_sender = "info@firma.example"')
        root.put("x@far.example", sender=None, origin="local", source="dsn")
        assert await root.once() == 0
    assert peer.taken[0].sender == ""
    assert b"\r\nFrom: info@firma.example\r\n" in peer.taken[0].text
