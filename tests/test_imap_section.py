"""BODY[section]<partial>: which octets, in wire form, from bytes and from a file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from lanmail import wire
from lanmail.imap import section
from lanmail.imap.section import Section, Source
from tests import odd_messages

MESSAGE = b"""From: a@b
Subject: one
 two
X-A: 1
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

hello
--b
Content-Type: message/rfc822

Subject: inner
X: 2

inner body
--b--
epilogue
"""
PLAIN = b"Subject: x\n\nbody\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Section()),
        ("header", Section((), "HEADER")),
        ("TEXT", Section((), "TEXT")),
        ("1", Section((1,))),
        ("1.20.3", Section((1, 20, 3))),
        ("1.mime", Section((1,), "MIME")),
        ("4.2.HEADER.FIELDS.NOT", Section((4, 2), "HEADER.FIELDS.NOT")),
        ("HEADER.FIELDS", Section((), "HEADER.FIELDS")),
    ],
)
def test_parse(text: str, expected: Section) -> None:
    assert section.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["0", "1.", ".1", "1..2", "MIME", "1HEADER", "HEADER.", "HEADER.FIELD", "1.X", "01", "-1", "99999999999"]
)
def test_not_a_section(text: str) -> None:
    with pytest.raises(ValueError, match="not a section"):
        section.parse(text)


def test_wire() -> None:
    fields = (b"To", b"X(Y", b"\xc3\xa4")
    assert Section((1, 2), "HEADER.FIELDS", fields).wire() == b'1.2.HEADER.FIELDS (To "X(Y" {2}\r\n\xc3\xa4)'
    assert Section().wire() == b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", MESSAGE),
        ("HEADER", MESSAGE[: MESSAGE.index(b"preamble")]),
        ("TEXT", MESSAGE[MESSAGE.index(b"preamble") :]),
        ("1", b"hello"),
        ("1.MIME", b"Content-Type: text/plain\n\n"),
        ("1.HEADER", None),
        ("1.1", None),
        ("2", b"Subject: inner\nX: 2\n\ninner body"),
        ("2.MIME", b"Content-Type: message/rfc822\n\n"),
        ("2.HEADER", b"Subject: inner\nX: 2\n\n"),
        ("2.TEXT", b"inner body"),
        ("2.1", b"inner body"),
        ("2.2", None),
        ("3", None),
    ],
)
def test_cut(text: str, expected: bytes | None) -> None:
    part = section.parse(text)
    answer = section.cut(Source(MESSAGE), part)
    assert answer == (None if expected is None else wire.to_crlf(expected))
    assert section.size(Source(MESSAGE), part) == (None if answer is None else len(answer))
    assert section.cut(Source(wire.to_crlf(MESSAGE)), part) == answer


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("HEADER.FIELDS", (b"subject", b"FROM", b"Cc"), b"From: a@b\r\nSubject: one\r\n two\r\n\r\n"),
        ("HEADER.FIELDS", (b"cc",), b"\r\n"),
        ("HEADER.FIELDS.NOT", (b"Subject", b"Content-Type"), b"From: a@b\r\nX-A: 1\r\n\r\n"),
        ("2.HEADER.FIELDS", (b"X",), b"X: 2\r\n\r\n"),
        ("1.HEADER.FIELDS", (b"X",), None),
    ],
)
def test_fields(text: str, fields: tuple[bytes, ...], expected: bytes | None) -> None:
    part = section.parse(text)
    assert section.cut(Source(MESSAGE), Section(part.part, part.what, fields)) == expected


def test_fields_always_end_with_an_empty_line() -> None:
    chosen = Section((), "HEADER.FIELDS", (b"A",))
    assert section.cut(Source(b"A: 1"), chosen) == b"A: 1\r\n\r\n"
    assert section.cut(Source(b"A: 1\n"), chosen) == b"A: 1\r\n\r\n"
    assert section.cut(Source(b""), chosen) == b"\r\n"
    assert section.cut(Source(b"A: 1"), Section((), "HEADER.FIELDS.NOT", (b"B",))) == b"A: 1"


def test_what_is_not_multipart_is_its_own_part_one() -> None:
    assert section.cut(Source(PLAIN), section.parse("1")) == b"body\r\n"
    assert section.cut(Source(PLAIN), section.parse("1.MIME")) == b"Subject: x\r\n\r\n"
    assert section.cut(Source(PLAIN), section.parse("1.1")) is None


def test_no_nul_on_the_wire() -> None:
    assert section.cut(Source(b"\na\0b"), section.parse("TEXT")) == b"a\x80b"


@pytest.mark.parametrize(
    ("offset", "length", "expected"), [(0, 3, b"bod"), (4, 1, b"\r"), (5, 9, b"\n"), (6, 9, b""), (99, 1, b"")]
)
def test_partial(offset: int, length: int, expected: bytes) -> None:
    assert section.cut(Source(PLAIN), section.parse("TEXT"), (offset, length)) == expected


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "message", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_partial_of_a_long_message(file: int) -> None:
    """Places are found by counting in steps; none may fall between CR and LF, or at a wrong octet."""
    message = b"A: b\n\n" + b"".join(b"%05d\n%05d\r\n" % (n, n) for n in range(30_000))
    os.write(file, message)
    whole = wire.to_crlf(message)
    for offset in (0, 1, 65_535, 65_536, 65_537, 131_071, 300_001, 300_002, len(whole) - 5, len(whole)):
        for source in (Source(message), Source(fd=file)):
            assert section.cut(source, Section(), (offset, 70_000)) == whole[offset : offset + 70_000]


@settings(max_examples=200, deadline=None)
@given(
    odd_messages.messages,
    strategies.sampled_from(["", "HEADER", "TEXT", "1", "1.MIME", "2", "1.1"]),
    strategies.integers(0, 300),
)
def test_partial_is_a_slice(message: bytes, text: str, offset: int) -> None:
    part = section.parse(text)
    whole = section.cut(Source(message), part)
    partial = section.cut(Source(message), part, (offset, 20))
    assert partial == (None if whole is None else whole[offset : offset + 20])


@settings(max_examples=100, deadline=None)
@given(odd_messages.messages)
def test_the_whole_is_its_header_and_its_text(message: bytes) -> None:
    header, text = (section.cut(Source(message), section.parse(what)) for what in ("HEADER", "TEXT"))
    assert header is not None
    assert text is not None
    assert header + text == wire.to_crlf(message).replace(b"\0", b"\x80")
    assert section.size(Source(message), Section()) == len(header + text)


def test_a_header_is_read_without_the_body(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.write(file, b"Subject: x\n\n" + b"body\n" * 1_000_000)
    read = []
    pread = os.pread

    def counting(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    assert section.cut(Source(fd=file), section.parse("HEADER")) == b"Subject: x\r\n\r\n"
    assert section.cut(Source(fd=file), Section((), "HEADER.FIELDS", (b"Subject",))) == b"Subject: x\r\n\r\n"
    assert sum(read) <= 2 * 8192


@pytest.mark.parametrize("size", [8190, 8191, 8192, 8193, 70_000])
def test_a_long_header(file: int, size: int) -> None:
    header = b"A: " + b"x" * (size - 4) + b"\n\n"
    os.write(file, header + b"body\n")
    assert Source(fd=file).header == header
    assert Source(fd=file).data == header + b"body\n"


def test_a_message_without_a_body(file: int) -> None:
    os.write(file, b"A: b\n")
    assert Source(fd=file).header == b"A: b\n"
    assert Source(fd=file).wire_size == 6
