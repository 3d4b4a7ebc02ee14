"""transports/http.py: posted as a file of a form; exactly 200 is sent."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanmail import paths, transports
from lanmail.outgoing import Outgoing
from lanmail.settings import Settings
from lanmail.transports import http
from tests import ports
from tests.httppeer import Peer, ok
from tests.relayroot import Root

TEXT = "From: meier@office.lan\nSubject: Gr\u00fc\u00dfe\n\n.dot\nbody \u00e4\n".encode()


def posting(base: Path, url: str, more: str = "") -> Root:
    return Root(base, f'transport = "http"\nhttp.url = "{url}"\n{more}')


async def test_the_form(tmp_path: Path) -> None:
    async with Peer(ok()) as peer:
        root = posting(tmp_path, f"http://127.0.0.1:{peer.port}/in.php?to=x",
                       'http.sender_field = "sender"\nhttp.recipients_field = "recipients[]"\n'
                       'http.authorization = "file:secrets/web"\nhttp.headers = { X-Office = "1" }\n'
                       'http.secret_headers = { X-Key = "file:secrets/web" }\n')
        root.paths.secrets.mkdir(parents=True, exist_ok=True)
        (root.paths.secrets / "web").write_text("Bearer geheim\n")
        (root.paths.secrets / "web").chmod(0o600)
        entry_id = root.put("x@far.example", "y@near.example", message=TEXT)
        assert await root.once() == os.EX_OK
    ((head, body),) = peer.requests
    assert head.startswith(b"POST /in.php?to=x HTTP/1.1\r\n")
    assert b"\r\nauthorization: Bearer geheim\r\n" in head.replace(b"Authorization", b"authorization")
    assert b"x-office: 1" in head.lower()
    assert b"\r\nx-key: bearer geheim\r\n" in head.lower()
    border = body[: body.index(b"\r\n")]
    assert body.endswith(border + b"--\r\n")
    parts = body.removesuffix(b"\r\n" + border + b"--\r\n").split(border + b"\r\n")[1:]
    form = b'Content-Disposition: form-data; name="'
    assert parts[0] == form + b'sender"\r\n\r\nmeier@office.lan\r\n'
    assert parts[1] == form + b'recipients[]"\r\n\r\nx@far.example\r\n'
    assert parts[2] == form + b'recipients[]"\r\n\r\ny@near.example\r\n'
    assert parts[3] == (form + f'rfc822data"; filename="{entry_id}.eml"\r\n'.encode()
                        + b"Content-Type: message/rfc822\r\n\r\n" + TEXT.replace(b"\n", b"\r\n"))
    log = "".join(root.events("sent"))
    assert "HTTP 200 OK taken" in log
    assert "geheim" not in "".join(one.read_text() for one in root.paths.log.glob("*.log"))


@pytest.mark.parametrize("status", [201, 202, 204, 302, 400, 403, 404, 413, 500, 503])
async def test_only_200_is_sent(tmp_path: Path, status: int) -> None:
    answers = iter([b"HTTP/1.1 %d Hm\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n" % status, ok()])
    async with Peer(lambda _head: next(answers)) as peer:
        root = posting(tmp_path, f"http://127.0.0.1:{peer.port}/")
        entry_id = root.put("x@far.example", message=TEXT)
        assert await root.once() == os.EX_TEMPFAIL
        assert root.waiting() == [entry_id]
        assert not root.queued()
        assert f"HTTP {status} Hm" in "".join(root.events("deferred"))
        assert len(peer.requests) == 1


async def test_what_the_server_says_is_told_but_not_believed(tmp_path: Path) -> None:
    page = b"HTTP/1.1 500 Oh\x1b[31m\r\nContent-Length: 43\r\n\r\n<h1>No\r\nspace</h1><script>x</script>\x1b[2J<p>1"
    async with Peer(page) as peer:
        root = posting(tmp_path, f"http://127.0.0.1:{peer.port}/")
        root.put("x@far.example", message=TEXT)
        assert await root.once() == os.EX_TEMPFAIL
    (line,) = root.events("deferred")
    assert "No space" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("answer", [b"", "hang", b"garbage\r\n\r\n"])
async def test_no_answer_keeps_the_mail(tmp_path: Path, answer: "bytes | str") -> None:
    async with Peer(answer) as peer:
        root = posting(tmp_path, f"http://127.0.0.1:{peer.port}/", 'http.timeout = "300ms"')
        entry_id = root.put("x@far.example", message=TEXT)
        assert await root.once() == os.EX_TEMPFAIL
        assert root.waiting() == [entry_id]


async def test_probe(tmp_path: Path) -> None:
    one, said = http.Transport(transports.House(paths.of_root(tmp_path), Settings)), list[str]()
    async with Peer(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n") as peer:
        way = Outgoing.model_validate({"transport": "http", "http": {"url": f"http://127.0.0.1:{peer.port}/"}})
        await one.probe(way, None, said.append)
        assert "it answers: 405 Method Not Allowed" in said
    async with Peer(b"HTTP/1.1 404 Not Found\r\n\r\n") as peer:
        way = Outgoing.model_validate({"transport": "http", "http": {"url": f"http://127.0.0.1:{peer.port}/"}})
        with pytest.raises(transports.Unreachable, match="404"):
            await one.probe(way, None, said.append)


# --- a receiver in PHP, with PHP's usual limits

RECEIVER = """<?php
if (!isset($_FILES['rfc822data'])) { http_response_code(403); echo 'no mail in the form'; exit; }
$file = $_FILES['rfc822data'];
if ($file['error'] !== UPLOAD_ERR_OK) { http_response_code(500); echo 'upload error ', $file['error']; exit; }
$name = basename($file['name']);
move_uploaded_file($file['tmp_name'], getenv('TARGET') . '/' . $name);
file_put_contents(getenv('TARGET') . "/$name.json", json_encode($_POST));
echo 'stored';
"""


@pytest.fixture
def php(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    program = shutil.which("php")
    if program is None:
        pytest.skip("no PHP here: apt install php-cli")
    web, target = tmp_path / "web", tmp_path / "got"
    web.mkdir()
    target.mkdir()
    (web / "in.php").write_text(RECEIVER)
    port = ports.free()
    running = subprocess.Popen(
        [program, "-n", "-d", "file_uploads=1", "-S", f"127.0.0.1:{port}", "-t", str(web)],
        env={**os.environ, "TARGET": str(target)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 90
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < limit
            time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/in.php", target
    running.terminate()
    running.wait()


async def test_into_php(tmp_path: Path, php: tuple[str, Path]) -> None:
    url, target = php
    root = posting(tmp_path / "root", url, 'http.sender_field = "sender"\nhttp.recipients_field = "recipients[]"')
    entry_id = root.put("x@far.example", "y@near.example", message=TEXT)
    assert await root.once() == os.EX_OK
    assert (target / f"{entry_id}.eml").read_bytes() == TEXT.replace(b"\n", b"\r\n")
    assert json.loads((target / f"{entry_id}.eml.json").read_text()) == {
        "sender": "meier@office.lan", "recipients": ["x@far.example", "y@near.example"]}


@pytest.mark.parametrize(("size", "words"), [(3 << 20, "HTTP 500 Internal Server Error upload error 1"),
                                             (9 << 20, "HTTP 200 OK")])
async def test_too_large_for_php(tmp_path: Path, php: tuple[str, Path], size: int, words: str) -> None:
    """Past post_max_size PHP prints a warning, so that the 403 of the program comes too late and becomes a 200."""
    url, target = php
    root = posting(tmp_path / "root", url)
    entry_id = root.put("x@far.example", message=TEXT + b"x" * 75 * (size // 75) + b"\n")
    assert await root.once() == os.EX_TEMPFAIL
    assert root.waiting() == [entry_id]
    (line,) = root.events("deferred")
    assert words in line
    assert "upload_max_filesize" in line
    assert not list(target.iterdir())
