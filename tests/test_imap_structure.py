"""What holds for any message: the tree fits the octets, the answers fit the grammar, the work stays linear."""

import marshal
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings

from lanmail import wire
from lanmail.mime import structure, tree
from tests import odd_messages


def skip_value(answer: bytes, at: int) -> int:
    """The position after one value of an IMAP answer; raises AssertionError when it is none."""
    match answer[at : at + 1]:
        case b"(":
            at += 1
            while answer[at : at + 1] != b")":
                at = skip_value(answer, at)
                at += answer[at : at + 1] == b" "
            return at + 1
        case b'"':
            at += 1
            while answer[at : at + 1] != b'"':
                octet = answer[at : at + 1]
                assert octet
                assert octet not in b"\r\n\0"
                assert octet < b"\x80"
                at += 1 + (octet == b"\\")
            return at + 1
        case b"{":
            size, _, _ = answer[at + 1 :].partition(b"}\r\n")
            end = at + len(size) + 4 + int(size)
            assert b"\0" not in answer[at:end]
            return end
        case _:
            end = at
            while answer[end : end + 1].isalnum():
                end += 1
            assert answer[at:end] == b"NIL" or answer[at:end].isdigit()
            return end


def assert_fits(part: tree.Part, start: int, end: int, depth: int = 0) -> None:
    """The part lies where it may, and its parts lie in its body one after the other."""
    body = part.start + part.header.octets
    assert start <= part.start <= body <= body + part.body.octets <= end
    assert depth < tree.MAX_DEPTH
    for inner in part.parts:
        assert_fits(inner, body, body + part.body.octets, depth + 1)
        body = inner.start + inner.header.octets + inner.body.octets


@settings(max_examples=300, deadline=None)
@given(odd_messages.messages)
def test_any_message(message: bytes) -> None:
    summary = structure.summary(message)
    root = summary.tree
    assert root.header.octets + root.body.octets == len(message)
    assert summary.wire_size == len(wire.to_crlf(message))
    assert root.header.lines + root.body.lines == message.count(b"\n")
    assert_fits(root, 0, len(message))
    for answer in (summary.envelope, summary.body, summary.bodystructure):
        assert skip_value(answer, 0) == len(answer)
    assert structure.parse(message) == root
    assert structure.envelope(message[: root.header.octets]) == summary.envelope


@settings(max_examples=100, deadline=None)
@given(odd_messages.messages)
def test_line_ends_do_not_matter(message: bytes) -> None:
    """A file with LF and one with CRLF give the same answers."""
    plain = wire.to_lf(message)
    one, other = structure.summary(plain), structure.summary(wire.to_crlf(plain))
    assert (one.envelope, one.body, one.bodystructure) == (other.envelope, other.body, other.bodystructure)


def test_tree_is_plain_values() -> None:
    message = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n"
    root = structure.parse(message)
    assert len(marshal.dumps(root[0])) + len(marshal.dumps(tuple(root[2]))) < 60
    assert [(part.start, part.header.octets, part.body.wire) for part in root.parts] == [(47, 1, 1)]


@pytest.mark.parametrize("levels", [99, 100, 5000])
@pytest.mark.parametrize(
    "header", [b"Content-Type: message/rfc822\n\n", b"Content-Type: multipart/x; boundary=b\n\n--b\n"]
)
def test_depth_is_bounded(levels: int, header: bytes) -> None:
    summary = structure.summary(header * levels + b"\nx\n")
    depth, part = 0, summary.tree
    while part.parts:
        depth, part = depth + 1, part.parts[0]
    assert depth == 99
    assert (b"octet-stream" in summary.bodystructure) == (levels > 99)


def test_parts_are_bounded() -> None:
    part = structure.parse(b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\n\nx\n" * 10_050)
    assert len(part.parts) == tree.MAX_PARTS - 1


def test_addresses_are_bounded() -> None:
    assert structure.envelope(b"To: " + b"a@b, " * 30_000 + b"\n\n").count(b'"a"') == 10_000
    assert structure.envelope(b"To: a@b\n" * 30_000 + b"\n").count(b'"a"') == 10_000
    assert structure.envelope(b"To: " + b"(c)a@b, " * 30_000 + b"\n\n").count(b'"a"') == 10_000


# CVE-2024-23184, CVE-2024-23185, CVE-2026-27859 and their like: what has been quadratic in one mail server or another.
HOSTILE: dict[str, Callable[[int], bytes]] = {
    "header lines": lambda n: b"X: y\n" * n,
    "address fields": lambda n: b"To: a@b\n" * n,
    "addresses": lambda n: b"To: " + b"a@b, " * n,
    "odd addresses": lambda n: b"To: " + b"a (c) @b, " * n,
    "folds": lambda n: b"To:" + b"\n a@b," * n,
    "words": lambda n: b"From: " + b"word " * n,
    "dots": lambda n: b"From: " + b"." * n,
    "open quotes": lambda n: b"From: " + b'"a, ' * n,
    "open comments": lambda n: b"From: " + b"(a, " * n,
    "comments": lambda n: b"From: " + b"(a)" * n,
    "backslashes": lambda n: b'From: "' + b"\\" * n,
    "angles": lambda n: b"From: " + b"<" * n,
    "routes": lambda n: b"From: <" + b"@a," * n,
    "groups": lambda n: b"From: " + b"a:" * n,
    "parameters": lambda n: b"Content-Type: a/b" + b"; c=d" * n,
    "semicolons": lambda n: b"Content-Type: a/b" + b";" * n,
    "continued parameters": lambda n: b"Content-Type: a/b" + b"".join(b"; c*%d=d" % i for i in range(n)),
    "languages": lambda n: b"Content-Language: " + b"en," * n,
    "type comments": lambda n: b"Content-Type: " + b"(" * n,
    "blank lines": lambda n: b"\n" * n,
    "carriage returns": lambda n: b"\r" * n,
    "colons": lambda n: b":" * n,
    "lines like boundaries": lambda n: b"Content-Type: multipart/x; boundary=bbb\n\n" + b"--bb\n" * n,
    "boundaries": lambda n: b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\n" * n,
    "boundaries that never come": lambda n: b"Content-Type: multipart/x; boundary=a\n\n"
    + b"".join(b"--a\nContent-Type: multipart/x; boundary=b%d\n\n" % i for i in range(n)),
    "nested boundaries that never come": lambda n: b"".join(
        b"Content-Type: multipart/x; boundary=z%d\n\n--z%d\n" % (i, i) for i in range(98)
    )
    + b"--z\n" * n,
    "parts without empty line": lambda n: b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\nX: y\n" * n,
    "messages in messages": lambda n: b"Content-Type: message/rfc822\n\n" * n,
    "empty boundary": lambda n: b'Content-Type: multipart/x; boundary=""\n\n' + b"--\n" * n,
}


def calls(function: Callable[[], object]) -> int:
    """How many calls a function makes, and those in turn: a measure of work that no busy machine disturbs."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", HOSTILE)
def test_work_is_linear_in_steps(kind: str) -> None:
    small, large = (HOSTILE[kind](n) + b"\n\n" for n in (200, 2000))
    few = calls(lambda: structure.summary(small))
    assert calls(lambda: structure.summary(large)) < 12 * few + 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_work_is_linear_in_time(kind: str) -> None:
    """What happens inside one call, as in a regex, only a clock can tell; a quadratic step would take 100 times."""

    def took(message: bytes) -> float:
        times = []
        for _ in range(2):
            start = time.process_time()
            structure.summary(message)
            times.append(time.process_time() - start)
        return min(times)

    assert took(HOSTILE[kind](20_000) + b"\n\n") < 40 * max(took(HOSTILE[kind](2000) + b"\n\n"), 0.001)


def test_what_is_remembered_of_a_header_is_not_taken_for_another() -> None:
    """The same part header over a part that is opened and over one that is too deep."""
    part = b"Content-Type: multipart/x; boundary=b\nContent-MD5: m\n\n--b\n"
    shut = structure.summary(part * 100 + b"\nx\n").bodystructure
    assert b'("application" "octet-stream" ("boundary" "b") NIL NIL "7bit"' in shut
    assert b'"m" NIL NIL NIL)' in shut
    opened = structure.summary(part + part + b"\nx\n").bodystructure
    assert opened.count(b'"x" ("boundary" "b") NIL NIL NIL)') == 2
    plain = b"Content-Type: text/plain; charset=us-ascii\n\n"
    assert structure.summary(plain).bodystructure.startswith(b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit"')
    odd = b"Content-Type: TEXT/Plain; charset=us-ascii\n\n"
    inside = b"Content-Type: multipart/x; boundary=b\n\n--b\n" + odd
    for message in (odd, inside, odd, inside):
        assert (b"TEXT" in structure.summary(message).bodystructure) is (message is inside)
