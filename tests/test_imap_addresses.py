"""Address lists as ENVELOPE shows them. What Dovecot makes of many more is in golden/structures.json."""

import pytest
from hypothesis import given, settings

from lanmail.mime import addresses, strings
from tests import odd_messages

TEAM, END = (None, None, b"team", None), (None,) * 4
NOBODY = (None, None, b"MISSING_MAILBOX", b"MISSING_DOMAIN")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"a@b.c", [(None, None, b"a", b"b.c")]),
        (b"A B <a@b>", [(b"A B", None, b"a", b"b")]),
        (b'"B, A" <a@b>,\n c@d', [(b"B, A", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"a@b (A (the) B)", [(b"A (the) B", None, b"a", b"b")]),
        (b'"quoted \\"local\\""@b', [(None, None, b'quoted "local"', b"b")]),
        (b".dots..everywhere.@b", [(None, None, b".dots..everywhere.", b"b")]),
        (b"<@x,@y:a@b>", [(None, b"@x,@y", b"a", b"b")]),
        (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
        (b"team: a@b, C <d@e>;", [TEAM, (None, None, b"a", b"b"), (b"C", None, b"d", b"e"), END]),
        (b"team:;", [TEAM, END]),
        (b"alice", [(None, None, b"alice", b"MISSING_DOMAIN")]),
        (b"Alice Example", [(b"Alice Example", *NOBODY[1:])]),
        (b"Alice <alice>", [(b"Alice", None, b"alice", b"MISSING_DOMAIN")]),
        (b"Alice <>", [(b"Alice", *NOBODY[1:])]),
        (b"Alice <alice@b", [(b"Alice", None, b"alice", b"SYNTAX_ERROR")]),
        (b"<@x a@b>", [(None, b"INVALID_ROUTE", b"a", b"b")]),
        (b"a@b, (comment", [(None, None, b"a", b"b"), NOBODY]),
        (b"a@b; c@d", [(None, None, b"a", b"b")]),
        (b'"a\0b" <c@d>', [("a\N{REPLACEMENT CHARACTER}b".encode(), None, b"c", b"d")]),
    ],
)
def test_addresses(value: bytes, expected: list[tuple[bytes | None, ...]]) -> None:
    assert [tuple(mailbox) for mailbox in addresses.parse(value)] == expected


@settings(max_examples=500, deadline=None)
@given(odd_messages.values)
def test_the_short_cuts_change_nothing(value: bytes) -> None:
    """Common addresses are read and written by way of one regex, with the same result as by the parser of all forms."""
    found = addresses.parse(value)
    assert found == addresses._Parser(value, 0, [], addresses.MAX_ADDRESSES).addresses()
    written = [
        b" ".join([strings.text(mailbox.name), *map(strings.nstring, mailbox[1:])]) for mailbox in found
    ]
    assert addresses.written(value) == [b"(%b)" % one for one in written]
