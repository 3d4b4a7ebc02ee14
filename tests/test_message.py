"""Headers without the email package."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import message


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\r\n\nbody", 7),
        (b"A: b\n\r\nbody\n\n", 7),
        (b"\nbody", 1),
        (b"\r\nbody", 2),
        (b"A: b", 4),
        (b"A: b\n", 5),
        (b"", 0),
    ],
)
def test_header_end(data, end):
    assert message.header_end(data) == end


def test_fields():
    header = b"From: a\nSubject: one\n two\n\tthree\nsubject : four\r\nX-Subject: no\r\nSubject:\n\n"
    assert message.fields(header, b"Subject") == [b"one two\tthree", b"four", b""]
    assert message.field(header, b"subject") == b"one two\tthree"
    assert message.field(header, b"To") is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?M=C3=BCller_x?=", "Müller x"),
        (b"=?UTF-8?B?TcO8bGxlcg==?=", "Müller"),
        (b"=?utf-8?b?TcO8bGxlcg?= tail", "Müller tail"),
        (b"=?iso-8859-1?q?M=FCller?= =?iso-8859-1?q?_und?= Sohn", "Müller und Sohn"),
        (b"=?utf-8?b?w?= =?utf-8?b?x?=", None),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        (b"=?nonsense?q?x=FC?=", "xü"),
        (b"=?rot13?q?abc?=", "abc"),
        (b"caf\xe9", "café"),
        ("café".encode(), "café"),
        (b"a =?utf-8*de?q?b?= c", "a b c"),
    ],
)
def test_decode_words(raw, text):
    decoded = message.decode_words(raw)
    if text is not None:
        assert decoded == text


@given(st.binary(max_size=300))
def test_never_raises(data):
    assert 0 <= message.header_end(data) <= len(data)
    message.fields(data, b"Subject")
    assert isinstance(message.decode_words(data), str)


def test_many_encoded_words_take_linear_time_and_split_characters_are_joined() -> None:
    words = b"=?utf-8?q?=C3?= " * 20_000 + b"=?utf-8?q?=A4?= =?x?q?"
    text = message.decode_words(b"a " + words)
    assert text.startswith("a \ufffd\ufffd")
    assert text.endswith(" =?x?q?")
    assert message.decode_words(b"=?utf-8?q?M=C3?= =?utf-8?q?=BCller?= x") == "Müller x"
