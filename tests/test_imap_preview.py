"""Previews (RFC 8970): what is taken from which message, and how long that takes."""

import base64
import time
from pathlib import Path

import pytest

from lanmail.imap import preview
from tests import imapserver


def of(body: str, kind: str = "text/plain; charset=utf-8", *more: str) -> str:
    head = "".join(f"{line}\n" for line in ("Subject: x", f"Content-Type: {kind}", *more))
    return preview.of(f"{head}\n{body}".encode())


def test_plain_text_on_one_line() -> None:
    assert of("Guten Tag,\n\n  wir bestätigen\tIhr \u200bGebot.\r\n") == "Guten Tag, wir bestätigen Ihr Gebot."
    assert preview.of(b"Subject: x\n\nwithout MIME\n") == "without MIME"


def test_at_most_256_characters_which_are_not_octets() -> None:
    assert of("ä" * 1000) == "ä" * 256
    assert len(of("wort " * 100)) <= 256


@pytest.mark.parametrize("data", [b"", b"\n", b"Subject: x", b"Subject: x\n\n \n\t\n", b"\n\xa0\n", b"\n> \n"])
def test_nothing_to_show(data: bytes) -> None:
    assert preview.of(data) == ""


def test_encodings_and_charsets() -> None:
    latin = base64.encodebytes("Grüße".encode("latin-1")).decode()
    assert of(latin, "text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: base64") == "Grüße"
    assert of("Gr=FC=DFe =\naus K=F6ln", "text/plain; charset=iso-8859-1",
              "Content-Transfer-Encoding: quoted-printable") == "Grüße aus Köln"
    assert of("x", "text/plain; charset=klingon") == "x"


def test_quotations_and_signatures_are_left_out() -> None:
    assert of("Ja, gern.\n\nAm Montag schrieb Anna:\n\n> Kommst du?\n> Anna\n\nBis dann\n-- \nMeier GmbH\n") == (
        "Ja, gern. Bis dann")
    assert of("> nur Zitat\n> und mehr\n") == "nur Zitat und mehr"


def test_html_as_it_is_read() -> None:
    assert of("<html><head><title>T</title><style>p {color: red}</style></head><body><p>Hallo&nbsp;<b>W</b>elt<br>"
              "1 &lt; 2<!-- <p>nicht --><script>var a = '</p>';</script></p><p title='a > b'>neu</p></body>",
              "text/html") == "Hallo Welt 1 < 2 neu"
    assert of("<![CDATA[x]]><?xml y?></>a < b <c", "text/html") == "a < b"


@pytest.mark.parametrize("broken", [
    "<p", "<style>x", "<!-- x", "<a href='x", "<script>", "<p title=\"x>y", "<>x", "&#99999999;", "&#xD800;"])
def test_broken_html(broken: str) -> None:
    assert of(f"davor {broken}", "text/html").startswith("davor")


def parts(*each: str, kind: str = "multipart/mixed") -> str:
    body = "".join(f"--b\n{one}\n" for one in each) + "--b--\n"
    return of("preamble\n" + body, f'{kind}; boundary="b"')


def test_the_text_among_several_parts() -> None:
    plain, page = "Content-Type: text/plain\n\nder Text", "Content-Type: text/html\n\n<p>die Seite"
    file = "Content-Type: text/plain\nContent-Disposition: attachment\n\ndie Anlage"
    assert parts(plain, page, kind="multipart/alternative") == "der Text"
    assert parts(page, plain, kind="multipart/alternative") == "der Text"
    assert parts(page, plain) == "die Seite"
    assert parts("Content-Type: text/plain\n\n \n", page, kind="multipart/alternative") == "die Seite"
    assert parts(file, "Content-Type: text/csv\n\n1;2", plain) == "der Text"
    assert parts(file, "Content-Type: message/rfc822\n\nSubject: y\n\nweitergeleitet") == ""
    assert parts("Content-Type: application/pgp-encrypted\n\nVersion: 1", kind="multipart/encrypted") == ""


@pytest.mark.parametrize("piece", [
    "<", "<a ", "<a '", '<a "', "<!--", "<style>", "<a><b", "&lt", "<p '\n", ">", "> x\n", "x:\n>\n", "&#1", " ",
    "\u200b", "<a \"'>"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    of(piece * (preview.MAX_OCTETS // len(piece.encode())), "text/html")
    of(piece * (preview.MAX_OCTETS // len(piece.encode())))
    assert time.process_time() - start < 2


async def test_fetch(tmp_path: Path) -> None:
    async with imapserver.running(tmp_path) as server:
        server.deliver(imapserver.message(body="Guten Tag\n"))
        server.deliver("Subject: x\n\nÜber uns\n".encode())
        server.deliver(b"Subject: x\n\n")
        server.deliver(b"Subject: large\n\nGro\xdf " + b"x" * (8 << 20))
        client = await server.client(select="INBOX")
        said = await client.ok("FETCH 1:3 (PREVIEW (LAZY) UID)")
        assert said == [b'1 FETCH (PREVIEW "Guten Tag" UID 1)', "2 FETCH (PREVIEW {9}\r\nÜber uns UID 2)".encode(),
                        b'3 FETCH (PREVIEW "" UID 3)']
        assert await client.ok("FETCH 1 PREVIEW (LAZY)") == [b'1 FETCH (PREVIEW "Guten Tag")']
        assert (await client.ok("UID FETCH 4 PREVIEW"))[0].startswith("4 FETCH (UID 4 PREVIEW {257}\r\nGroß x".encode())
        assert await client.ok("FETCH 1 FLAGS") == [b"1 FETCH (FLAGS (\\Recent))"]  # nothing was marked as read
        await client.fails("FETCH 1 PREVIEW (EAGER)", "BAD")
        await client.fails("FETCH 1 (PREVIEW (LAZY)", "BAD")
