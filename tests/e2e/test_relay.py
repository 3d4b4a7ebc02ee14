"""relay with real servers at the other end: Dovecot's submission server, Postfix's smtp-sink."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.submission import Sink, Submission
from tests.relayroot import Root, smarthost

TEXT = "From: meier@office.lan\nSubject: Gr\u00fc\u00dfe\n\n.dot\n..\nbody \u00e4\n".encode()


@pytest.fixture
def sink() -> Iterator[Sink]:
    one = Sink()
    yield one
    one.stop()


@pytest.fixture
def submission(sink: Sink) -> Iterator[Callable[..., Submission]]:
    made: list[Submission] = []

    def start(**options: str) -> Submission:
        made.append(Submission(sink.port, **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def office(base: Path, server: Submission, *, port: int = 0, more: str = "") -> Root:
    root = Root(base / "office", f'host = "127.0.0.1"\nport = {port or server.port}\ntls_ca = "{server.base}/ca.pem"\n'
                                 f'user = "meier"\npassword = "file:secrets/p"\n{more}\n')
    root.paths.secrets.mkdir(parents=True, exist_ok=True)
    (root.paths.secrets / "p").write_text("geheim\n")
    (root.paths.secrets / "p").chmod(0o600)
    return root


@pytest.mark.parametrize(("mechanisms", "settings"), [
    ("plain", ""), ("login", ""), ("cram-md5", ""), ("plain login cram-md5", 'mechanism = "CRAM-MD5"'),
    ("plain login", 'tls = "implicit"'), ("plain", 'tls = "starttls"\ntls_min = "TLSv1.3"'),
    ("plain", 'tls_min = "TLSv1.2"\ntls_max = "TLSv1.2"'), ("plain", 'tls_min = "TLSv1"\ntls_max = "TLSv1.1"'),
])
async def test_through_dovecot(tmp_path: Path, sink: Sink, submission: Callable[..., Submission], mechanisms: str,
                               settings: str) -> None:
    server = submission(mechanisms=mechanisms)
    root = office(tmp_path, server, port=server.tls_port if "implicit" in settings else 0, more=settings)
    root.put("x@far.example", "y@near.example", message=TEXT)
    assert await root.once() == os.EX_OK
    (mail,) = sink.mails()
    assert mail.endswith(TEXT.partition(b"\n\n")[2]) or TEXT.partition(b"\n\n")[2] in mail
    assert mail.count(b"X-Rcpt-Args: <") == 2


async def test_a_wrong_password_waits(tmp_path: Path, sink: Sink, submission: Callable[..., Submission]) -> None:
    root = office(tmp_path, submission())
    (root.paths.secrets / "p").write_text("another\n")
    entry_id = root.put("x@far.example", message=TEXT)
    assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    assert not sink.mails()


async def test_too_large_for_dovecot(tmp_path: Path, submission: Callable[..., Submission]) -> None:
    root = office(tmp_path, submission())
    root.put("x@far.example", message=TEXT + b"x" * 76 + b"\n" * (2 << 20))
    assert await root.once() == os.EX_OK
    assert b"5.3.4" in root.queued()[0][1]


@pytest.mark.parametrize(("options", "bounces"), [
    (("-f", "mail"), True), (("-f", "rcpt"), True), (("-f", "data"), True), (("-f", "."), True),
    (("-r", "mail"), False), (("-r", "rcpt"), False), (("-r", "data"), False), (("-r", "."), False),
    (("-q", "rcpt"), False), (("-q", "data"), False), (("-Q", "mail"), False), (("-Q", "."), False),
    (("-Q", "connect"), False),
], ids=str)
async def test_what_smtp_sink_refuses(tmp_path: Path, options: tuple[str, ...], bounces: bool) -> None:
    """-f: 5xx, -r: 4xx, -q: hangs up, -Q: 421 and hangs up."""
    sink = Sink(*options)
    try:
        root = Root(tmp_path / "office", smarthost(sink.port))
        entry_id = root.put("x@far.example", message=TEXT)
        assert await root.once() == (os.EX_OK if bounces else os.EX_TEMPFAIL)
    finally:
        sink.stop()
    assert len(root.queued()) == bounces
    assert (root.waiting() == [entry_id]) is not bounces


@pytest.mark.parametrize("options", [("-p",), ("-8",), ("-e",), ("-E",), ("-N",), ("-a",), ("-l",), ()], ids=str)
async def test_dialects_of_smtp_sink(tmp_path: Path, options: tuple[str, ...]) -> None:
    """No PIPELINING, no 8BITMIME, no ESMTP at all, no enhanced codes, no DSN …"""
    sink = Sink(*(one for one in options if one != "-l"))
    try:
        root = Root(tmp_path / "office", smarthost(sink.port))
        for number in range(5):
            root.put(f"{number}@far.example", "y@far.example", message=TEXT)
        assert await root.once() == os.EX_OK
        assert len(sink.mails()) == 5
    finally:
        sink.stop()
