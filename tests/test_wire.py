"""Line ends on the wire and on disk."""

from hypothesis import given
from hypothesis import strategies as st

from lanmail import wire

PIECES = st.lists(st.sampled_from([b"a", b".", b"\n", b"\r\n", b"\r", b"..", b""]), max_size=12).map(b"".join)


def test_examples():
    assert wire.to_crlf(b"a\nb\r\nc\rd\n") == b"a\r\nb\r\nc\rd\r\n"
    assert wire.to_lf(b"a\r\nb\nc\r") == b"a\nb\nc\r"
    assert wire.dot_stuff(b".a\r\n.\r\nb.\r\n..\r\n") == b"..a\r\n..\r\nb.\r\n...\r\n"


@given(PIECES)
def test_crlf_is_what_a_simple_loop_says(data):
    out, last = bytearray(), 0
    for byte in data:
        if byte == 10 and last != 13:
            out.append(13)
        out.append(byte)
        last = byte
    assert wire.to_crlf(data) == bytes(out)


@given(PIECES)
def test_stuffing_is_undone_line_by_line(data):
    crlf = wire.to_crlf(data)
    stuffed = wire.dot_stuff(crlf)
    lines = stuffed.split(b"\r\n")
    assert not any(line == b"." for line in lines)
    assert b"\r\n".join(line.removeprefix(b".") for line in lines) == crlf


@given(PIECES)
def test_dotted_is_crlf_and_stuffed_in_one(data):
    lf = wire.to_lf(data)
    dotted = wire.to_dotted(lf)
    assert (b"." + dotted if lf.startswith(b".") else dotted) == wire.dot_stuff(lf.replace(b"\n", b"\r\n"))


@given(PIECES)
def test_lines_are_counted(data):
    assert wire.lines(data) == data.count(b"\n")
