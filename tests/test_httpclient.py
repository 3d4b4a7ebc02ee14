"""httpclient.py: one request, bounded in every way."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from lanmail.clients import httpclient, tlsclient
from lanmail.errors import Temporary
from tests.httppeer import Peer, ok


async def get(peer: Peer, *, scheme: str = "http", seconds: float = 5.0, wish: tlsclient.Wish = tlsclient.DEFAULT,
              host: str = "127.0.0.1") -> httpclient.Answer:
    return await httpclient.send(httpclient.Request("GET", f"{scheme}://{host}:{peer.port}/a?b=c"), wish, None, seconds)


async def test_request_and_answer() -> None:
    async with Peer(ok(b"<html><b>it</b> is\r\nhere</html>")) as peer:
        answer = await get(peer)
    head, _ = peer.requests[0]
    assert head.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert b"\r\nconnection: close\r\n" in head.lower()
    assert (answer.status, answer.excerpt(), answer.whole) == (200, "it is here", True)


@pytest.mark.parametrize("raw", [
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nuntil\r\n8\r\n the end\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nuntil the end",
])
async def test_forms_of_answers(raw: bytes) -> None:
    async with Peer(raw) as peer:
        assert (await get(peer)).body == b"until the end"


async def test_redirects_are_not_followed() -> None:
    async with Peer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as peer:
        answer = await get(peer)
    assert answer.status == 302
    assert len(peer.requests) == 1


NO_ANSWERS = [b"", b"220 smtp ready\r\n", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000]


@pytest.mark.parametrize("raw", NO_ANSWERS)
async def test_what_is_no_answer(raw: bytes) -> None:
    async with Peer(raw) as peer:
        with pytest.raises(Temporary):
            await get(peer)


async def test_a_flood_is_cut() -> None:
    async with Peer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5_000_000) as peer:
        answer = await get(peer)
    assert len(answer.body) == httpclient.LIMIT
    assert not answer.whole


@pytest.mark.parametrize("peer", [Peer("hang"), Peer(ok(), slow=0.05)], ids=["silent", "slow"])
async def test_the_time_is_for_all_of_it(peer: Peer) -> None:
    async with peer:
        with pytest.raises(Temporary, match=r"within 0\.3 seconds"):
            await get(peer, seconds=0.3)


async def test_an_answer_before_the_request_is_whole() -> None:
    async with Peer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much", early=True) as peer:
        body = [b"x" * 65536] * 200
        request = httpclient.Request("POST", f"http://127.0.0.1:{peer.port}/", (), body, sum(map(len, body)))
        answer = await httpclient.send(request)
    assert (answer.status, answer.body) == (413, b"too much")


async def test_nobody_there() -> None:
    async with Peer(ok()) as peer:
        port = peer.port
    with pytest.raises(Temporary, match="no connection"):
        await httpclient.send(httpclient.Request("GET", f"http://127.0.0.1:{port}/"), seconds=5)


@pytest.fixture
def server_tls(tmp_path: Path):
    """Certificates for a name that resolves, and for another one; and their CA's file."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")

    def context(name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(made)
        return made

    return context


async def test_certificates(tmp_path: Path, server_tls: Callable[[str], ssl.SSLContext]) -> None:
    trusted = tlsclient.Wish(ca=tmp_path / "ca.pem")
    async with Peer(ok(), tls=server_tls("127.0.0.1")) as peer:
        with pytest.raises(Temporary, match="not trusted"):
            await get(peer, scheme="https")
        assert (await get(peer, scheme="https", wish=trusted)).status == 200
        with pytest.raises(Temporary, match="fingerprint"):
            await get(peer, scheme="https", wish=tlsclient.Wish(fingerprints=("00" * 32,)))
        with pytest.raises(Temporary):
            await get(peer, scheme="http")
    assert len(peer.requests) == 1
    async with Peer(ok(), tls=server_tls("web.example")) as peer:
        with pytest.raises(Temporary, match=r"not trusted: .*127"):
            await get(peer, scheme="https", wish=trusted)
    assert not peer.requests
