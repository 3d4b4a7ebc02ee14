"""Filters by themselves: programs, clamd and rspamd as their protocols are, and what they may put on a mail."""

import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lanmail.filters import Broken, Question, asking, clamd, header_lines, program, rspamd
from lanmail.filters.options import Filtering

MAIL = b"From: a@far.example\nSubject: hi\n\nbody \xff\x00\n"
HEAD = b"X-Sender: <a@far.example>\nX-Receiver: <meier@office.lan>\n"


@pytest.fixture
def question(tmp_path):
    path = tmp_path / "entry"
    path.write_bytes(HEAD + MAIL)
    descriptor = os.open(path, os.O_RDONLY)
    yield Question("17.M1", descriptor, len(HEAD), len(MAIL), "a@far.example", ("meier@office.lan", "b@office.lan"),
                   "mx", "192.0.2.1", "meier")
    os.close(descriptor)


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "filter"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    tmp_path.chmod(0o755)
    return str(path)


def options(**given: object) -> Filtering:
    return Filtering.model_validate({"timeout": "20s", **given})


@pytest.mark.parametrize(("text", "kind", "reason", "lines"), [
    ("exit 0", "accept", "", b""),
    ("echo X-Checked: yes; exit 0", "accept", "", b"X-Checked: yes\n"),
    ("echo; echo '  no thank you '; echo more; exit 1", "reject", "no thank you", b""),
    ("echo bad >&2; exit 1", "reject", "bad", b""),
    ("printf 'a\\033[31mb\\r\\0c\\n'; exit 1", "reject", "a [31mb", b""),
    ("exit 1", "reject", "the filter says no", b""),
    ("exit 2", "tag", "", b"X-Spam-Flag: YES\n"),
    ("echo X-Spam-Level: 7; exit 2", "tag", "", b"X-Spam-Level: 7\n"),
    ("exit 75", "defer", "the filter wants it later", b""),
])
def test_what_exit_codes_mean(tmp_path, question, text, kind, reason, lines) -> None:
    found = program.ask(script(tmp_path, text), question, options())
    assert (found.kind, found.reason, found.lines) == (kind, reason, lines)


def test_the_message_is_its_input_and_nothing_of_ours_its_environment(tmp_path, question, monkeypatch) -> None:
    monkeypatch.setenv("LANMAIL_TEST_SECRET", "s3cret")
    path = script(tmp_path, f"cat >{tmp_path}/got; env >{tmp_path}/env; pwd >{tmp_path}/pwd")
    assert program.ask(path, question, options()).kind == "accept"
    assert (tmp_path / "got").read_bytes() == MAIL
    found = (tmp_path / "env").read_text()
    for line in ("SENDER=a@far.example", "RECIPIENT=meier@office.lan b@office.lan", "ACCOUNT=meier", "ID=17.M1",
                 "ORIGIN=mx", "CLIENT=192.0.2.1"):
        assert f"{line}\n" in found
    assert "LANMAIL" not in found
    assert (tmp_path / "pwd").read_text() == "/\n"
    assert program.ask(path, question, options()).kind == "accept"  # from the start again
    assert (tmp_path / "got").read_bytes() == MAIL


@pytest.mark.parametrize(("text", "why"), [
    ("exit 3", "exit code 3: without a word"), ("echo trouble >&2; exit 127", "exit code 127: trouble"),
    ("kill -9 $$", "signal 9"), ("sleep 60", "no answer in time"), ("yes", "no answer in time"),
    ("exec 1>&- 2>&-; sleep 60", "no answer in time"),
])
def test_what_does_not_work_is_no_verdict(tmp_path, question, text, why) -> None:
    with pytest.raises(Broken, match=why):
        program.ask(script(tmp_path, text), question, options(timeout="500ms" if why == "no answer in time" else "20s"))


def test_all_of_it_is_killed_when_its_time_is_over(tmp_path, question) -> None:
    text = ""
    for seconds in (1, 4, 16):  # a machine that is busy may take its time to begin
        if not text:
            with pytest.raises(Broken):
                program.ask(script(tmp_path, f"sleep 1000 & echo $! >{tmp_path}/pid; wait"), question,
                            options(timeout=f"{seconds}s"))
            text = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""
    pid = int(text)
    limit = time.monotonic() + 90
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_what_it_leaves_behind_does_not_keep_us_waiting(tmp_path, question) -> None:
    assert program.ask(script(tmp_path, "sleep 1000 & exit 2"), question, options()).kind == "tag"


def test_memory_is_limited(tmp_path, question) -> None:
    path = script(tmp_path, "sleep 1; exec python3 -c 'bytearray(900 << 20)'")
    with pytest.raises(Broken, match="exit code 1"):
        program.ask(path, question, options(memory="300MB"))


def test_output_without_end_is_cut(tmp_path, question) -> None:
    path = script(tmp_path, "head -c 3000000 /dev/zero | tr '\\0' x; echo; exit 2")
    assert program.ask(path, question, options()).lines == program.SPAM


@pytest.mark.parametrize("wrong", ["world", "directory", "plain", "missing", "folder"])
def test_a_program_that_others_could_have_put_there_is_not_run(tmp_path, question, wrong) -> None:
    path = script(tmp_path, f"touch {tmp_path}/ran")
    if wrong == "world":
        os.chmod(path, 0o757)
    elif wrong == "directory":
        tmp_path.chmod(0o777)
    elif wrong == "plain":
        os.chmod(path, 0o644)
    elif wrong == "missing":
        os.unlink(path)
    else:
        path = str(tmp_path)
    with pytest.raises(Broken):
        program.ask(path, question, options())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("said", "lines"), [
    ("X-A: 1\r\nX-B: 2\n  goes on\n\nX-C: 3", b"X-A: 1\nX-B: 2 goes on\nX-C: 3\n"),
    ("From: evil@x\n folded\nReturn-Path: <>\nX-Origin: submission account=chef\nx-sender: <>\nX-Ok: 1", b"X-Ok: 1\n"),
    ("X-Lanmail-EInvoice: yes\nX-Forwarded-For: a\nDelivered-To: a\nContent-Type: text/html\nSubject: x", b""),
    ("no field\n : x\nX-: y\nX-\u00e4: 1", b""),
    ("X-A: a\x00b\x0b\u2028c\x85X-Origin: d", b"X-A: a b  c X-Origin: d\n"),
    ("X-A: " + "y" * 5000, b"X-A: " + b"y" * 895 + b"\n"),
    ("Authentication-Results: mx; spf=pass", b"Authentication-Results: mx; spf=pass\n"),
])
def test_lines_that_a_filter_may_put_on_a_mail(said, lines) -> None:
    assert header_lines(said)[0] == lines


def test_no_more_lines_than_a_header_can_bear() -> None:
    assert header_lines("X-A: 1\n" * 100)[0].count(b"\n") == 20
    assert header_lines(("X-A: " + "y" * 890 + "\n") * 20)[0] == b""


class Clamd:
    """clamd by its protocol: INSTREAM, and an answer."""

    def __init__(self, path: Path, answer: bytes, *, early: bool = False) -> None:
        self.answer, self.early, self.got = answer, early, b""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self) -> "Clamd":
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self.thread.join(20)
        self._server.close()

    def _serve(self) -> None:
        try:
            one, _ = self._server.accept()
        except OSError:
            return
        with one, one.makefile("rb") as stream:
            assert stream.read(10) == b"zINSTREAM\0"
            while not self.early and (length := struct.unpack(">I", stream.read(4))[0]):
                self.got += stream.read(length)
            one.sendall(self.answer)


@pytest.mark.parametrize(("answer", "kind", "reason"), [
    (b"stream: OK\0", "accept", ""),
    (b"stream: Eicar-Test-Signature FOUND\0", "reject", "malware was found in it: Eicar-Test-Signature"),
    (b"stream: a\x1b[1m\nb FOUND\0", "reject", "malware was found in it: a [1m b"),
])
def test_clamd_gets_the_message_and_its_answer_is_understood(tmp_path, question, answer, kind, reason) -> None:
    with Clamd(tmp_path / "s", answer) as peer:
        found = clamd.ask(question, options(clamd=str(tmp_path / "s")))
    assert (found.kind, found.reason, peer.got) == (kind, reason, MAIL)


@pytest.mark.parametrize("answer", [b"", b"stream: OK FOUND it ERROR\0", b"UNKNOWN COMMAND\0", b"x" * 9000])
def test_any_other_answer_of_clamd_is_none(tmp_path, question, answer) -> None:
    with Clamd(tmp_path / "s", answer), pytest.raises(Broken):
        clamd.ask(question, options(clamd=str(tmp_path / "s"), timeout="5s"))


def test_clamd_may_answer_before_it_has_all(tmp_path, question) -> None:
    answer = b"INSTREAM size limit exceeded. ERROR\0"
    with Clamd(tmp_path / "s", answer, early=True), pytest.raises(Broken, match="size limit"):
        clamd.ask(question, options(clamd=str(tmp_path / "s")))


@pytest.mark.parametrize("name", ["clamd", "rspamd"])
def test_nobody_there_is_said_and_not_asked_again_at_once(tmp_path, question, name) -> None:
    asking.forget()
    given = options(**{name: str(tmp_path / "s")})
    with pytest.raises(Broken, match="No such file"):
        asking.ask(name, question, given)
    with Clamd(tmp_path / "s", b"stream: OK\0"), pytest.raises(Broken, match="No such file"):
        asking.ask(name, question, given)
    asking.forget()


def test_silence_ends(tmp_path, question) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        for name in ("clamd", "rspamd"):
            with pytest.raises(Broken, match="in time"):
                asking.once(name, question, options(**{name: str(tmp_path / "s")}, timeout="300ms"))


def test_what_was_said_is_kept_for_the_mail(tmp_path, question) -> None:
    asking.forget()
    path = script(tmp_path, f"echo x >>{tmp_path}/count; exit 2")
    for _ in range(3):
        assert asking.ask(path, question, options()).kind == "tag"
    assert (tmp_path / "count").read_text() == "x\n"


@pytest.mark.parametrize(("answer", "kind", "lines"), [
    ({"action": "no action"}, "accept", b"X-Spam-Score: 1.5 / 15.0\nX-Spam-Action: no action\n"),
    ({"action": "greylist"}, "accept", b"X-Spam-Score: 1.5 / 15.0\nX-Spam-Action: greylist\n"),
    ({"action": "add header", "milter": {"add_headers": {
        "X-A": {"value": "b\n c", "order": 1}, "X-L": [{"value": "1"}, "2"], "Subject": "x", "X-B\nX-Origin": "y"}}},
     "tag", b"X-Spam-Flag: YES\nX-Spam-Score: 1.5 / 15.0\nX-Spam-Action: add header\nX-A: b c\nX-L: 1\nX-L: 2\n"),
    ({"action": "rewrite subject"}, "tag",
     b"X-Spam-Flag: YES\nX-Spam-Score: 1.5 / 15.0\nX-Spam-Action: rewrite subject\n"),
    ({"action": "reject"}, "reject", b"X-Spam-Score: 1.5 / 15.0\nX-Spam-Action: reject\n"),
    ({"action": "soft reject", "milter": []}, "defer", b"X-Spam-Score: 1.5 / 15.0\nX-Spam-Action: soft reject\n"),
])
def test_actions_of_rspamd(answer, kind, lines) -> None:
    found = rspamd.understood(json.dumps({"score": 1.5, "required_score": 15, **answer}).encode())
    assert (found.kind, found.lines) == (kind, lines)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"action": 1, "score": null}', b"\xff"])
def test_other_answers_of_rspamd_are_none(answer) -> None:
    with pytest.raises(Broken):
        rspamd.understood(answer)


GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rspamd") is None, reason="rspamd is not installed")
def test_rspamd_itself(tmp_path, question) -> None:
    place = tmp_path / "rspamd.sock"
    (tmp_path / "tld").write_text("example\n")  # with its own lists it needs half a minute to start
    (tmp_path / "languages").mkdir()
    (tmp_path / "conf").write_text(
        f'options {{ filters = []; tempdir = "{tmp_path}"; pidfile = "{tmp_path}/pid"; enable_test_patterns = true; '
        f'url_tld = "{tmp_path}/tld"; disable_hyperscan = true; '
        f'dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; }} }}\n'
        f'lang_detection {{ languages = "{tmp_path}/languages"; }}\n'
        f'logging {{ type = "file"; filename = "{tmp_path}/log"; level = "info"; }}\n'
        f'worker "normal" {{ bind_socket = "{place} mode=0666"; count = 1; }}\n'
        'actions { reject = 15; add_header = 6; greylist = 4; }\n')
    with subprocess.Popen(["rspamd", "-f", "-i", "-c", tmp_path / "conf"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            limit = time.monotonic() + 90
            while not place.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < limit
                time.sleep(0.05)
            given = options(rspamd=str(place))
            assert rspamd.ask(question, given).kind == "accept"
            (tmp_path / "spam").write_bytes(b"From: a@far.example\nSubject: hi\n\n" + GTUBE + b"\n")
            with (tmp_path / "spam").open("rb") as spam:
                size = os.fstat(spam.fileno()).st_size
                bad = Question("17.M2", spam.fileno(), 0, size, "", ("meier@office.lan",), "mx")
                assert rspamd.ask(bad, given).kind == "reject"
        finally:
            process.terminate()
            process.wait(30)
