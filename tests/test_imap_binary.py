"""BINARY (RFC 3516): parts without their transfer encoding, and messages that come with binary parts."""

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lanmail.imap import binary, section
from tests import imapserver

MESSAGE = b"""From: a@b
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=
=C3=9Fe
Zeile=20
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: BASE64

%b
--b
Content-Type: application/x-old
Content-Transfer-Encoding: x-uuencode

begin 644 x
--b
Content-Type: message/rfc822

Content-Transfer-Encoding: base64

SGFsbG8=

--b--
""" % base64.encodebytes(b"\0\1\2\n\r\n\xff" * 30).rstrip()


def part(*numbers: int) -> bytes | None:
    return binary.part(section.Source(MESSAGE), numbers)


def test_parts_without_their_encoding() -> None:
    assert part(1) == "Grüße\r\nZeile ".encode()
    assert part(2) == b"\0\1\2\n\r\n\xff" * 30
    assert part(4) == b"Content-Transfer-Encoding: base64\r\n\r\nSGFsbG8=\r\n"
    assert part(4, 1) == b"Hallo"
    assert part(5) is None
    assert part() == MESSAGE.replace(b"\n", b"\r\n")
    with pytest.raises(binary.UnknownEncoding):
        part(3)


def test_blanks_at_the_end_of_a_quoted_printable_line_are_not_of_the_message() -> None:
    """RFC 2045 §6.7, rule 3; also behind the sign of a soft line break."""
    message = b"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nhello \t\nfoo = \t\nbar\nx =20 \n\t"
    assert binary.part(section.Source(message), (1,)) == b"hello\r\nfoo bar\r\nx  \r\n"


def test_a_message_without_mime_has_no_encoding() -> None:
    encoding = b"Content-Transfer-Encoding: base64\n\nSGFsbG8=\n"
    assert binary.part(section.Source(encoding), (1,)) == b"SGFsbG8=\r\n"
    assert binary.part(section.Source(b"Content-Type: text/plain\n" + encoding), (1,)) == b"Hallo"


def test_binary_parts_become_base64() -> None:
    octets = bytes(range(256)) * 3
    message = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
               b"Content-Transfer-Encoding: binary\r\n\r\n--b\r\nContent-Type: application/x\r\n"
               b"content-transfer-encoding :\r\n binary\r\nX-Y: z\r\n\r\n" + octets
               + b"\r\n--b\r\n\r\ntext\0\r\n--b--\r\n")
    kept = binary.as_lines(message)
    assert b"\0" not in kept
    assert b"\r" not in kept
    assert max(map(len, kept.split(b"\n"))) < 80
    assert b"Content-Transfer-Encoding: 8bit\n\n--b" in kept
    source = section.Source(kept)
    assert binary.part(source, (1,)) == octets
    assert binary.part(source, (2,)) == b"text\x80"
    assert binary.as_lines(b"Subject: x\r\n\r\nplain\r\n") == b"Subject: x\n\nplain\n"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[imapserver.Server]:
    async with imapserver.running(tmp_path) as one:
        yield one


async def test_fetch(server: imapserver.Server) -> None:
    server.deliver(MESSAGE)
    client = await server.client(select="INBOX")
    assert await client.ok("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1] BINARY.SIZE[2])") == [
        "1 FETCH (BINARY[1] {15}\r\nGrüße\r\nZeile  BINARY.SIZE[1] 15 BINARY.SIZE[2] 210)".encode()]
    assert await client.ok("FETCH 1 BINARY.PEEK[2]<1.3>") == [b"1 FETCH (BINARY[2]<1> {3}\r\n\1\2\n)"]
    assert await client.ok("FETCH 1 BINARY.PEEK[2]<0.2>") == [b"1 FETCH (BINARY[2]<0> ~{2}\r\n\0\1)"]
    assert await client.ok("FETCH 1 (BINARY.PEEK[7] BINARY.PEEK[2]<900.5>)") == [
        b"1 FETCH (BINARY[7] NIL BINARY[2]<900> {0}\r\n)"]
    assert (await client.fails("FETCH 1 (UID BINARY.PEEK[3])")).startswith(b"[UNKNOWN-CTE]")
    assert (await client.fails("FETCH 1 BINARY.SIZE[3]")).startswith(b"[UNKNOWN-CTE]")
    assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Recent))"]
    assert b"FLAGS (\\Seen" in (await client.ok("FETCH 1 BINARY[4.1]"))[0]
    for bad in ("BINARY", "BINARY[TEXT]", "BINARY[1.MIME]", "BINARY.SIZE[1]<0.1>", "BINARY[0]", "BINARY.PEEK[1]<0.0>"):
        await client.fails(f"FETCH 1 {bad}", "BAD")


async def test_of_large_messages(server: imapserver.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lanmail.imap.streaming.LARGE", 100)
    server.deliver(MESSAGE + b"\0")
    size = len(MESSAGE) + MESSAGE.count(b"\n") + 1
    client = await server.client(select="INBOX")
    assert await client.ok("FETCH 1 (BINARY.SIZE[] BINARY.SIZE[2] UID)") == [
        b"1 FETCH (BINARY.SIZE[] %d BINARY.SIZE[2] 210 UID 1)" % size]
    assert (await client.ok("FETCH 1 BINARY.PEEK[]"))[0].startswith(b"1 FETCH (BINARY[] ~{%d}\r\nFrom" % size)
    assert (await client.fails("FETCH 1 BINARY[3]")).startswith(b"[UNKNOWN-CTE]")


async def test_append_with_nul_in_a_binary_part(server: imapserver.Server) -> None:
    message = (b"MIME-Version: 1.0\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n"
               b"\0 -\xff\n\r\0")
    client = await server.client()
    await client.ok(b'APPEND INBOX (\\Seen) " 1-Jan-2020 00:00:00 +0000" ~{%d+}\r\n%b' % (len(message), message))
    await client.ok("SELECT INBOX")
    assert await client.ok("FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1])") == [
        b"1 FETCH (BINARY.SIZE[1] 7 BINARY[1] ~{7}\r\n\0 -\xff\n\r\0)"]
    said = (await client.ok("FETCH 1 (BODY.PEEK[] RFC822.SIZE INTERNALDATE)"))[0]
    size = int(said.split(b"RFC822.SIZE ")[1].split(b" ")[0])
    assert b"BODY[] {%d}\r\n" % size in said
    assert b'INTERNALDATE "' in said
    (name,) = os.listdir(f"{server.root()}/cur")
    assert f",S={os.path.getsize(f'{server.root()}/cur/{name}')}," in name
    # two in one command, one of each kind
    await client.ok(b"APPEND INBOX ~{%d+}\r\n%b (\\Flagged) {%d+}\r\n%b" % (len(message), message, 6, b"X: y\r\n"))
    assert await client.ok("STATUS INBOX (MESSAGES)") == [b"STATUS INBOX (MESSAGES 3)"]
