"""transports/__init__.py: the message as transports see it, and the registry."""

from pathlib import Path

import pytest

from lanmail import address, envelope, transports
from lanmail.outgoing import Outgoing

TEXT = b"From: a@b.example\nSubject: x\n\n" + b"line\n" * 3000


@pytest.fixture(params=["file", "bytes"])
def text(request: pytest.FixtureRequest, tmp_path: Path):
    """The same message from a spool entry and from memory."""
    if request.param == "bytes":
        yield transports.Message.of_bytes(b"Return-Path: <a@b.example>\n" + TEXT)
        return
    head = envelope.encode(envelope.Envelope(None, [envelope.Recipient(address.parse("x@y.example"))]))
    path = tmp_path / "entry"
    path.write_bytes(head + b"Return-Path:\n <a@b.example>\n" + TEXT)
    with path.open("rb") as file:
        yield transports.Message.of_file(file.fileno(), len(head))


def test_neither_envelope_nor_return_path_are_sent(text: transports.Message) -> None:
    assert text.read() == TEXT
    assert text.size == len(TEXT)
    assert text.header == TEXT[: TEXT.index(b"\n\n") + 2]
    assert [len(piece) for piece in text.chunks(10_000)] == [10_000, len(TEXT) - 10_000]


def test_streams_are_independent(text: transports.Message) -> None:
    one, two = text.open(), text.open()
    assert one.read(5) == two.read(5) == b"From:"
    assert one.read() == TEXT[5:]
    assert two.seek(-5, 2) == len(TEXT) - 5
    assert two.read() == b"line\n"


def test_a_result_says_what_became_of_a_recipient() -> None:
    one = envelope.Recipient(address.parse("x@y.example"))
    job = transports.Job("1", "1", None, [one], (), transports.Message.of_bytes(TEXT), Outgoing(), None)
    (result,) = transports.sent(job, "250 ok", "y.example")
    assert result.sent
    assert not result.failed
    assert not transports.Result(one, transports.Unreachable("no")).sent
