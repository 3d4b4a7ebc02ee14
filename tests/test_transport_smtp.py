"""transports/smtp.py and the client below it: TLS, log-in, proxies, and servers that do what they should not."""

import asyncio
import base64
import contextlib
import datetime
import hashlib
import hmac
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.relayroot import Root, smarthost
from tests.smtppeer import Peer, Session
from tests.test_transport_graph import give_token

ALL = ("PIPELINING", "8BITMIME", "SIZE 1000000", "ENHANCEDSTATUSCODES")
CA = trustme.CA()
GERMAN = "From: meier@office.lan\nSubject: x\nContent-Type: text/plain; charset=utf-8\n\nGr\u00fc\u00dfe\n".encode()


def server_tls(name: str = "127.0.0.1", *, ca: trustme.CA = CA, expired: bool = False,
               version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    ca.issue_cert(name, not_after=past if expired else None).configure_cert(made)
    if version is not None:
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
        with contextlib.suppress(DeprecationWarning):
            made.minimum_version = made.maximum_version = version
    return made


def root_for(base: Path, port: int, more: str = "", *, password: str = "", patience: str = "30s") -> Root:
    """An office whose smarthost is on this port, with TLS as it comes, and our CA trusted."""
    CA.cert_pem.write_to_path(base / "ca.pem")
    root = Root(base, f'host = "127.0.0.1"\nport = {port}\ntls_ca = "{base}/ca.pem"\n{more}'
                      + ('user = "me"\npassword = "file:secrets/p"\n' if password else ""),
                settings="[relay]\n" + "".join(
                    f'{what}_timeout = "{patience}"\n' for what in ("connect", "answer", "data")))
    if password:
        root.paths.secrets.mkdir(parents=True)
        (root.paths.secrets / "p").write_text(password)
        (root.paths.secrets / "p").chmod(0o600)
    return root


def logged(root: Root) -> str:
    return "".join(one.read_text() for one in root.paths.log.glob("*.log"))


# --- TLS

@pytest.mark.parametrize("tls", ["auto", "starttls", "implicit"])
async def test_over_tls(tmp_path: Path, tls: str) -> None:
    async with Peer("STARTTLS", *ALL, tls=server_tls(), implicit=tls == "implicit") as peer:
        root = root_for(tmp_path, peer.port, f'tls = "{tls}"')
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
    assert any(line.startswith("TLS MAIL") for line in peer.lines)
    assert not any(line.startswith("MAIL") for line in peer.lines)


BAD = {
    "self-signed": (lambda: server_tls(ca=trustme.CA()), "not trusted"),
    "expired": (lambda: server_tls(expired=True), "not trusted: certificate has expired"),
    "another name": (lambda: server_tls("evil.example"), "not trusted: IP address mismatch"),
}


@pytest.mark.parametrize("tls", ["auto", "starttls", "implicit"])
@pytest.mark.parametrize("kind", BAD)
async def test_a_wrong_certificate_gets_neither_password_nor_mail(tmp_path: Path, tls: str, kind: str) -> None:
    make, words = BAD[kind]
    async with Peer("STARTTLS", "AUTH PLAIN LOGIN", *ALL, tls=make(), implicit=tls == "implicit") as peer:
        root = root_for(tmp_path, peer.port, f'tls = "{tls}"\n', password="geheim")
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert root.waiting() == [entry_id]
        assert not [line for line in peer.lines if "AUTH" in line or "MAIL" in line]
    assert words in logged(root)
    assert not root.queued()


async def test_a_pinned_certificate_needs_no_authority(tmp_path: Path) -> None:
    other = trustme.CA()
    context, wrong = server_tls(ca=other), "00" * 32
    async with Peer("STARTTLS", *ALL, tls=context) as peer:
        root = root_for(tmp_path, peer.port, f'tls = "starttls"\ntls_fingerprint = ["{wrong}"]\n')
        root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        shown = logged(root).partition("has the fingerprint ")[2][:64]
        root.configure(f'host = "127.0.0.1"\nport = {peer.port}\ntls = "starttls"\ntls_fingerprint = ["{shown}"]\n')
        for one in (root.paths.state / "relay").glob("*"):
            one.unlink()
        assert await root.once() == os.EX_OK


async def test_stripped_starttls_is_noticed(tmp_path: Path) -> None:
    """A server that offered TLS once is never used without again, unless tls = "none" says so."""
    async with Peer("STARTTLS", *ALL, tls=server_tls()) as peer:
        root = root_for(tmp_path, peer.port)
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
        peer.features.remove("STARTTLS")
        peer.lines.clear()
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert root.waiting() == [entry_id]
        assert not [line for line in peer.lines if "MAIL" in line]
    assert "does not offer STARTTLS; it did" in logged(root)


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "220 go\r\n250 PIPELINING", "hang", "close"])
async def test_starttls_that_fails(tmp_path: Path, answer: str) -> None:
    """Also words in clear behind the 220, which somebody on the way put there."""
    async with Peer("STARTTLS", "AUTH PLAIN", *ALL, tls=server_tls(), script={"STARTTLS": answer}) as peer:
        root = root_for(tmp_path, peer.port, 'tls = "starttls"\n', password="geheim",
                        patience="1s" if answer == "hang" else "30s")
        root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert not [line for line in peer.lines if "AUTH" in line or "MAIL" in line]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(("version", "settings", "good"), [
    ("TLSv1", "", False), ("TLSv1", 'tls_min = "TLSv1"', True), ("TLSv1_1", 'tls_min = "TLSv1.1"', True),
    ("TLSv1", 'tls_min = "TLSv1.1"', False), ("TLSv1_2", "", True), ("TLSv1_3", "", True),
    ("TLSv1_2", 'tls_min = "TLSv1.3"', False), ("TLSv1_3", 'tls_max = "TLSv1.2"', False),
    ("TLSv1_2", 'tls_min = "TLSv1.2"\ntls_max = "TLSv1.2"', True),
])
async def test_tls_versions(tmp_path: Path, version: str, settings: str, good: bool) -> None:
    context = server_tls(version=getattr(ssl.TLSVersion, version))
    async with Peer("STARTTLS", *ALL, tls=context) as peer:
        root = root_for(tmp_path, peer.port, f'tls = "starttls"\n{settings}\n')
        root.put("x@far.example")
        assert await root.once() == (os.EX_OK if good else os.EX_TEMPFAIL)


# --- log-in

def auth(session: Session, line: str) -> str | None:
    """PLAIN, LOGIN, CRAM-MD5 and the two for tokens, for me and geheim."""
    words = line.split()
    if words[1] == "PLAIN":
        return "235 ok" if base64.b64decode(words[2]) == b"\0me\0geheim" else "535 5.7.8 no"
    if words[1] in ("XOAUTH2", "OAUTHBEARER"):
        return "235 ok" if b"auth=Bearer geheim-1\1" in base64.b64decode(words[2]) else "535 5.7.8 no"
    challenge = b"<1@peer>"
    want = {"CRAM-MD5": base64.b64encode(b"me " + hmac.new(b"geheim", challenge, hashlib.md5).hexdigest().encode())}
    session.peer.script.update({
        "CRAM": lambda _s, _l: None,
        base64.b64encode(b"me").decode().upper(): "334 UGFzc3dvcmQ6",
        base64.b64encode(b"geheim").decode().upper(): "235 ok",
        want["CRAM-MD5"].decode().upper(): "235 ok",
    })
    return "334 " + base64.b64encode(challenge).decode() if words[1] == "CRAM-MD5" else "334 VXNlcm5hbWU6"


@pytest.mark.parametrize(("offered", "only", "used"), [
    ("PLAIN LOGIN CRAM-MD5", "", "PLAIN"), ("LOGIN", "", "LOGIN"), ("CRAM-MD5", "", "CRAM-MD5"),
    ("PLAIN LOGIN CRAM-MD5", "LOGIN", "LOGIN"), ("PLAIN CRAM-MD5", "CRAM-MD5", "CRAM-MD5"),
    ("login plain", "", "PLAIN"),
])
async def test_mechanisms(tmp_path: Path, offered: str, only: str, used: str) -> None:
    async with Peer("STARTTLS", f"AUTH {offered}", *ALL, tls=server_tls(), script={"AUTH": auth}) as peer:
        root = root_for(tmp_path, peer.port, f'mechanism = "{only}"\n' if only else "", password="geheim")
        root.put("x@far.example")
        assert await root.once() == os.EX_OK
    assert [line.split()[2] for line in peer.lines if line.startswith("TLS AUTH")] == [used]
    assert "geheim" not in logged(root)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("good", [True, False])
async def test_tokens(tmp_path: Path, mechanism: str, good: bool) -> None:
    async with Peer("STARTTLS", f"AUTH {mechanism}", *ALL, tls=server_tls(), script={"AUTH": auth}) as peer:
        root = root_for(tmp_path, peer.port, 'user = "meier@firma.example"\nauth = "oauth2"\napp = "azure"\n')
        give_token(root.paths, "geheim-1" if good else "old")
        root.put("x@far.example")
        assert await root.once() == (os.EX_OK if good else os.EX_TEMPFAIL)
    asked = list((root.paths.state / "tokens/request").glob("*")) if not good else []
    assert len(asked) == (not good)
    assert "geheim" not in logged(root)


async def test_a_refused_log_in_is_tried_once_for_all_mails(tmp_path: Path) -> None:
    async with Peer("STARTTLS", "AUTH PLAIN", *ALL, tls=server_tls(), script={"AUTH": "535 5.7.8 wrong"}) as peer:
        root = root_for(tmp_path, peer.port, password="geheim")
        for _ in range(20):
            root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert len(root.waiting()) == 20
        assert sum("AUTH" in line for line in peer.lines) <= 2
    assert not root.queued()


@pytest.mark.parametrize("settings", ['host = "localhost.example"', ""])
async def test_no_password_in_clear(tmp_path: Path, settings: str) -> None:
    async with Peer("AUTH PLAIN LOGIN", *ALL) as peer:
        root = root_for(tmp_path, peer.port, 'tls = "starttls"\n', password="geheim")
        root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert not [line for line in peer.lines if "AUTH" in line]


# --- what a server can take

async def test_without_pipelining_one_by_one(tmp_path: Path) -> None:
    async with Peer() as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", "y@far.example")
        root.put("z@far.example")
        assert await root.once() == os.EX_OK
    assert sorted(mail.recipients for mail in peer.taken) == [["x@far.example", "y@far.example"], ["z@far.example"]]


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
async def test_chunks(tmp_path: Path, size: int) -> None:
    async with Peer("PIPELINING", "CHUNKING", "8BITMIME") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        text = GERMAN + b".\n..\n" + b"0123456789\n" * (size // 11)
        root.put("x@far.example", message=text)
        assert await root.once() == os.EX_OK
    assert peer.taken[0].text == text.replace(b"\n", b"\r\n")
    assert not [line for line in peer.lines if line == "DATA"]


async def test_8_bit_becomes_7_where_it_must(tmp_path: Path) -> None:
    async with Peer("PIPELINING") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", message=GERMAN)
        assert await root.once() == os.EX_OK
    text = peer.taken[0].text
    assert b"Gr=C3=BC=C3=9Fe" in text
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in text
    assert "BODY" not in peer.taken[0].params


@pytest.mark.parametrize(("features", "bounces"), [(("SMTPUTF8", "8BITMIME"), False), (("8BITMIME",), True)])
async def test_addresses_of_other_alphabets(tmp_path: Path, features: tuple[str, ...], bounces: bool) -> None:
    async with Peer("PIPELINING", *features) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("m\u00fcller@far.example", params=(("SMTPUTF8", ""),))
        assert await root.once() == os.EX_OK
    assert len(peer.taken) == (not bounces)
    assert len(root.queued()) == bounces


async def test_a_domain_of_another_alphabet_needs_no_smtputf8(tmp_path: Path) -> None:
    async with Peer("PIPELINING") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@m\u00fcller.example")
        assert await root.once() == os.EX_OK
    assert peer.taken[0].recipients == ["x@xn--mller-kva.example"]


async def test_dsn_is_passed_on(tmp_path: Path) -> None:
    async with Peer("PIPELINING", "DSN") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", params=(("RET", "HDRS"), ("ENVID", "QQ1")),
                 rcpt=(("NOTIFY", "SUCCESS,FAILURE"), ("ORCPT", "rfc822;x@far.example")))
        assert await root.once() == os.EX_OK
    assert "RET=HDRS ENVID=QQ1" in peer.taken[0].params
    assert any("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@far.example" in line for line in peer.lines)
    assert not root.queued()


async def test_too_large_for_the_server_bounces_unsent(tmp_path: Path) -> None:
    async with Peer("PIPELINING", "SIZE 5000") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", message=b"From: a@office.lan\n\n" + b"x" * 6000 + b"\n")
        assert await root.once() == os.EX_OK
    assert not peer.taken
    assert b"5.3.4" in root.queued()[0][1]


@pytest.mark.parametrize(("lines", "fits"), [(99, True), (100, True), (101, False)])
async def test_the_size_that_is_told_near_the_limit_is_the_true_one(tmp_path: Path, lines: int, fits: bool) -> None:
    """A guess above the limit made the server refuse a mail that it would have taken."""
    text = b"From: a@office.lan\n\n" + (b"x" * 98 + b"\n") * lines
    limit = len(b"From: a@office.lan\r\n\r\n") + 100 * 100
    async with Peer("PIPELINING", f"SIZE {limit}") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", message=text)
        assert await root.once() == os.EX_OK
    assert [mail.params for mail in peer.taken] == [f"SIZE={len(text) + text.count(10)}"] * fits
    assert len(root.queued()) == (not fits)


async def test_connections_are_kept_for_the_next_mail(tmp_path: Path) -> None:
    async with Peer(*ALL) as peer:
        root = Root(tmp_path, smarthost(peer.port, "connections = 3"))
        for number in range(60):
            root.put(f"{number}@far.example")
        assert await root.once() == os.EX_OK
        assert len(peer.taken) == 60
        assert peer.connections <= 3


# --- servers that mean harm, or are broken

HOSTILE: dict[str, bytes] = {
    "endless line": b"220 " + b"x" * 5_000_000,
    "endless greeting": b"220-hello\r\n" * 500_000,
    "no smtp": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing": b"",
    "nul": b"\0" * 100_000,
    "chatter": b"220 hello\r\n250 ok\r\n250 ok\r\n",
}


@contextlib.asynccontextmanager
async def shouting(data: bytes, *, slow: float = 0.0) -> AsyncIterator[int]:
    """A server that sends this and listens to nothing."""
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            if slow:
                for octet in data:
                    writer.write(bytes([octet]))
                    await writer.drain()
                    await asyncio.sleep(slow)
            writer.write(b"" if slow else data)
            await writer.drain()
            await asyncio.sleep(3600)
        writer.transport.abort()

    tasks: set[asyncio.Task[None]] = set()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await serve(reader, writer)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_other_mail_flows_beside_a_bad_server(tmp_path: Path, kind: str) -> None:
    """meier's smarthost misbehaves, chef's does not."""
    async with shouting(HOSTILE[kind]) as bad, Peer(*ALL) as peer:
        root = root_for(tmp_path, bad, patience="5s")
        root.account("chef", f'[outgoing]\n{smarthost(peer.port)}')
        stuck = root.put("x@far.example")
        root.put("y@far.example", account="chef")
        assert await root.once() == os.EX_TEMPFAIL
    assert [mail.recipients for mail in peer.taken] == [["y@far.example"]]
    assert root.waiting() == [stuck]
    assert not root.queued()


async def test_an_octet_at_a_time_is_as_good_as_silence(tmp_path: Path) -> None:
    async with shouting(b"220 " + b"slow" * 100 + b"\r\n", slow=0.1) as port:
        root = root_for(tmp_path, port, patience="1s")
        root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
    assert "does not answer in time" in logged(root)


@pytest.mark.parametrize("at", ["CONNECT", "EHLO", "MAIL", "DATA", "."])
async def test_silence_at_any_step(tmp_path: Path, at: str) -> None:
    async with Peer(script={at: "hang"}) as peer:
        root = root_for(tmp_path, peer.port, 'tls = "none"', patience="1s")
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
        assert root.waiting() == [entry_id]
        assert not root.queued()


@pytest.mark.parametrize("at", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("code", [421, 450, 550])
async def test_refused_at_any_step(tmp_path: Path, at: str, code: int) -> None:
    """Trouble with us (CONNECT, EHLO) is never the mail's; a 5xx about the mail is. Who knows no EHLO may know HELO."""
    kind = str(code)[0]
    async with Peer("PIPELINING", script={at: f"{code} {kind}.2.0 no\x1b[31m thanks"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        await root.once()
    bounced, sent = code == 550 and at not in ("CONNECT", "EHLO"), code == 550 and at == "EHLO"
    assert len(root.queued()) == bounced
    assert (root.waiting() == [entry_id]) is not (bounced or sent)
    assert len(peer.taken) == sent
    assert "\x1b" not in logged(root) + "".join(text.decode() for _, text in root.queued())


@pytest.mark.parametrize("features", [(), ("PIPELINING",)])
@pytest.mark.parametrize("code", [220, 250])
async def test_a_yes_to_data_itself_is_none_to_the_mail(tmp_path: Path, code: int, features: tuple[str, ...]) -> None:
    """Nothing of the text has gone out yet: who believed it lost the mail."""
    async with Peer(*features, script={"DATA": f"{code} 2.0.0 ok"}) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        entry_id = root.put("x@far.example")
        assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    assert not root.queued()


async def test_keywords_with_line_ends_and_rubbish(tmp_path: Path) -> None:
    features = ("SIZE 1\x00", "AUTH \x7f\x1b PLAIN", "PIPELINING\x0b", "=", "8BITMIME " + "x" * 3000, "X" * 2000)
    async with Peer(*features) as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example")
        await root.once()
    assert not any("\x00" in line for line in logged(root).splitlines())


@pytest.mark.parametrize("text", [
    b"From: a@office.lan\n\nx\r\n.\r\nMAIL FROM:<evil@x.example>\n", b"From: a@office.lan\n\nx\r.\rDATA\n",
    b"From: a@office.lan\n\nx\n.\nQUIT\n", b"From: a@office.lan\n\nx\r\r\n.\r\r\nQUIT\n", b"From: a@office.lan\n\n.\n",
    b"From: a@office.lan\n\nx\n.", b"From: a@office.lan\n\nx\n.\r", b"From: a@office.lan\n\n\r.\n.\n\n.\r\n",
])
async def test_no_mail_hides_in_a_mail(tmp_path: Path, text: bytes) -> None:
    """What the next server could take for an end of data (CVE-2023-51764 and its kin) does not get out."""
    async with Peer("PIPELINING") as peer:
        root = Root(tmp_path, smarthost(peer.port))
        root.put("x@far.example", message=text)
        assert await root.once() == os.EX_OK
    assert len(peer.taken) == 1
    assert b"\r" not in peer.taken[0].text.replace(b"\r\n", b"")
    assert b"\n" not in peer.taken[0].text.replace(b"\r\n", b"")
    assert not [line for line in peer.lines if "evil" in line]
