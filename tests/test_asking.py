"""Programs that are asked to take over changed settings."""

import asyncio
from pathlib import Path

import pytest

from lanmail import paths
from lanmail.administration import asking


async def test_whoever_asks_is_heard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = paths.of_root(tmp_path)
    where.state.mkdir()
    monkeypatch.setattr(asking, "PAUSE", 0.005)
    heard = asyncio.Event()
    count = 0

    def reload() -> None:
        nonlocal count
        count += 1
        heard.set()

    heeding = asyncio.ensure_future(asking.heed(where, reload))
    await asyncio.sleep(0.02)
    assert count == 0
    asking.ask(where)
    await asyncio.wait_for(heard.wait(), 30)
    heeding.cancel()
    assert count >= 1


@pytest.mark.parametrize(("key", "waits"), [
    ("smtpd.mx_port", True), ("imapd.workers", True), ("httpd.tls_port", True), ("smtpd.lan.port", True),
    ("outgoing.port", False), ("outgoing.webspace.smtp_port", False), ("server.listen", True),
    ("smtpd.max_size", False),
])
def test_what_waits_for_a_start(key: str, waits: bool) -> None:
    assert asking.waits(tuple(key.split("."))) is waits
