"""The web space: our PHP scripts under PHP, files by real sshd and vsftpd, mail to a captured sendmail or by SMTP."""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from lanmail import admin, config, webspace
from tests import webspaces
from tests.httppeer import Peer as Http
from tests.httppeer import ok
from tests.relayroot import Root
from tests.smtppeer import Peer

TEXT = ("From: meier@office.lan\nTo: X <x@far.example>, colleague@office.lan\nSubject: Gr\u00fc\u00dfe\n\n"
        ".dot\nbody \u00e4\n").encode()
PASSWORD = "a-very-long-script-password-0123456789"


class Space:
    """A web space with the scripts on it, and an office that sends through it by SFTP."""

    def __init__(self, base: Path, url: str, web: Path, target: Path, ssh: tuple[int, str, str, Path]) -> None:
        self.base, self.url, self.web, self.target = base, url, web, target
        self.port, self.user, self.fingerprint, self.key = ssh
        (web / "mail").mkdir()
        self.root = self.office()

    def office(self, more: str = "", settings: str = "") -> Root:
        values = (f'transport = "webspace"\nwebspace.url = "{self.url}"\nwebspace.upload = "sftp"\n'
                  f'webspace.host = "127.0.0.1"\nwebspace.port = {self.port}\nwebspace.user = "{self.user}"\n'
                  f'webspace.private_key = "{self.key}"\nwebspace.host_key = "{self.fingerprint}"\n'
                  f'webspace.directory = "{self.web}/mail"\nwebspace.timeout = "10s"\n{more}')
        if "script_password" not in more:
            values += 'webspace.script_password = "file:secrets/web"\n'
        base = self.base / "office"
        if not (base / "conf").exists():
            self.root = Root(base, values)
            self.root.paths.secrets.mkdir(parents=True, exist_ok=True)
            (self.root.paths.secrets / "web").write_text(PASSWORD + "\n")
            (self.root.paths.secrets / "web").chmod(0o600)
        self.root.configure(values, settings)
        return self.root

    def lanmail(self, *words: str, code: int = 0, **more: Any) -> str:
        command = ["webspace", *words, "--root", str(self.root.paths.root)]
        done = click.testing.CliRunner().invoke(admin.cli, command, **more)
        assert done.exit_code == code, done.output
        return done.output

    def call(self, op: str, name: str = "12345678", *, key: str | None = None,
             **changes: str) -> tuple[int, dict[str, Any]]:
        """A call of the script by hand."""
        fields = {"v": "1", "op": op, "id": name, "ts": str(int(time.time())), "nonce": os.urandom(16).hex(),
                  "sha256": "0" * 64, **changes}
        if "mac" not in changes:
            secret = key or webspace._key(PASSWORD)
            fields["mac"] = hmac.new(secret.encode(), "\n".join(fields.values()).encode(), "sha256").hexdigest()
        request = urllib.request.Request(f"{self.url}lanmail.php", urllib.parse.urlencode(fields).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def put(self, name: str, text: bytes = TEXT, *, head: bytes = b"") -> str:
        """A file in the spool of the web space; its hash."""
        data = (head or b"X-Sender: <meier@office.lan>\nX-Receiver: <x@far.example>\n") + text
        (self.web / "mail/spool" / f"{name}.eml").write_bytes(data)
        return hashlib.sha256(data).hexdigest()


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with webspaces.php(tmp_path) as (url, web, target), webspaces.sshd(tmp_path) as ssh:
        one = Space(tmp_path, url, web, target, ssh)
        yield one


@pytest.fixture
def ready(space: Space) -> Space:
    space.lanmail("upload", "--global")
    return space


def test_upload_says_each_step(space: Space) -> None:
    said = space.lanmail("upload", "--global")
    for words in ("logging in at sftp://127.0.0.1", "uploading lanmail.php", "calling http://", "PHP 8", "is ready"):
        assert words in said
    there = {str(one.relative_to(space.web / "mail")) for one in (space.web / "mail").rglob("*") if one.is_file()}
    assert {".htaccess", "lanmail.php", "lanmail_config.php", "lanmail_send.php", "spool/.htaccess",
            "spool/index.php"} <= there
    assert not [one for one in there if one.endswith((".part", ".eml"))]
    assert PASSWORD not in (space.web / "mail/lanmail_config.php").read_text()
    space.lanmail("upload", "--global")  # as often as one likes
    space.lanmail("check", "--global")


def test_a_password_is_made(space: Space) -> None:
    space.office('webspace.script_password = ""\n')
    assert "made a script password" in space.lanmail("upload", "--global")
    file = space.root.paths.secrets / "webspace"
    assert len(file.read_text().strip()) >= 40
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_account_of_its_own(space: Space) -> None:
    text = space.root.paths.config_file.read_text().split("[outgoing]\n")[1]
    space.root.account("meier", "[outgoing]\n" + text)
    space.root.configure("")
    assert "is ready" in space.lanmail("upload", "meier")
    assert "name an ACCOUNT" in space.lanmail("upload", code=os.EX_USAGE)
    assert "name an ACCOUNT" in space.lanmail("upload", "meier", "--global", code=os.EX_USAGE)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("/web/mail\"", "/web/nowhere\"", "is no directory (correct webspace.directory)"),
    ("/web/mail\"", "/web\"", "is not our script; correct webspace.url or webspace.directory"),
    ("/mail/\"", "/else/\"", "is not our script; correct webspace.url or webspace.directory"),
    ('user = "', 'user = "nobody-', "the log-in was refused (correct webspace.user"),
])
def test_what_is_wrong_is_told(space: Space, old: str, new: str, words: str) -> None:
    file = space.root.paths.config_file
    file.write_text(file.read_text().replace(old, new, 1))
    assert words in space.lanmail("upload", "--global", code=os.EX_UNAVAILABLE)


def test_another_copy_at_the_url_is_told(ready: Space) -> None:
    """The URL still calls the scripts of the old directory: they do not see the file."""
    (ready.web / "new").mkdir()
    file = ready.root.paths.config_file
    file.write_text(file.read_text().replace("/web/mail\"", "/web/new\""))
    assert "the script does not see the file" in ready.lanmail("upload", "--global", code=os.EX_UNAVAILABLE)


def test_short_passwords_are_refused(space: Space) -> None:
    (space.root.paths.secrets / "web").write_text("short\n")
    assert "20 characters" in space.lanmail("upload", "--global", code=os.EX_UNAVAILABLE)


def test_the_host_key_is_pinned(space: Space) -> None:
    file = space.root.paths.config_file
    file.write_text(file.read_text().replace(space.fingerprint, ""))
    assert "nothing was uploaded" in space.lanmail("upload", "--global", code=os.EX_NOPERM, input="n\n")
    assert not list((space.web / "mail").iterdir())
    space.lanmail("upload", "--global", input="y\n")
    assert config.load(space.root.paths).outgoing.webspace.host_key == space.fingerprint
    file.write_text(file.read_text().replace(space.fingerprint, "SHA256:" + "A" * 43))
    assert "somebody may be in between" in space.lanmail("upload", "--global", code=os.EX_UNAVAILABLE)


async def test_sent_as_it_is(ready: Space) -> None:
    entry_id = ready.root.put("x@far.example", "bcc@far.example", message=TEXT)
    assert await ready.root.once() == os.EX_OK
    ((arguments, mail),) = webspaces.captured(ready.target)
    assert arguments == ["-i", "-f", "meier@office.lan", "--", "x@far.example", "bcc@far.example"]
    assert mail == TEXT
    assert not ready.root.waiting()
    assert not list((ready.web / "mail/spool").glob("*.eml"))
    assert len([line for line in ready.root.events("sent") if entry_id in line]) == 2
    assert not any(PASSWORD in log.read_text() for log in ready.root.paths.log.glob("*"))


async def test_addresses_that_php_would_change_are_refused_one_by_one(ready: Space) -> None:
    strange = ("gr\u00fcn@far.example", '"a b"@far.example', "-x@far.example")
    ready.root.put("x@far.example", "y@\u00fcber.example", *strange, message=TEXT)
    assert await ready.root.once() == os.EX_OK
    ((arguments, _mail),) = webspaces.captured(ready.target)
    assert arguments[4:] == ["x@far.example", "y@xn--ber-goa.example"]
    ((_, bounce),) = ready.root.queued()
    told = [line.split("; ")[1] for line in bounce.decode().splitlines() if line.startswith("Final-Recipient:")]
    assert sorted(told) == sorted([r"gr\x{FC}n@far.example", *strange[1:]])  # RFC 6533 §3


async def test_a_lost_answer_sends_nothing_twice(ready: Space) -> None:
    """The script is called by way of a peer that hangs up before it passes the answer on."""
    def through(head: bytes) -> bytes:
        return b""

    root = ready.office()
    entry_id = root.put("x@far.example", message=TEXT)
    async with Http(through) as peer:
        good = root.paths.config_file.read_text()
        root.paths.config_file.write_text(good.replace(ready.url, f"http://127.0.0.1:{peer.port}/"))
        assert await root.once() == os.EX_TEMPFAIL
        _, body = peer.requests[0]
    # the call arrived after all, but its answer did not
    fields = dict(urllib.parse.parse_qsl(body.decode()))
    status, said = await webspaces.in_thread(lambda: ready.call("send", fields["id"], sha256=fields["sha256"]))
    assert (status, said["sent"]) == (200, ["x@far.example"])
    root.paths.config_file.write_text(good)
    root.due(entry_id) if root.state(entry_id) else None
    for one in (root.paths.state / "relay").glob("*"):
        one.unlink()
    assert await root.once() == os.EX_OK
    assert len(webspaces.captured(ready.target)) == 1


@pytest.mark.parametrize(("code", "bounces"), [(75, False), (67, True), (1, False)])
async def test_what_sendmail_says(ready: Space, code: int, bounces: bool) -> None:
    (ready.target / "exit").write_text(f"{code}\n")
    entry_id = ready.root.put("x@far.example", message=TEXT)
    await ready.root.once()
    assert (ready.root.waiting() == [entry_id]) is not bounces
    assert len(ready.root.queued()) == bounces
    if not bounces:  # and later it works
        (ready.target / "exit").write_text("0\n")
        ready.root.due(entry_id)
        assert await ready.root.once() == os.EX_OK
        assert len(webspaces.captured(ready.target)) == 2


async def test_by_smtp_from_there(space: Space) -> None:
    script = {"AUTH": "235 2.7.0 ok", "RCPT": lambda _session, line: "550 5.1.1 nobody" if "y@" in line else None}
    async with Peer("AUTH PLAIN LOGIN", "8BITMIME", script=script) as peer:
        (space.root.paths.secrets / "smtp").write_text("it's a \\secret\\\n")
        (space.root.paths.secrets / "smtp").chmod(0o600)
        space.office(f'webspace.mode = "smtp"\nwebspace.smtp_host = "127.0.0.1"\nwebspace.smtp_port = {peer.port}\n'
                     'webspace.smtp_tls = "none"\nwebspace.smtp_user = "me"\n'
                     'webspace.smtp_password = "file:secrets/smtp"\n')
        await webspaces.in_thread(lambda: space.lanmail("upload", "--global"))
        space.root.put("x@far.example", "y@far.example", message=TEXT)
        assert await space.root.once() == os.EX_OK
    assert [(mail.sender, mail.recipients, mail.text) for mail in peer.taken] == [
        ("meier@office.lan", ["x@far.example"], TEXT.replace(b"\n", b"\r\n"))]
    assert b"550 5.1.1 nobody" in space.root.queued()[0][1]
    assert "AUTH PLAIN " + base64.b64encode(b"\0me\0it's a \\secret\\").decode() in peer.lines


async def test_a_server_behind_the_script_that_says_yes_to_data_has_no_mail(space: Space) -> None:
    async with Peer(script={"DATA": "250 2.0.0 ok"}) as peer:
        space.office(f'webspace.mode = "smtp"\nwebspace.smtp_host = "127.0.0.1"\nwebspace.smtp_port = {peer.port}\n'
                     'webspace.smtp_tls = "none"\n')
        await webspaces.in_thread(lambda: space.lanmail("upload", "--global"))
        entry_id = space.root.put("x@far.example", message=TEXT)
        assert await space.root.once() == os.EX_TEMPFAIL
    assert space.root.waiting() == [entry_id]
    assert not space.root.queued()


# --- who calls the script without being asked to

def test_the_script_refuses_strangers(ready: Space) -> None:
    digest = ready.put("12345678")
    assert ready.call("send", sha256=digest, key="another")[0] == 403
    assert ready.call("send", sha256=digest, mac="0" * 64)[0] == 403
    assert ready.call("send", sha256=digest, ts=str(int(time.time()) - 400))[0] == 403
    assert ready.call("send", sha256="1" * 64)[0] == 409
    assert ready.call("send", "87654321", sha256=digest)[0] == 404
    for name in ("../../etc/passwd", "a/b12345678", "12345678\n", "1234567", "x" * 65, ""):
        assert ready.call("send", name, sha256=digest)[0] == 400
    assert ready.call("run", sha256=digest)[0] == 400
    assert not webspaces.captured(ready.target)


def test_a_call_counts_once(ready: Space) -> None:
    digest, nonce, ts = ready.put("12345678"), "ab" * 16, str(int(time.time()))
    assert ready.call("send", sha256=digest, nonce=nonce, ts=ts)[0] == 200
    ready.put("12345678")
    assert ready.call("send", sha256=digest, nonce=nonce, ts=ts)[0] == 409
    assert len(webspaces.captured(ready.target)) == 1


def test_get_and_the_other_files_say_nothing(ready: Space) -> None:
    ready.put("12345678")
    for path in ("lanmail.php", "lanmail_config.php", "lanmail_send.php", "spool/", "spool/index.php"):
        try:
            with urllib.request.urlopen(ready.url + path, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, b""
            error.close()
        assert text == b"", path
        assert status in (200, 403, 404, 405), path


@pytest.mark.parametrize("head", [
    b"X-Sender: <meier@office.lan>\n", b"X-Receiver: <x@far.example>\n", b"Subject: x\n",
    b"X-Sender: <m@office.lan>\nX-Receiver: <x@far.example\n", b"X-Sender: <m@office.lan>\nX-Receiver: <-oQ/tmp@x>\n",
    b"X-Sender: <-X/tmp/x@office.lan>\nX-Receiver: <x@far.example>\n",
    b"X-Sender: <a b@c>\nX-Receiver: <x@far.example>\n",
])
def test_a_bad_envelope_reaches_no_program(ready: Space, head: bytes) -> None:
    digest = ready.put("12345678", head=head)
    assert ready.call("send", sha256=digest)[0] == 400
    assert not webspaces.captured(ready.target)


def test_addresses_are_no_shell(ready: Space) -> None:
    evil = b"$(touch${IFS}pwned)`touch${IFS}pwned`';touch${IFS}pwned;'@far.example"
    digest = ready.put("12345678", head=b"X-Sender: <meier@office.lan>\nX-Receiver: <" + evil + b">\n")
    status, _ = ready.call("send", sha256=digest)
    assert status == 200
    assert webspaces.captured(ready.target)[0][0][-1] == evil.decode()
    assert not list(ready.base.rglob("pwned"))


def test_without_a_program_mail_itself_sends(tmp_path: Path) -> None:
    """popen is forbidden on many web spaces; then mail() reads the recipients from the header."""
    forbidden = webspaces.php(tmp_path, "-d", "disable_functions=popen")
    with forbidden as (url, web, target), webspaces.sshd(tmp_path) as ssh:
        space = Space(tmp_path, url, web, target, ssh)
        space.lanmail("upload", "--global")
        digest = space.put("12345678", b"From: M <m@office.lan>\nTo: X <x@far.example>, c@office.lan\n"
                           b"Cc: c@office.lan\nBcc: secret@far.example\nSubject: a\n b\nX-A: 1\n\nbody\n",
                           head=b"X-Sender: <m@office.lan>\nX-Receiver: <x@far.example>\nX-Receiver: <h@far.example>\n")
        assert space.call("send", sha256=digest)[0] == 200
        ((arguments, mail),) = webspaces.captured(target)
    assert "-fm@office.lan" in " ".join(arguments)
    head, _, body = mail.replace(b"\r\n", b"\n").partition(b"\n\n")
    assert sorted(head.split(b"\n")) == sorted([
        b"To: X <x@far.example>", b"Subject: a b", b"From: M <m@office.lan>", b"X-A: 1", b"Bcc: h@far.example"])
    assert body.rstrip(b"\n") == b"body"


# --- FTP and FTPS

@pytest.mark.parametrize("tls", [True, False], ids=["ftps", "ftp"])
async def test_by_ftp(tmp_path: Path, tls: bool) -> None:
    """The server names another address for its data connections: the one we know is used."""
    with webspaces.php(tmp_path) as (url, web, target):
        (web / "mail").mkdir()
        (web / "mail").chmod(0o777)
        with webspaces.vsftpd(tmp_path, web, tls=tls) as (port, ca):
            root = Root(tmp_path / "office", "")
            root.paths.secrets.mkdir(parents=True)
            for name, text in (("web", PASSWORD), ("ftp", "x@y.example")):
                (root.paths.secrets / name).write_text(text)
                (root.paths.secrets / name).chmod(0o600)
            root.configure(
                f'transport = "webspace"\ntls_ca = "{ca}"\nwebspace.url = "{url}"\nwebspace.directory = "mail"\n'
                f'webspace.upload = "{"ftps" if tls else "ftp"}"\nwebspace.host = "127.0.0.1"\nwebspace.port = {port}\n'
                'webspace.user = "anonymous"\nwebspace.password = "file:secrets/ftp"\n'
                'webspace.script_password = "file:secrets/web"\n')

            def upload() -> click.testing.Result:
                return click.testing.CliRunner().invoke(
                    admin.cli, ["webspace", "upload", "--global", "--root", str(root.paths.root)])

            done = await webspaces.in_thread(upload)
            assert done.exit_code == 0, done.output
            (web / "mail/spool").chmod(0o777)
            root.put("x@far.example", message=TEXT)
            assert await root.once() == os.EX_OK
            file = root.paths.config_file
            for old, new, words in (('directory = "mail"', 'directory = "none"', "correct webspace.directory"),
                                    ('user = "anonymous"', 'user = "nobody"', "correct webspace.user")):
                good = file.read_text()
                file.write_text(good.replace(old, new))
                done = await webspaces.in_thread(upload)
                assert done.exit_code == os.EX_UNAVAILABLE
                assert words in done.output
                file.write_text(good)
            if tls:
                file.write_text(file.read_text().replace(f'tls_ca = "{ca}"\n', ""))
                assert "not trusted" in (await webspaces.in_thread(upload)).output
    ((arguments, mail),) = webspaces.captured(target)
    assert (arguments[-1], mail) == ("x@far.example", TEXT)


async def test_other_answers_keep_the_mail(space: Space) -> None:
    (space.web / "mail/spool").mkdir()
    for answer in (ok(b"<html>hello</html>"), ok(b'{"ok":false}'), ok(b"[]"), ok(b'{"ok":true}'),
                   ok(b'{"ok":true,"sent":5,"failed":{"x@far.example":["a"]}}'), b""):
        async with Http(answer) as peer:
            root = space.office()
            file = root.paths.config_file
            file.write_text(file.read_text().replace(space.url, f"http://127.0.0.1:{peer.port}/"))
            entry_id = root.put("x@far.example", message=TEXT)
            assert await root.once() == os.EX_TEMPFAIL
            assert entry_id in root.waiting()
            assert not root.queued()
