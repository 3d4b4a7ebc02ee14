"""sendmail: options as others use them, exit codes, and what lies in pickup afterwards."""

import io
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from lanmail import sendmail
from tests.mailroot import Root


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def call(root, *arguments, text=b"Subject: x\n\nbody\n"):
    result = CliRunner().invoke(sendmail.main, [*arguments, "--root", str(root.paths.root)], input=text)
    return result.exit_code


def dropped(root):
    found = [one for one in root.paths.pickup.iterdir() if one.is_file()]
    assert len(found) == 1, found
    return found[0].read_bytes()


@pytest.mark.parametrize("options", [
    [], ["-i"], ["-oi"], ["-oem", "-oi", "-odb"], ["-bm"], ["-v"], ["-n"], ["-B8BITMIME"], ["-B", "8BITMIME"],
    ["-O", "DeliveryMode=b"], ["-h", "3"], ["-U"], ["-Ltag"], ["-d0.1"], ["-im"], ["--"],
])
def test_options_of_others_are_taken_politely(root, options):
    assert call(root, *options, "meier") == 0 if options != ["--"] else True
    if options == ["--"]:
        result = CliRunner().invoke(sendmail.main, ["--root", str(root.paths.root), "--", "meier"], input=b"x\n")
        assert result.exit_code == 0
    assert b"X-Receiver: <meier>\n" in dropped(root)


@pytest.mark.parametrize(("arguments", "text", "sender", "receivers"), [
    (["meier"], b"x\n", sendmail.login_name(), ["meier"]),
    (["meier", "Meier@Office.LAN,schmidt"], b"x\n", sendmail.login_name(), ["meier", "Meier@office.lan", "schmidt"]),
    (["-f", "a@far.example", "meier"], b"x\n", "a@far.example", ["meier"]),
    (["-fa@far.example", "meier"], b"x\n", "a@far.example", ["meier"]),
    (["-r", "<a@far.example>", "<meier>"], b"x\n", "a@far.example", ["meier"]),
    (["-f", "", "meier"], b"x\n", "", ["meier"]),
    (["-f", "<>", "meier"], b"x\n", "", ["meier"]),
    (["meier", "-f", "a@far.example"], b"x\n", "a@far.example", ["meier"]),
    (["-t"], b"To: meier, b@far.example\nBcc: schmidt\n\nx\n", sendmail.login_name(),
     ["meier", "b@far.example", "schmidt"]),
    (["-ti", "chef"], b"To: meier\nCc: chef\n\nx\n", sendmail.login_name(), ["chef", "meier"]),
    (["-t"], b"From x Sat Nov 21\nTo: meier\n\nx\n", sendmail.login_name(), ["meier"]),
])
def test_envelope(root, arguments, text, sender, receivers):
    assert call(root, *arguments, text=text) == 0
    lines = dropped(root).split(b"Return-Path")[0].decode().splitlines()
    assert lines == [f"X-Sender: <{sender}>", *[f"X-Receiver: <{one}>" for one in receivers]]


def test_dsn_options_go_into_the_envelope(root):
    assert call(root, "-N", "failure,delay", "-R", "hdrs", "-V", "abc", "meier") == 0
    assert dropped(root).startswith(b"X-Sender: <%s> RET=HDRS ENVID=abc\nX-Receiver: <meier> NOTIFY=FAILURE,DELAY\n"
                                    % sendmail.login_name().encode())


@pytest.mark.parametrize(("arguments", "code"), [
    ([], os.EX_DATAERR),
    (["-t"], os.EX_DATAERR),
    (["a@@b"], os.EX_DATAERR),
    (["a\nX-Receiver: <b@far.example>"], os.EX_DATAERR),
    (["-f", "a\r\nX-Origin: submission", "meier"], os.EX_DATAERR),
    (["-N", "never\nX-Origin: submission", "meier"], os.EX_DATAERR),
    (["-V", "a b", "meier"], os.EX_DATAERR),
    (["-bs"], os.EX_USAGE),
    (["-bd"], os.EX_USAGE),
    (["-Z", "meier"], os.EX_USAGE),
    (["-f"], os.EX_USAGE),
    (["-bp"], os.EX_OK),
    (["-bi"], os.EX_OK),
    (["-q"], os.EX_OK),
    (["-q30m"], os.EX_OK),
])
def test_exit_codes(root, arguments, code):
    result = CliRunner().invoke(sendmail.main, ["--root", str(root.paths.root), *arguments], input=b"x\n")
    assert result.exit_code == code
    assert [one for one in root.paths.pickup.iterdir() if one.is_file()] == []


def test_a_message_cannot_bring_an_envelope_of_its_own(root):
    assert call(root, "meier", text=b"X-Receiver: <evil@far.example>\nX-Origin: submission account=chef\n\nx\n") == 0
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert list((root.paths.outbound / "new").iterdir()) == []
    assert b"account=chef" not in root.inbox("meier")[0]


@pytest.mark.parametrize(("ends", "text", "body"), [
    (True, b"a\n.\nb\n", b"a\n"),
    (True, b"a\r\n.\r\nb\n", b"a\r\n"),
    (True, b"a\n..\n.x\n", b"a\n..\n.x\n"),
    (False, b"a\n.\nb\n", b"a\n.\nb\n"),
])
def test_the_dot(ends, text, body):
    assert sendmail.read_message(io.BytesIO(text), dot_ends=ends) == body


def test_a_full_name_becomes_an_author_only_where_there_is_none(root):
    assert call(root, "-F", 'Cron "x" Daemon\n', "-f", "root", "meier") == 0
    assert b'From: "Cron x Daemon" <root>\n' in dropped(root)
    next(one for one in root.paths.pickup.iterdir() if one.is_file()).unlink()
    assert call(root, "-F", "Cron", "meier", text=b"From: me\n\nx\n") == 0
    assert b"Cron" not in dropped(root)


def test_a_spool_that_is_not_there_or_full(root, tmp_path, monkeypatch):
    result = CliRunner().invoke(sendmail.main, ["--root", str(tmp_path / "none"), "meier"], input=b"x\n")
    assert result.exit_code == os.EX_CANTCREAT
    assert "LANMAIL_ROOT" in result.output

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert call(root, "meier") == os.EX_TEMPFAIL
    assert [one for one in root.paths.pickup.iterdir() if one.is_file()] == []


def test_from_the_shell_to_the_mailbox(root):
    text = b"To: meier\nBcc: schmidt\nSubject: cron\n\nhello\n.\nrest\n"
    done = subprocess.run(
        [sys.executable, "-c", "from lanmail.sendmail import main; main()", "-t", "-i", "-f", "root"], input=text,
        env={**os.environ, "LANMAIL_ROOT": str(root.paths.root)}, check=False, cwd=os.getcwd())
    assert done.returncode == 0
    assert root.run() == 0
    for account in ("meier", "schmidt"):
        (mail,) = root.inbox(account)
        assert mail.startswith(b"Return-Path: <root@office.lan>\nReceived: by mail.office.lan (lanmail pickup) id ")
        assert mail.endswith(b"To: meier\nSubject: cron\n\nhello\n.\nrest\n")
