"""What is told of usual messages the quick way is what the tree tells."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import mails
from lanmail.mime import bodystructure, contents, headers, textparts, tree, usual
from tests import odd_messages

BOUNDARIES = [b"b", b"bb", b"=_x", b"y z", b"-", b"b--"]
TYPES = [b"text/plain", b"text/html; charset=utf-8", b"application/pdf; name=x", b"image/png", b"message/rfc822", b"x"]
LINES = [b"text", b"", b"--", b"--b", b"--bb", b"--=_x", b"--b--", b"--=_x--", b"--b ", b" --b", b"A: b", b"-- ",
         b"x" * 80]

_text = st.lists(st.sampled_from(LINES), max_size=4).map(b"\n".join)
_leaf = st.builds(lambda kind, text: b"Content-Type: " + kind + b"\n\n" + text, st.sampled_from(TYPES), _text)


def _multipart(kind: bytes, boundary: bytes, before: bytes, parts: list[bytes], closing: bytes, after: bytes) -> bytes:
    lines = [b'Content-Type: multipart/' + kind + b'; boundary="' + boundary + b'"', b"", before]
    for part in parts:
        lines += [b"--" + boundary, part]
    return b"\n".join([*lines, b"--" + boundary + closing, after])


_any = st.recursive(_leaf, lambda inner: st.builds(
    _multipart, st.sampled_from([b"mixed", b"digest"]), st.sampled_from(BOUNDARIES), _text,
    st.lists(inner, max_size=3), st.sampled_from([b"--", b"", b"-- ", b"--x"]), _text), max_leaves=6)


def both(data: bytes) -> tuple[tuple[bytes, bytes] | None, tuple[bytes, bytes]]:
    """The quick way, if it can be gone, and the other."""
    quick = None
    if middle := usual.middle(data):
        quick = usual.structures(data, middle, contents.of_message(headers.known(data[:middle])))
    return quick, bodystructure.write(tree.scan(data))


def texts(parts: list[textparts.Text]) -> list[tuple[bytes, bytes, bytes]]:
    return sorted((part.content.encoding or b"", part.content.charset or b"", part.body) for part in parts)


def same_texts(data: bytes) -> bool:
    """Whether the texts found the quick way, if it can be gone, are those of the tree."""
    nodes = textparts.nodes(tree.outline(data))
    return texts(textparts.of(data)) == texts(
        [textparts.of_node(data, node) for node in nodes if textparts.is_searched(node)])


@settings(max_examples=500, deadline=None)
@given(_any, st.integers(0, 2000), st.integers(0, 40))
def test_as_the_tree_tells(data: bytes, cut: int, hole: int) -> None:
    for message in (data, data[:cut], data[:cut] + data[cut + hole :]):
        quick, slow = both(message)
        assert quick in (None, slow)
        assert same_texts(message)


@settings(max_examples=300, deadline=None)
@given(odd_messages.messages)
def test_odd_messages(message: bytes) -> None:
    quick, slow = both(message)
    assert quick in (None, slow)
    assert same_texts(message)


@pytest.mark.parametrize("number", range(10))
def test_mail_of_an_office_is_usual(number: int) -> None:
    quick, slow = both(mails.message(number))
    assert quick == slow
    assert same_texts(mails.message(number))


@pytest.mark.parametrize(("depth", "parts"), [(1, 10_000), (2, 10_000), (100, 3)])
def test_limits_count(monkeypatch: pytest.MonkeyPatch, depth: int, parts: int) -> None:
    monkeypatch.setattr(tree, "MAX_DEPTH", depth)
    monkeypatch.setattr(tree, "MAX_PARTS", parts)
    inner = _multipart(b"alternative", b"in", b"", [b"\na", b"\nb"], b"--", b"")
    quick, slow = both(_multipart(b"mixed", b"out", b"", [inner, b"\nc"], b"--", b""))
    assert quick in (None, slow)


def test_many_parts_are_left_to_the_tree() -> None:
    message = _multipart(b"mixed", b"b", b"", [b"\nx"] * (usual.MOST + 1), b"--", b"")
    assert both(message)[0] is None
