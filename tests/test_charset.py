"""Charsets as real mail names them."""

import pytest
from hypothesis import given, strategies

from lanmail import charset


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (b"M\xfcller", "iso-8859-1", "Müller"),
        (b"5\x80", "ISO-8859-1", "5€"),
        (b"5\xa4", "iso-8859-15", "5€"),
        (b"M\xc3\xbcller", "us-ascii", "Müller"),
        (b"M\xfcller", "us-ascii", "Müller"),
        (b"M\xc3\xbcller", None, "Müller"),
        (b"M\xfcller", b"unknown-8bit", "Müller"),
        (b"\xb0\xa1", "ks_c_5601-1987", "가"),
        (b"\x1b$B$\"\x1b(B", "iso-2022-jp", "あ"),
        (b"+AOQ-", "utf-7", "ä"),
        (b"\xe4", "windows-1252*de", "ä"),
        (b"\xe4", b'"cp-1252"', "ä"),
        (b"\xc3", "utf-8", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_decode(data: bytes, name: str | bytes | None, text: str) -> None:
    assert charset.decode(data, name) == text


@pytest.mark.parametrize(
    "name", ["bz2", "zlib_codec", "hex", "base64", "rot13", "punycode", "idna", "unicode_escape", "undefined"]
)
def test_only_text_codecs(name: str) -> None:
    """bz2 would be a bomb, punycode is quadratic."""
    assert charset.codec(name) is None
    assert charset.decode(b"x", name) == "x"


@given(
    strategies.binary(max_size=40),
    strategies.text(max_size=30) | strategies.binary(max_size=30) | strategies.sampled_from(sorted(charset._ALIASES)),
)
def test_never_raises(data: bytes, name: str | bytes) -> None:
    assert isinstance(charset.decode(data, name), str)
    assert isinstance(charset.like_ascii(name), bool)


def test_like_ascii() -> None:
    assert all(charset.like_ascii(name) for name in ("utf-8", "iso-8859-7", "gb2312", "nonsense", None))
    assert not any(charset.like_ascii(name) for name in ("utf-7", "utf-16", "iso-2022-jp", "hz-gb-2312"))
