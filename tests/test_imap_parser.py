"""The grammar of IMAP commands: total, bounded, linear."""

import contextlib
import gc
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail.imap import dispatch, parser
from lanmail.imap.parser import Cursor, ParseError

PIECES = [
    b" ", b"(", b")", b'"', b"\\", b"{", b"}", b"{3}\r\n", b"{3+}\r\n", b"abc", b"*", b"%", b"1:*", b"1,2", b",", b":",
    b"FLAGS", b"BODY[", b"]", b"<0.10>", b"NIL", b"\\Seen", b"NOT", b"OR", b"SUBJECT", b"UID", b"RETURN", b"CHARSET",
    b"BODY.PEEK[HEADER.FIELDS (", b"\xff", b"\0", b"\r\n", b"1-Jan-2020", b'"01-Jan-2020 00:00:00 +0000"', b"STATUS",
]


@pytest.mark.parametrize("verb", sorted(dispatch.TABLE))
@given(text=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)))
def test_nothing_but_parse_errors(verb: str, text: bytes) -> None:
    cursor = Cursor(b"t " + verb.encode() + b" " + text, 3 + len(verb))
    cursor.position = 2 + len(verb)
    with contextlib.suppress(ParseError):
        dispatch.TABLE[verb].parse(cursor)
    assert 0 <= cursor.position <= len(cursor.text)


@pytest.mark.parametrize(
    ("verb", "unit"),
    [
        ("FETCH", b"1,"), ("FETCH", b"1 (UID "), ("UID STORE", b"1 FLAGS (a "), ("SEARCH", b"OR SEEN "),
        ("SEARCH", b"("), ("SEARCH", b"NOT "), ("SEARCH", b"TEXT x "), ("SEARCH", b"1,2:*,"), ("LIST", b'"" ("x" '),
        ("LOGIN", b'"\\\\'), ("LOGIN", b'"'), ("ID", b'("a" "b" '), ("LOGIN", b"{1}\r\nx"), ("LIST", b"%*"),
    ],
)
def test_linear(verb: str, unit: bytes) -> None:
    def cost(times: int) -> float:
        text = b"t " + verb.encode() + b" " + unit * times
        best = 9.0
        for _ in range(3):
            cursor = Cursor(text, 2 + len(verb))
            start = time.process_time()
            with contextlib.suppress(ParseError):
                dispatch.TABLE[verb].parse(cursor)
            best = min(best, time.process_time() - start)
        return best

    gc.disable()  # its share depends on how large the test process has become
    try:
        small, large = cost(1000), cost(20_000)
    finally:
        gc.enable()
    assert large < 120 * small + 0.02  # quadratic would be 400


def test_strings() -> None:
    assert Cursor(b'"a\\"b\\\\"').string() == b'a"b\\'
    assert Cursor(b"{3}\r\na)c").string() == b"a)c"
    assert Cursor(b"{3+}\r\nabc").astring() == b"abc"
    assert Cursor(b"a]b").astring() == b"a]b"
    assert Cursor(b"nil").nstring() is None


@pytest.mark.parametrize(
    "text", [b'"a', b'"a\\b"', b'"a\r\n"', b"{4}\r\nabc", b"{99999999999999999999}\r\n", b"{}\r\n", b""]
)
def test_no_strings(text: bytes) -> None:
    with pytest.raises(ParseError):
        Cursor(text).string()


def test_a_literal_with_nul_is_refused() -> None:
    with pytest.raises(ParseError, match="NUL"):
        Cursor(b"{6}\r\nalice\0").astring()


@pytest.mark.parametrize("text", [b"0", b"1:0", b"4294967296", b"1,", b":", b"1:", b"*:*:*", b"-1", b"1::2"])
def test_no_sets(text: bytes) -> None:
    with pytest.raises(ParseError):
        Cursor(text).sequence_set()


def test_sets_are_sorted_and_joined() -> None:
    numbers = Cursor(b"9,3:1,2:4,7:*").sequence_set()
    assert parser.resolve(numbers, 8) == ((1, 4), (7, 9))
    assert parser.resolve(Cursor(b"*").sequence_set(), 5) == ((5, 5),)
    assert parser.resolve(Cursor(b"10:*").sequence_set(), 5) == ((5, 10),)


def test_numbers_have_limits() -> None:
    assert Cursor(b"4294967295").number() == 4294967295
    with pytest.raises(ParseError):
        Cursor(b"4294967296").number()
    with pytest.raises(ParseError):
        Cursor(str(1 << 63).encode()).number64()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"a APPEND x {5}", (5, True)), (b"a APPEND x {5+}", (5, False)), (b"a {9223372036854775808}", (1 << 63, True)),
        (b"a {}", None), (b"a {5} ", None), (b"a {5-}", None), (b"a 5}", None), (b"a {{5}", (5, True)),
    ],
)
def test_markers(line: bytes, expected: tuple[int, bool] | None) -> None:
    assert parser.marker(line) == expected
