"""httpd: connections that say nothing, slow bodies, and who may have how many."""

import asyncio
from pathlib import Path

import pytest

from lanmail.web import guard, wire
from tests import webserver


async def _say(web: webserver.Web, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(text)
    await writer.drain()
    return reader, writer


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_who_says_nothing_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(wire, "HEAD", 0.2)
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        reader, writer = await _say(web, said)
        assert await _rest(reader) == b""
        writer.close()
        assert (await web.get("/healthz")).status_code == 200


async def test_half_a_second_request_is_not_waited_for_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD", 0.2)
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        reader, writer = await _say(web, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b'{"ok":true,"trouble":[]}')
        writer.write(b"GET /hea")
        assert await _rest(reader) == b""
        writer.close()


async def test_a_slow_body_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "STILL", 0.2)
    head = b"POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n" \
           b"Content-Type: application/x-www-form-urlencoded\r\n\r\na"
    async with webserver.serving(webserver.lay_out(tmp_path)) as web:
        reader, writer = await _say(web, head)
        answer = await _rest(reader)  # all of it: the connection is closed
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"The request came too slowly." in answer
        writer.close()


async def test_one_address_has_half_of_the_connections(tmp_path: Path) -> None:
    async with webserver.serving(webserver.lay_out(tmp_path, httpd="max_connections = 6")) as web:
        held = [await _say(web, b"GET") for _ in range(3)]
        reader, writer = await _say(web, b"")
        assert (await _rest(reader)).startswith(b"HTTP/1.1 503 ")
        held[0][1].close()
        await held[0][1].wait_closed()
        async with asyncio.timeout(20):
            while (await web.get("/healthz", headers={"Connection": "close"})).status_code != 200:
                await asyncio.sleep(0)
        for _, one in (*held[1:], (reader, writer)):
            one.close()


async def test_a_trusted_proxy_may_have_all(tmp_path: Path) -> None:
    keys = 'max_connections = 6\ntrusted_proxies = ["127.0.0.1"]'
    async with webserver.serving(webserver.lay_out(tmp_path, httpd=keys)) as web:
        held = [await _say(web, b"GET") for _ in range(4)]
        assert (await web.get("/healthz")).status_code == 200
        for _, one in held:
            one.close()
