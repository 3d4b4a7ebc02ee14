"""pop3client.py and pop3wire.py: what servers do that Dovecot never does."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme

from lanmail.clients import pop3client, tlsclient
from lanmail.clients.pop3client import Client, Denied, Target
from lanmail.clients.pop3wire import PIECE, Broken
from lanmail.clients.smtplogin import Credentials, Refused
from lanmail.errors import MailError, Temporary
from lanmail.secret import Secret
from tests.pop3peer import Peer

WHO = Credentials("meier", Secret("geheim"))
TOKEN = Credentials("meier@firma.example", Secret("ya29.token"), is_token=True)


@pytest.fixture(autouse=True)
async def made() -> AsyncIterator[list[Client]]:
    _made.clear()
    yield _made
    for one in _made:
        one.wire.close()
    await asyncio.sleep(0)


_made: list[Client] = []


async def client(peer: Peer, who: Credentials | None = WHO, seconds: float = 5, **keys: Any) -> Client:
    target = Target(**{"host": "127.0.0.1", "port": peer.port, "credentials": who, "tls": "none", **keys})
    _made.append(await pop3client.connect(target, seconds))
    return _made[-1]


async def look(peer: Peer) -> None:
    one = await client(peer, seconds=0.3)
    await one.stat()
    await one.uids()


async def whole(one: Client) -> bytes:
    parts, last = [], False
    while not last:
        part, last = await one.wire.piece(5)
        parts.append(part)
    return b"".join(parts)


BODIES = [
    b"", b"\r\n", b".\r\n", b"..\r\n", b"Subject: x\r\n\r\n.\r\n..\r\n...\r\nend\r\n", b"a\nb\rc\r\n\x00\xff\r\n",
    b"x" * (3 * PIECE) + b"\r\n.y\r\n", (b".line\r\n" * 100_000), b"\r" * PIECE * 2 + b"\r\n",
    b"\r\n" * PIECE, b"." * (PIECE * 2) + b"\r\n",
]


@pytest.mark.parametrize("cut", [1 << 16, 7, 1])
async def test_each_octet_comes_however_it_is_cut(cut: int) -> None:
    bodies = [body for body in BODIES if cut > 1 or len(body) < 1000]
    stuffed = b""
    for body in bodies:
        lines = b"\r\n" + body
        stuffed += b"+OK" + lines.replace(b"\r\n.", b"\r\n..") + b".\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n-ERR\r\n")
        if cut < 100:
            for at in range(0, min(len(stuffed), 4000), cut):
                writer.write(stuffed[at:at + cut])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(stuffed[4000 // cut * cut + (cut if 4000 % cut else 0):] if len(stuffed) > 4000 else b"")
        else:
            writer.write(stuffed)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = Target("127.0.0.1", server.sockets[0].getsockname()[1], None, "none")
    one = await pop3client.connect(target, 5)
    for body in bodies:
        assert await one.begun() == b""
        assert await whole(one) == body
    one.wire.close()
    server.close()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(("script", "says"), [
    ({"CONNECT": "hang"}, "nothing for"), ({"CONNECT": "close"}, "closed"),
    ({"CONNECT": "* OK IMAP"}, "not speak POP3"),
    ({"CONNECT": b"+OK " + b"x" * 20_000}, "without end"), ({"CONNECT": "-ERR too many"}, "too many"),
    ({"PASS": "close"}, "closed"), ({"PASS": "hang"}, "nothing for"),
    ({"UIDL": b"+OK\r\n" + b"1 x\r\n" * 10}, "nothing for"), ({"UIDL": "+OK\r\nno number\r\n."}, "cannot be read"),
    ({"STAT": "+OK many"}, "STAT"), ({"CAPA": b"+OK\r\n" + b"x" * (1 << 20)}, "nothing for"),
])
async def test_servers_that_stall_or_lie(script: dict[str, Any], says: str) -> None:
    async with Peer([b"x\r\n"], "UIDL", script=script) as peer:
        with pytest.raises((Broken, MailError)) as caught:
            await look(peer)
        assert says in str(caught.value)


async def test_what_a_server_says_moves_no_cursor() -> None:
    async with Peer(script={"PASS": b"-ERR [AUTH] \x1b[2Jno\xff\r\n"}) as peer:
        with pytest.raises(Refused) as caught:
            await client(peer)
        assert str(caught.value).isprintable()
        assert "geheim" not in str(caught.value)


async def test_an_answer_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3client, "MAX_LISTING", 1 << 20)
    async with Peer([b"x"], "UIDL", script={"UIDL": b"+OK\r\n" + b"1 x\r\n" * 400_000}) as peer:
        with pytest.raises(Broken, match="does not end"):
            await (await client(peer)).uids()


@pytest.mark.parametrize(("answer", "refused"), [
    ("-ERR no", True), ("-ERR [AUTH] no", True), ("-ERR [IN-USE] busy", False), ("-ERR [SYS/TEMP] later", False),
    ("-ERR [LOGIN-DELAY] wait", False),
])
async def test_only_a_wrong_password_counts_as_refused(answer: str, refused: bool) -> None:
    async with Peer(script={"PASS": answer}) as peer:
        with pytest.raises(Refused if refused else Denied):
            await client(peer)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_tokens_go_in_a_line_of_their_own(mechanism: str) -> None:
    """Microsoft's server takes them no other way."""
    script: dict[str, Any] = {"AUTH": lambda line: "+ " if line == f"AUTH {mechanism}" else "-ERR one line", "+": "+OK"}
    async with Peer([], f"SASL PLAIN {mechanism}", script=script) as peer:
        one = await client(peer, TOKEN)
        assert one.login == mechanism
    auth = peer.lines.index(f"AUTH {mechanism}")
    sent = base64.b64decode(peer.lines[auth + 1])
    assert b"auth=Bearer ya29.token\1\1" in sent
    assert sent.startswith(b"user=meier@firma.example\1" if mechanism == "XOAUTH2" else b"n,a=meier@firma.example,\1")


async def test_a_refused_token_says_why() -> None:
    said = {"n": 0}

    def challenge(line: str) -> str:
        said["n"] += 1
        return "+ eyJzdGF0dXMiOiI0MDEifQ==" if line else "-ERR [AUTH] expired"

    async with Peer([], "SASL XOAUTH2", script={"AUTH": "+ ", "+": challenge}) as peer:
        with pytest.raises(Refused, match="expired"):
            await client(peer, TOKEN)
    assert said["n"] == 2
    assert "ya29" not in " ".join(peer.lines)


async def test_a_password_in_clear_is_not_sent_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3client, "LOCAL_HOSTS", ())
    async with Peer([], "USER", "SASL PLAIN") as peer:
        with pytest.raises(Temporary, match="not encrypted"):
            await client(peer, tls="auto")
        assert not any("PASS" in line or "AUTH" in line for line in peer.lines)
        with pytest.raises(Temporary, match="not encrypted"):
            await client(peer, TOKEN, tls="auto", mechanism="XOAUTH2")


@pytest.mark.parametrize(("hello", "features", "verb"), [
    ("+OK <1.2@host>", ("SASL CRAM-MD5",), "APOP"), ("+OK", ("SASL CRAM-MD5",), "AUTH CRAM-MD5"),
    ("+OK <1.2@host>", ("SASL PLAIN",), "APOP"), ("+OK", (), "USER"),
])
async def test_ways_to_log_in_without_tls(hello: str, features: tuple[str, ...], verb: str) -> None:
    script: dict[str, Any] = {"AUTH": "+ PDEuMkBob3N0Pg==", "+": "+OK"}
    async with Peer([], *features, hello=hello, script=script) as peer:
        await client(peer)
        assert any(line.startswith(verb) for line in peer.lines)
        assert verb == "USER" or not any("geheim" in line for line in peer.lines)


@pytest.fixture(scope="module")
def certificate() -> Callable[[], ssl.SSLContext]:
    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        return context
    return make


async def test_nothing_in_clear_behind_stls_counts(certificate: Callable[[], ssl.SSLContext]) -> None:
    wish = tlsclient.Wish(verify=False)
    async with Peer([], "STLS", tls=certificate(), script={"STLS": b"+OK\r\n+OK injected\r\n"}) as peer:
        with pytest.raises(Broken, match="in clear"):
            await client(peer, tls="starttls", wish=wish)
    async with Peer([], "STLS", tls=certificate()) as peer:
        assert (await client(peer, tls="auto", wish=wish)).wire.tls is not None


async def test_a_server_that_once_offered_tls_must_offer_it_again() -> None:
    async with Peer([]) as peer:
        with pytest.raises(Temporary, match="it did on 2026-11-21"):
            await client(peer, tls="auto", must_have_tls="it did on 2026-11-21")
        with pytest.raises(Temporary, match="STLS"):
            await client(peer, tls="starttls")
        assert not any(line.startswith(("USER", "PASS")) for line in peer.lines)


async def test_more_mails_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3client, "MAX_MAILS", 1000)
    async with Peer([b"x"], "UIDL", script={"UIDL": b"+OK\r\n" + b"1 x\r\n" * 2000 + b".\r\n"}) as peer:
        with pytest.raises(Broken, match="more than can be"):
            await (await client(peer)).uids()


async def test_ids_that_are_given_twice_are_told_apart() -> None:
    async with Peer([b"a", b"b"], "UIDL", script={"UIDL": "+OK\r\n1 same\r\n2 same\r\n3 \xe4\r\n."}) as peer:
        found = await (await client(peer)).uids()
    assert found is not None
    assert len(set(found.values())) == 3


async def test_a_password_with_a_line_end_sends_nothing() -> None:
    async with Peer([]) as peer:
        with pytest.raises(Refused):
            await client(peer, Credentials("meier", Secret("a\r\nDELE 1")))
        assert not any("DELE" in line for line in peer.lines)
