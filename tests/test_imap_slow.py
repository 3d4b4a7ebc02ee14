"""A message that takes long to parse is parsed in a thread: the other sessions go on."""

import threading
from pathlib import Path

import pytest

from lanmail.imap import fetch
from lanmail.mime import summary, tree
from tests import imapserver

HEAD = b"From: anna@example.org\nSubject: viele Teile\nContent-Type: multipart/mixed; boundary=b\n\n"
MANY = HEAD + b"--b\n\nText\n" * 4000  # octets enough, and each of them takes its time


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> set[bool]:
    """Whether parsing was done in the loop's thread (True), in another one (False)."""
    seen, scan, of = set[bool](), tree.scan, summary.of
    own = threading.get_ident()

    def noted_scan(data: bytes) -> tree.Node:
        seen.add(threading.get_ident() == own)
        return scan(data)

    def noted_of(*given: object, **named: object) -> object:
        seen.add(threading.get_ident() == own)
        return of(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(tree, "scan", noted_scan)
    monkeypatch.setattr(summary, "of", noted_of)
    return seen


@pytest.mark.parametrize(("item", "said"), [
    ("BODYSTRUCTURE", b'"mixed"'), ("ENVELOPE", b'"viele Teile"'), ("BODY.PEEK[4000]", b"{6}\r\nText\r\n"),
    ("BODY.PEEK[7.MIME]", b"{2}\r\n\r\n"),
])
async def test_many_parts(tmp_path: Path, where: set[bool], item: str, said: bytes) -> None:
    async with imapserver.running(tmp_path) as server:
        server.deliver(MANY)
        assert len(MANY) > fetch.SLOW
        client = await server.client(select="INBOX")
        assert said in (await client.ok(f"FETCH 1 ({item})"))[0]
    assert where == {False}


async def test_a_small_one_is_not_handed_over(tmp_path: Path, where: set[bool]) -> None:
    async with imapserver.running(tmp_path) as server:
        server.deliver(imapserver.message("kurz"))
        client = await server.client(select="INBOX")
        assert b'"kurz"' in (await client.ok("FETCH 1 (ENVELOPE BODYSTRUCTURE)"))[0]
    assert where == {True}
