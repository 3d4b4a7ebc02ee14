"""The readers of DATA and BDAT: whatever the pieces, the same as the simple definition."""

import itertools
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.smtp import data


def simple_lines(text: bytes) -> bytes:
    return re.sub(rb"\r+", b" ", re.sub(rb"\r+\n", b"\n", text))


def simple_dots(stream: bytes) -> tuple[bytes, bytes] | None:
    """The definition in three lines: text and what follows it; None while the end has not come."""
    text, end, rest = (b"\r\n" + stream).partition(b"\r\n.\r\n")
    if not end:
        return None
    return simple_lines((text + b"\r\n").replace(b"\r\n.", b"\r\n"))[1:], rest


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    marks = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(marks)]


def read_dots(pieces: list[bytes]) -> tuple[data.DotReader, bytes, bytes]:
    reader = data.DotReader()
    out = b""
    for number, piece in enumerate(pieces):
        out += reader.feed(piece)
        if reader.ended:
            return reader, out, reader.rest + b"".join(pieces[number + 1 :])
    return reader, out, b""


PARTS = [b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\0", b"\xff", b"\r\n.\r\n", b"b" * 50]
WIRE = st.lists(st.sampled_from(PARTS)).map(b"".join)
CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


@given(WIRE, CUTS)
def test_any_pieces_give_what_the_definition_says(stream: bytes, cuts: list[int]) -> None:
    reader, out, rest = read_dots(pieces_of(stream, cuts))
    expected = simple_dots(stream)
    if expected is None:
        assert not reader.ended
        return
    assert reader.ended
    assert (out, rest) == expected
    assert reader.size == len(out) + out.count(b"\n")
    text = (b"\r\n" + stream).partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert reader.bare == bool(re.search(rb"\r(?!\n)|(?<!\r)\n", text))


@given(WIRE)
def test_octet_by_octet(stream: bytes) -> None:
    whole = stream + b"\r\n.\r\n"
    _, out, rest = read_dots([whole[i : i + 1] for i in range(len(whole))])
    assert (out, rest) == simple_dots(whole)


@given(WIRE, CUTS)
def test_bdat_in_any_pieces_and_chunks(content: bytes, cuts: list[int]) -> None:
    chunks = pieces_of(content, cuts[:3]) or [b""]
    reader = data.BdatReader()
    out = b""
    for number, chunk in enumerate(chunks):
        reader.chunk(len(chunk), number == len(chunks) - 1)
        if not chunk:
            out += reader.feed(b"")
        for piece in pieces_of(chunk, cuts):
            out += reader.feed(piece)
        assert reader.left == 0
        assert reader.rest == b""
    assert reader.ended
    expected = simple_lines(content)
    assert out == (expected if expected.endswith(b"\n") or not expected else expected + b"\n")
    assert reader.size == len(out) + out.count(b"\n")


def test_bdat_gives_back_what_follows_the_chunk() -> None:
    reader = data.BdatReader()
    reader.chunk(5, last=True)
    assert reader.feed(b"ab\r\ncQUIT\r\n") == b"ab\nc\n"
    assert reader.rest == b"QUIT\r\n"


def test_bdat_holds_an_end_of_data_as_text() -> None:
    reader = data.BdatReader()
    reader.chunk(9, last=True)
    assert reader.feed(b"a\r\n.\r\nb\r\n") == b"a\n.\nb\n"


# Each of these was taken for the end of data by some server. What follows must stay inside the mail.
FAKES = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\r.\r\n",
    b"\n\n.\r\n",
    b"\r\r.\r\n",
    b"\r\n\r.\r\n",
    b"\r\n.\n\r\n",
    b"\r\n.\n.\r\n",
    b"\r\n. \r\n",
    b"\r\n .\r\n",
    b"\r\n.\t\r\n",
    b"\r\n..\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\0.\r\n",
    b"\0\r\n.\0\r\n",
    b"\r\0\n.\r\n",
    b"\r\n.\r\0\n",
    b"\r\n.\x85",
    b"\xc2\x85.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\x0b.\x0b",
    b"\x0c.\x0c",
    b"\x1c.\x1c",
    b"\x1d.\x1d",
    b"\x1e.\x1e",
    b"\r\n.\x0b\r\n",
    b"\r\n\x1a.\r\n",
    b"\r\n=2E\r\n",
    b"\r\n\xef\xbb\xbf.\r\n",
    b"\r\n.\\r\\n",
    b"\n.\n\r\n",
    b"\r\n.\r\t\n",
]


@pytest.mark.parametrize("fake", FAKES, ids=repr)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
def test_fake_end_ends_nothing(fake: bytes, step: int) -> None:
    stream = b"Subject: one\r\n\r\nfirst" + fake + b"MAIL FROM:<x@y>\r\nsecond\r\n"
    whole = stream + b".\r\nQUIT\r\n"
    reader, out, rest = read_dots([whole[i : i + step] for i in range(0, len(whole), step)])
    assert reader.ended
    assert rest == b"QUIT\r\n"
    assert out.endswith(b"MAIL FROM:<x@y>\nsecond\n")
    assert b"\r" not in out


@pytest.mark.parametrize("border", range(1, 8))
def test_true_end_cut_anywhere(border: int) -> None:
    stream = b"a\r\n.\r\nX"
    reader, out, rest = read_dots([stream[:border], stream[border:]])
    assert (reader.ended, out, rest) == (True, b"a\n", b"X")


def test_empty_text() -> None:
    reader, out, rest = read_dots([b".\r\nQUIT\r\n"])
    assert (reader.ended, out, rest, reader.size) == (True, b"", b"QUIT\r\n", 0)


def test_dots_are_taken_once() -> None:
    _, out, _ = read_dots([b"..\r\n...a\r\n.b\r\nc.\r\n.\r\n"])
    assert out == b".\n..a\nb\nc.\n"


@pytest.mark.parametrize("reader", ["dot", "bdat"])
def test_no_line_end_costs_no_memory(reader: str) -> None:
    """128 MB without a line end made aiosmtpd grow by 122 MiB."""
    piece = b"x" * 65536
    sink: data.DotReader | data.BdatReader
    if reader == "dot":
        sink = data.DotReader()
    else:
        sink = data.BdatReader()
        sink.chunk(1 << 30, last=True)
    tracemalloc.start()
    try:
        for _ in range(200):
            assert sink.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_flood_of_crs_costs_no_memory() -> None:
    reader = data.DotReader()
    for _ in range(50):
        assert len(reader.feed(b"\r" * 65536)) <= 1
    assert reader.feed(b"x\r\n.\r\n") == b" x\n"
