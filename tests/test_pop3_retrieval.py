"""Messages on their way to the wire: stuffing, slices, TOP."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.pop3 import retrieval

PIECES = st.lists(st.sampled_from([b"a", b".", b"\n", b"\r\n", b"\r", b"..", b"\n.", b"header: x\n", b"\n\n"]),
                  max_size=16)


def by_line(data: bytes) -> bytes:
    """What RFC 1939 §3 says, done the slow way."""
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)


@given(PIECES)
def test_a_whole_message(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert retrieval.stuff(data) == by_line(data)


@given(PIECES, st.integers(1, 5))
def test_slices_at_any_border(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    stuffer = retrieval.Stuffer()
    sent = b"".join(stuffer.feed(data[at:at + size]) for at in range(0, len(data), size)) + stuffer.end()
    assert sent == by_line(data)


@given(PIECES, st.integers(0, 4))
def test_top_is_header_blank_line_and_lines(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes],
                                            lines: int) -> None:
    data = b"".join(pieces)
    path = tmp_path_factory.mktemp("top") / "m"
    path.write_bytes(data)
    kept, body, left = b"", False, lines
    for line in data.splitlines(keepends=True) if b"\r" not in data.replace(b"\r\n", b"") else _lines(data):
        if body and not left:
            break
        left -= body
        kept += line
        body = body or line in (b"\n", b"\r\n")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert data[:retrieval.top_end(descriptor, lines)] == kept
    finally:
        os.close(descriptor)
    assert retrieval.top(data, lines) in (kept, None)


def _lines(data: bytes) -> list[bytes]:
    """Lines that end at LF only."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def test_reading_what_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x" * 1000)
    descriptor = os.open(tmp_path / "m", os.O_RDONLY)
    try:
        assert retrieval.read_now(descriptor, 1000) in (b"x" * 1000, None)  # None: this file system cannot tell
        assert retrieval.read_now(descriptor, 2000) is None
        assert retrieval.read_slice(descriptor, 2000, 500) == b"x" * 500
    finally:
        os.close(descriptor)
