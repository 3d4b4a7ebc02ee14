"""oauth/loopback.py and oauth/pages.py: the page at which the browser comes back."""

import asyncio
import re
import socket
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

import pytest

from lanmail.oauth import authorization, loopback, pages
from lanmail.oauth.authorization import Answer, Asked, Declined
from tests import ports

ASKED = authorization.ask("https://id.example/a", "c", "http://localhost", "mail", "eva@firma.example")


def accept(answer: Answer, asked: Asked = ASKED) -> str:
    return authorization.judge(answer, asked)


def done(tongue: str) -> bytes:
    return pages.page("done", tongue, address="eva@firma.example")


def get(url: str, tongue: str = "en", host: str = "", method: str = "GET") -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(url, headers={"Accept-Language": tongue}, method=method)
    if host:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


async def test_the_answer_arrives_and_the_browser_gets_the_outcome() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        assert re.fullmatch(r"http://localhost:\d+", listener.redirect)
        there = asyncio.to_thread(get, f"{listener.redirect}/?code=4711&state={ASKED.state}", "de-AT,en;q=0.5")
        page = asyncio.ensure_future(there)
        assert await asyncio.wait_for(listener.code, 20) == "4711"
        assert not page.done(), "the page waits for what comes of it"
        listener.tell(done)
        status, headers, text = await page
    assert status == 200
    assert "Die Anmeldung ist erfolgt" in text
    assert "eva@firma.example" in text
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "script" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]


async def test_the_same_answer_twice_is_done() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        url = f"{listener.redirect}/?code=4711&state={ASKED.state}"
        both = [asyncio.ensure_future(asyncio.to_thread(get, url)) for _ in range(2)]
        assert await asyncio.wait_for(listener.code, 20) == "4711"
        listener.tell(done)
        both.append(asyncio.ensure_future(asyncio.to_thread(get, url)))
        for status, _, text in await asyncio.gather(*both):
            assert status == 200
            assert "You are logged in" in text


async def test_strangers_change_nothing() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        async def asks(path: str, **options: str) -> tuple[int, dict[str, str], str]:
            return await asyncio.to_thread(get, listener.redirect + path, **options)

        assert (await asks("/favicon.ico"))[0] == 404
        assert (await asks(f"/?code=1&state={ASKED.state}", method="POST"))[0] == 404
        for host in ("evil.example", "localhost.evil.example", "[", "[::1", "127.0.0.1:x", "user@localhost"):
            assert (await asks(f"/?code=1&state={ASKED.state}", host=host))[0] == 421
        for query in ("", "code=1", "code=1&state=guessed", "error=access_denied&state=x",
                      f"code=1&code=2&state={ASKED.state}"):
            status, _, text = await asks(f"/?{query}")
            assert (status, "not expected" in text) == (400, True)
        assert not listener.code.done()
        good = asyncio.ensure_future(asks(f"/?code=4711&state={ASKED.state}"))
        assert await asyncio.wait_for(listener.code, 20) == "4711"
        listener.tell(done)
        assert (await good)[0] == 200


async def test_an_error_of_the_provider_ends_it_and_is_shown_as_text() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        said = quote("<script>alert(1)</script>")
        url = f"{listener.redirect}/?error=access_denied&error_description={said}&state={ASKED.state}"
        page = asyncio.ensure_future(asyncio.to_thread(get, url))
        with pytest.raises(Declined) as caught:
            await asyncio.wait_for(listener.code, 20)
        reason = caught.value.text
        listener.tell(lambda tongue: pages.page("failed", tongue, reason=reason))
        text = (await page)[2]
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text


async def test_what_is_no_browser_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "PATIENCE", 0.2)
    async with loopback.Listener("http://localhost", accept) as listener:
        port = urlsplit(listener.redirect).port
        for said in (b"", b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 100_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            try:
                answer = await asyncio.wait_for(reader.read(), 20)
            except ConnectionError:
                answer = b""
            assert b" 200 " not in answer
            writer.close()
        assert not listener.code.done()


async def test_it_is_there_for_this_machine_only_and_goes_away() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        port = urlsplit(listener.redirect).port
        places = {one.getsockname()[0] for server in listener._servers for one in server.sockets}
        assert "127.0.0.1" in places
        assert places <= {"127.0.0.1", "::1"}
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port or 0)) != 0


async def test_a_port_that_is_taken() -> None:
    port = ports.free()
    async with loopback.Listener(f"http://localhost:{port}", accept) as first:
        assert first.redirect == f"http://localhost:{port}"
        with pytest.raises(OSError, match="use"):
            async with loopback.Listener(f"http://localhost:{port}", accept):
                pass


async def test_nobody_comes_and_it_is_given_up() -> None:
    async with loopback.Listener("http://localhost", accept) as listener:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(listener.code), 0.05)


@pytest.mark.parametrize(("accepted", "tongue"), [
    ("de", "de"), ("de-CH,de;q=0.9", "de"), ("en-US,en;q=0.9,de;q=0.8", "en"), ("fr,de;q=0.3", "de"), ("fr", "en"),
    ("", "en"), ("en;q=0.1,DE;q=x,de;q=0.2", "de"), (";;,q=,=", "en"),
])
def test_languages(accepted: str, tongue: str) -> None:
    assert pages.language(accepted) == tongue


@pytest.mark.parametrize("name", ["done", "failed", "stopped", "foreign", "start", "gone"])
def test_every_page_in_both_languages(name: str) -> None:
    texts = [pages.page(name, tongue, "https://id.example/?a=1&b=\"2", address="<b>", provider="P&Q", reason="$x {y}")
             for tongue in ("en", "de")]
    assert texts[0] != texts[1]
    for text in texts:
        assert b"<b>" not in text
        assert b'href="https://id.example/?a=1&amp;b=&quot;2"' in text
        assert b"{" not in text.partition(b"</style>")[2].replace(b"$x {y}", b"")
