"""How header values become IMAP strings."""

import pytest

from lanmail.mime import strings


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"NIL"),
        (b"", b'""'),
        (b"NIL", b'"NIL"'),
        (b'a "b" \\', b'"a \\"b\\" \\\\"'),
        (b'""""', b'"\\"\\"\\"\\""'),
        (b'"""""', b'{5}\r\n"""""'),
        (b"a\nb", b"{3}\r\na\nb"),
        (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
    ],
)
def test_nstring(value: bytes | None, expected: bytes) -> None:
    assert strings.nstring(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"a\nb", b'"a b"'), (b"a\n b", b'"a b"'), (b"a\r\n", b'"a"'), (b"\n", b'""'), (None, b"NIL")],
)
def test_unfolded(value: bytes | None, expected: bytes) -> None:
    assert strings.unfolded(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"one two", b'"one two"'),
        (b"", b'""'),
        (b" \n\t", b'""'),
        (b" one\n two\t three ", b"{13}\r\none two three"),
        (b'say "hi"', b'{8}\r\nsay "hi"'),
        (b"x" * 9000, b"{9000}\r\n" + b"x" * 9000),
        (b"x " * 4500 + b"x", b'"' + b"x " * 4500 + b'x"'),
    ],
)
def test_text(value: bytes, expected: bytes) -> None:
    assert strings.text(value) == expected
