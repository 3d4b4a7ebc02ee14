"""The IMAP client: against our own imapd, and against servers that are slow, wrong or hostile."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.clients import imapclient, imapwire, smtplogin, tlsclient
from lanmail.clients.imapclient import Denied, Mailbox
from lanmail.clients.imapwire import Atom, Broken, Stored
from lanmail.errors import Temporary
from lanmail.secret import Secret
from tests import imapserver

PATIENCE = imapclient.Patience(30, 1)


def target(port: int, password: str = imapserver.PASSWORD, **more: object) -> imapclient.Target:
    who = smtplogin.Credentials("meier", Secret(password))
    return imapclient.Target("127.0.0.1", port, who, **{"tls": "none", **more})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def script(*steps: bytes, greeting: bytes = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
                 heard: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that answers each line with the next step; `%t` becomes the tag. Its port."""
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)
        with contextlib.suppress(ConnectionError):
            for step in steps:
                line = await reader.readline()
                if heard is not None:
                    heard.append(line)
                writer.write(step.replace(b"%t", line.split(b" ")[0]))
            await reader.read()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def secure(tls: Path, *, first: bytes = b"") -> AsyncIterator[int]:
    """A server with TLS, from the start or, with `first` as its greeting, after STARTTLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls / "server.pem", tls / "server.key")
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, OSError):
            if first:
                writer.write(first)
                writer.write((await reader.readline()).split(b" ")[0] + b" OK go\r\n")
                clear = writer.transport
                try:
                    await writer.start_tls(context)
                finally:
                    if writer.transport is None:  # Python 3.11 leaves it so when the handshake fails
                        writer._transport = clear  # type: ignore[attr-defined]
            else:
                writer.write(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
            while line := await reader.readline():
                if line.split()[1:] == [b"CAPABILITY"]:
                    writer.write(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n")
                writer.write(line.split(b" ")[0] + b" OK done\r\n")

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=None if first else context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["implicit", "starttls"])
async def test_tls_is_what_was_asked_for(certificate: Path, way: str) -> None:
    first = b"" if way == "implicit" else b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n"
    async with secure(certificate, first=first) as port:
        trusting = tlsclient.Wish(ca=certificate / "ca.pem")
        client = await imapclient.connect(target(port, tls=way, wish=trusting), PATIENCE)
        assert client.wire.tls is not None
        assert "AUTH=PLAIN" in client.capabilities
        await client.command("NOOP")
        await client.logout()
    async with secure(certificate, first=first) as port:
        with pytest.raises(Temporary, match="not trusted"):
            await imapclient.connect(target(port, tls=way), PATIENCE)
    async with secure(certificate, first=first) as port:
        pinned = tlsclient.Wish(fingerprints=("0" * 64,))
        with pytest.raises(Temporary, match="fingerprint"):
            await imapclient.connect(target(port, tls=way, wish=pinned), PATIENCE)


LOGGED_IN = b"%t OK [CAPABILITY IMAP4rev1] in\r\n"


async def test_with_our_own_server(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        big = imapserver.message(body="x" * 70 + "\n" * 100_000)
        for text in (imapserver.message("one"), imapserver.message('a "q" \\ {5}'), big):
            server.deliver(text)
        client = await imapclient.connect(target(server.port), PATIENCE)
        found = {one.levels: one for one in await client.mailboxes()}
        assert ("Sent",) in found
        assert "\\Sent" in found["Sent",].attributes
        opened = await client.examine(b"INBOX")
        assert (opened.exists, opened.uidnext) == (3, 4)
        got = b""

        def sink(piece: bytes) -> None:
            nonlocal got
            got += piece

        tags = [client.fetch([1, 2], "UID FLAGS BODY.PEEK[]"), client.fetch([3], "UID BODY.PEEK[]")]
        answers = [one.pairs() for tag in tags async for one in client.results(tag, sink)]
        assert [imapwire.number(one["UID"]) for one in answers] == [1, 2, 3]
        assert answers[2]["BODY[]"] == Stored(len(big) + big.count(b"\n"))
        assert got.endswith(big.replace(b"\n", b"\r\n"))
        with pytest.raises(Denied):
            await client.examine(b"Nope")
        with pytest.raises(smtplogin.Refused):
            await imapclient.connect(target(server.port, "wrong"), PATIENCE)
        await client.logout()


def parse(line: bytes, *literals: bytes | Stored) -> imapwire.Response:
    return imapwire.parse(line.split(b"{}"), list(literals))


def test_responses() -> None:
    one = parse(b'* 7 FETCH (UID 5 FLAGS (\\Seen $A) BODY[HEADER.FIELDS (A "B")] {} X NIL "" "a\\"b)")', b"raw)")
    assert (one.number, one.kind) == (7, "FETCH")
    assert one.values == [[b"UID", b"5", b"FLAGS", [b"\\Seen", b"$A"], b'BODY[HEADER.FIELDS (A "B")]', b"raw)",
                           b"X", None, b"", b'a"b)']]
    assert isinstance(one.values[0][1], Atom)  # type: ignore[index]
    assert one.pairs()["UID"] == b"5"
    status = parse(b"c1 no [TRYCREATE] really \x1b[31m not")
    assert (status.tag, status.kind, status.code, status.text) == ("c1", "NO", "TRYCREATE", "really  [31m not")
    assert parse(b"* OK [UIDNEXT 5] x").code == "UIDNEXT 5"
    assert parse(b'* LIST (\\HasNoChildren) "/" {}', b"a b").values[2] == b"a b"
    assert parse(b"+ go").tag == "+"


@pytest.mark.parametrize("line", [
    b"", b"HTTP/1.1 400 Bad Request", b"* 1 FETCH (UID 5", b"* 1 FETCH UID 5)", b'* LIST () "/" "open',
    b"* 1 FETCH " + b"(" * 100,
])
def test_what_is_no_imap(line: bytes) -> None:
    with pytest.raises(Broken):
        parse(line)


@pytest.mark.parametrize("part", [b"[ ", b"(", b'"', b"\\", b"a[", b"() ", b'"\\" ', b"{5} "])
def test_hostile_lines_take_linear_time(part: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(Broken):
        parse(b"* 1 FETCH (" + part * (200_000 // len(part)))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(("step", "said"), [
    (b"* LIST () \"/\" {99999999999}\r\n", "announces"), (b"x" * (3 << 20), "line without end"),
    (b"", "says nothing for"), (b"* BYE overloaded\r\n", "good-bye: overloaded"),
    (b"* " + b"{100000}\r\n" + b"x" * 100_000 + b"\n", "does not speak"),
])
async def test_a_hostile_server_is_given_up(step: bytes, said: str) -> None:
    async with script(LOGGED_IN, step) as port:
        client = await imapclient.connect(target(port), PATIENCE)
        with pytest.raises(Broken, match=said):
            await client.command("NOOP")
        client.wire.close()


async def test_a_body_that_ends_too_soon() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n* 1 FETCH (UID 1 BODY[] {1000}\r\nshort")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    client = await imapclient.connect(target(server.sockets[0].getsockname()[1]), PATIENCE)
    with pytest.raises(Broken, match="middle of a message"):
        _ = [one async for one in client.results("c9", lambda _piece: None)]
    client.wire.close()
    server.close()


async def test_the_password_stays_here_without_tls() -> None:
    heard: list[bytes] = []
    async with script(b"%t BAD no\r\n", heard=heard) as port:
        with pytest.raises(Broken, match="does not offer STARTTLS"):
            await imapclient.connect(target(port, tls="starttls"), PATIENCE)
    # words put in clear behind the answer to STARTTLS are somebody's on the way
    async with script(b"%t OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", heard=heard) as port:
        with pytest.raises((Broken, Temporary)):
            await imapclient.connect(target(port, tls="starttls"), PATIENCE)
    async with script(greeting=b"* PREAUTH in already\r\n", heard=heard) as port:
        with pytest.raises(Broken, match="before TLS"):
            await imapclient.connect(target(port, tls="starttls"), PATIENCE)
    assert not any(b"AUTH" in line or b"LOGIN" in line for line in heard)


async def test_names_and_passwords_that_need_a_literal() -> None:
    heard: list[bytes] = []
    in_ = b"l OK [CAPABILITY IMAP4rev1] in\r\n"
    async with script(b"+ go\r\n", in_, greeting=b"* OK [CAPABILITY IMAP4rev1] hi\r\n", heard=heard) as port:
        client = await imapclient.connect(target(port, "pä\"ss"), PATIENCE)
        client.wire.close()
    assert heard[0] == b'l LOGIN "meier" {6}\r\n'
    assert heard[1] == 'pä"ss\r\n'.encode()


async def test_mailboxes_as_servers_name_them() -> None:
    lines = (b'* LIST (\\HasChildren \\Noselect) "/" "[Gmail]"\r\n'
             b'* LIST (\\Sent) "/" "[Gmail]/Gesendet &APw-"\r\n'
             b'* LIST () NIL INBOX\r\n* LIST () "." {5}\r\na.b"c\r\n* LIST () "\\\\" "x\\\\y"\r\n'
             b'* LIST nonsense\r\n* LIST () "/" "a&ABs-[31m"\r\n%t OK\r\n')
    async with script(LOGGED_IN, lines) as port:
        client = await imapclient.connect(target(port), PATIENCE)
        found = await client.mailboxes()
        client.wire.close()
    assert [one.levels for one in found] == [
        ("[Gmail]",), ("[Gmail]", "Gesendet ü"), ("INBOX",), ("a", 'b"c'), ("x", "y"), ("a_[31m",)]
    assert [one.selectable for one in found] == [False, True, True, True, True, True]
    assert found[1] == Mailbox(b"[Gmail]/Gesendet &APw-", ("[Gmail]", "Gesendet ü"), frozenset({"\\Sent"}))


async def test_idle_ends_with_new_mail_and_may_be_given_up(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        server.deliver(imapserver.message())
        client = await imapclient.connect(target(server.port), PATIENCE)
        await client.examine(b"INBOX")
        await client.idle(0.2)
        assert not client.selected.grown
        waiting = asyncio.create_task(client.idle(20))
        await asyncio.sleep(0.1)
        server.deliver(imapserver.message("new"))
        await asyncio.wait_for(waiting, 30)
        assert client.selected.grown
        assert client.selected.exists == 2
        client.selected.grown = False
        waiting = asyncio.create_task(client.idle(20))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await client.examine(b"INBOX")).exists == 2
        await client.logout()


@pytest.mark.parametrize(("answer", "kind"), [
    (b"%t NO AUTHENTICATE failed.\r\n", smtplogin.Refused),  # Exchange
    (b"%t NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n", smtplogin.Refused),
    (b"%t NO [AUTHENTICATIONFAILED] too many tries with this password\r\n", smtplogin.Refused),
    (b"%t NO [UNAVAILABLE] Temporary authentication failure.\r\n", Temporary),
    (b"%t NO [ALERT] Too many simultaneous connections. (Failure)\r\n", Temporary),
    (b"%t NO Server Unavailable. 15\r\n", Temporary),
])
async def test_a_server_that_is_busy_does_not_refuse_the_password(answer: bytes, kind: type[Exception]) -> None:
    async with script(answer) as port:
        with pytest.raises(kind) as caught:
            await imapclient.connect(target(port), PATIENCE)
        assert isinstance(caught.value, smtplogin.Refused) == (kind is smtplogin.Refused)


async def test_starttls_is_used_where_it_is_offered(certificate: Path) -> None:
    wish = tlsclient.Wish(ca=certificate / "ca.pem")
    async with secure(certificate, first=b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hi\r\n") as port:
        client = await imapclient.connect(target(port, tls="auto", wish=wish), PATIENCE)
        assert client.wire.tls is not None
        assert (client.greeting, client.mechanism) == ("hi", "PLAIN")
        await client.logout()
    async with script(LOGGED_IN) as port:  # on this machine itself a password may go in clear
        client = await imapclient.connect(target(port, tls="auto"), PATIENCE)
        assert client.wire.tls is None
        client.wire.close()
