"""transports/mx.py: where DNS sends a mail, and what TLS is asked for there."""

import os
import ssl
from pathlib import Path

import pytest

from lanmail import paths, tls
from lanmail.clients import mtasts, tlsclient
from tests.dnsstub import Stub
from tests.relayroot import Root
from tests.smtppeer import Peer

FEATURES = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")


def direct(root: Path, stub: Stub, port: int, more: str = "") -> Root:
    return Root(root, f'transport = "mx"\nport = {port}\n', settings=f'[relay]\nresolver = "{stub.address}"\n{more}')


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = paths.of_root(tmp_path_factory.mktemp("mx"))
    tls.make_ca(where, "far.example", ["mx.far.example", "mta-sts.far.example"], ["127.0.0.1"])
    return where.tls


def server_tls(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate / "server.pem", certificate / "server.key")
    return made


async def test_by_preference_past_dead_hosts(tmp_path: Path) -> None:
    records: dict = {("far.example", "MX"): ["10 dead.far.example.", "20 mx.far.example.", "5 nowhere.far.example."],
                     ("dead.far.example", "A"): ["127.0.0.9"], ("mx.far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example", "y@far.example")
        assert await root.once() == os.EX_OK
        assert peer.taken[0].recipients == ["x@far.example", "y@far.example"]
        assert "host=mx.far.example" in root.events("sent")[0]


async def test_a_mail_for_each_domain_and_one_bounce(tmp_path: Path) -> None:
    records: dict = {("far.example", "MX"): ["10 mx.far.example."], ("near.example", "A"): ["127.0.0.1"],
                     ("mx.far.example", "A"): ["127.0.0.1"], ("null.example", "MX"): ["0 ."],
                     ("empty.example", "TXT"): ['"x"']}
    async with Peer(*FEATURES) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example", "x@near.example", "x@null.example", "x@none.example", "x@empty.example")
        assert await root.once() == os.EX_OK
        assert sorted(one.recipients[0] for one in peer.taken) == ["x@far.example", "x@near.example"]
        ((_, text),) = root.queued()
        for words in (b"556 5.1.10 the domain null.example takes no mail (null MX)",
                      b"550 5.1.2 the domain none.example does not exist",
                      b"550 5.4.4 the host empty.example has no address"):
            assert words in text


@pytest.mark.parametrize("fault", ["SERVFAIL"])
async def test_dns_trouble_is_temporary_and_blocks_only_its_domain(tmp_path: Path, fault: str) -> None:
    records: dict = {("bad.example", "MX"): fault, ("near.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@bad.example")
        root.put("x@near.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert len(peer.taken) == 1
        assert not root.queued()
        assert "destination=mx:bad.example" in root.events("unreachable")[0]


async def test_address_literal(tmp_path: Path) -> None:
    async with Peer(*FEATURES) as peer, Stub({}) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@[127.0.0.1]")
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 1


async def test_never_back_to_ourselves(tmp_path: Path) -> None:
    records: dict = {("far.example", "MX"): ["10 mail.office.lan.", "20 mx.far.example."],
                     ("mx.far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
        assert not peer.taken
        assert b"would come back to us" in root.queued()[0][1]


async def test_takes_tls_whatever_the_certificate(tmp_path: Path, certificate: Path) -> None:
    records: dict = {("far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES, "STARTTLS", tls=server_tls(certificate)) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
        assert any(line.startswith("TLS MAIL") for line in peer.lines)


async def test_goes_without_tls_when_it_does_not_work(tmp_path: Path) -> None:
    records: dict = {("far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES, "STARTTLS", script={"STARTTLS": "454 4.7.0 not now"}) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 1


POLICY = "version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(("mode", "mx", "trusted", "taken", "reason"), [
    ("enforce", "mx.far.example", True, True, ""),
    ("enforce", "*.far.example", False, False, "certificate is not trusted"),
    ("enforce", "other.far.example", True, False, "MTA-STS policy"),
    ("testing", "other.far.example", False, True, ""),
])
async def test_mta_sts(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch, mode: str, mx: str,
                       trusted: bool, taken: bool, reason: str) -> None:
    text = POLICY.format(mode=mode, mx=mx)
    monkeypatch.setattr(mtasts, "fetch", lambda _host, _addresses: text)
    if trusted:
        monkeypatch.setattr(tlsclient, "DEFAULT", tlsclient.Wish(ca=certificate / "ca.pem"))
    records: dict = {("far.example", "MX"): ["10 mx.far.example."], ("mx.far.example", "A"): ["127.0.0.1"],
                     ("_mta-sts.far.example", "TXT"): ['"v=STSv1; id=20261121;"'],
                     ("mta-sts.far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES, "STARTTLS", tls=server_tls(certificate)) as peer, Stub(records) as stub:
        root = direct(tmp_path, stub, peer.port)
        root.put("x@far.example")
        await root.once()
        assert bool(peer.taken) is taken
        if reason:
            assert reason in root.events("unreachable")[0]
        assert (root.paths.state / "mta-sts/far.example.json").exists()


async def test_policy_survives_when_it_cannot_be_fetched_again(tmp_path: Path, certificate: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "state" / "mta-sts"
    records: dict = {("far.example", "MX"): ["10 mx.far.example."], ("mx.far.example", "A"): ["127.0.0.1"]}
    async with Peer(*FEATURES) as peer, Stub(records) as stub:  # the TXT record and STARTTLS are stripped
        root = direct(tmp_path, stub, peer.port)
        directory.mkdir(parents=True)
        directory.joinpath("far.example.json").write_text(
            '{"id": "1", "mode": "enforce", "mx": ["mx.far.example"], "until": 9999999999}')
        root.put("x@far.example")
        await root.once()
        assert not peer.taken
        assert "does not offer STARTTLS" in root.events("unreachable")[0]


def test_policy_files() -> None:
    made = mtasts.parse("version: STSv1\nmode: enforce\nmx: a.example\nmx: *.b.example\nmax_age: 604800\n", "1", 0.0)
    assert made is not None
    assert made.until == 604800
    assert made.allows("a.example")
    assert made.allows("x.b.example")
    assert not made.allows("x.y.b.example")
    assert not made.allows("b.example")
    for bad in ("", "version: STSv2\nmode: none\nmax_age: 1", "version: STSv1\nmode: enforce\nmax_age: 1",
                "version: STSv1\nmode: maybe\nmx: a\nmax_age: 1", "version: STSv1\nmode: none\nmax_age: -1"):
        assert mtasts.parse(bad, "1", 0.0) is None, bad
