"""A mail goes in by SMTP and comes out by POP3 and IMAP byte for byte, whatever is in it; line ends apart."""

import collections
import imaplib
import os
import poplib
import re
import socket
from pathlib import Path

import pytest

from lanmail import wire
from tests.e2e.office import DOMAIN, HERE, HOST, Office, until, without_trace

pytestmark = pytest.mark.slow
CORPUS = Path(os.environ.get("LANMAIL_CORPUS", HERE.parent / "shared/corpus/mail-dev/messages"))
REFUSED = {"gen_huge_header_1mb.eml": b"552 5.3.4", "gen_received_60.eml": b"554 5.4.6"}    # the default limits
HEAD = b"From: <a@example.org>\r\nSubject: s\r\n"
ODD = {
    "empty": b"",
    "only a line end": b"\r\n",
    "no body": HEAD,
    "no end of line at the end": HEAD + b"\r\nlast line",
    "dots": HEAD + b"\r\n.\r\n..\r\n.x\r\n...\r\n",
    "8 bit": HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n",
    "bare CR": HEAD + b"\r\nfoo\rbar\r\n\r\r\nx\r\n",
    "long line": HEAD + b"\r\n" + b"x" * 100_000 + b"\r\n",
    "blank lines at the end": HEAD + b"\r\n\r\n\r\n\r\n",
    "broken header": b"no header at all\r\nFrom somebody\r\n\r\n: : :\r\n",
    "envelope look-alike": b"X-Sender: <evil@example.org>\r\nX-Receiver: <other@office.lan>\r\n" + HEAD + b"\r\nx\r\n",
    "mbox line": b"From a@b Sat Nov 21 10:00:00 2026\r\n" + HEAD + b"\r\nFrom here\r\n",
    "one megabyte": HEAD + b"\r\n" + b"0123456789abcdef" * 64 * 1024 + b"\r\n",
    "many short lines": HEAD + b"\r\n" + b"\r\n.\r\nx" * 20_000,
    "UTF-8 header": "Subject: Grüße aus Köln\r\nFrom: <a@example.org>\r\n\r\nText\r\n".encode(),
}


def send(office: Office, account: str, messages: list[bytes]) -> list[bytes]:
    """All messages in one session; each one's answer to the final dot."""
    answers = []
    with socket.create_connection((HOST, office.port(25)), timeout=30) as wire_end:
        lines = wire_end.makefile("rb")

        def reply() -> bytes:
            while (line := lines.readline())[3:4] == b"-":
                pass
            return line

        def say(command: bytes) -> bytes:
            wire_end.sendall(command + b"\r\n")
            return reply()

        assert reply().startswith(b"220")
        assert say(b"EHLO corpus.example.org").startswith(b"250")
        for message in messages:
            assert say(b"MAIL FROM:<a@example.org> BODY=8BITMIME").startswith(b"250")
            assert say(f"RCPT TO:<{account}@{DOMAIN}>".encode()).startswith(b"250")
            assert say(b"DATA").startswith(b"354")
            body = wire.dot_stuff(message)
            wire_end.sendall(body + (b"" if body.endswith(b"\r\n") or not body else b"\r\n") + b".\r\n")
            answers.append(reply())
        say(b"QUIT")
    return answers


FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


def as_taken(message: bytes) -> bytes:
    """What becomes of a message, in LF form: no more than docs/decisions.md says."""
    text = message if message.endswith(b"\r\n") or not message else message + b"\r\n"    # SMTP ends the last line
    text = re.sub(rb"\r+", b" ", re.sub(rb"\r+\n", b"\n", text))    # a bare CR is no line end to anybody after us
    return text if FIELD.match(text) else b"\n" + text    # text without a header does not become part of ours


def round_trip(office: Office, account: str, messages: dict[str, bytes], may_refuse: dict[str, bytes]) -> None:
    """In by SMTP, except those that must be refused; out of the Maildir, POP3 and IMAP; all the same."""
    answers = send(office, account, list(messages.values()))
    refused = {name: answer for name, answer in zip(messages, answers, strict=True) if not answer.startswith(b"250")}
    assert refused.keys() == may_refuse.keys() & messages.keys(), refused
    assert all(refused[name].startswith(may_refuse[name]) for name in refused), refused
    taken = [as_taken(message) for name, message in messages.items() if name not in refused]
    until(lambda: len(office.inbox(account)) == len(taken), 60, f"{len(taken)} mails")
    stored = collections.Counter(without_trace(path.read_bytes()) for path in office.inbox(account))
    assert [one[:500] for one in stored - collections.Counter(taken)] == []
    assert [one[:500] for one in collections.Counter(taken) - stored] == []
    files = sorted(wire.to_crlf(path.read_bytes()) for path in office.inbox(account))
    assert sorted(by_pop3(office, account)) == files
    without_nul = sorted(one.replace(b"\0", b"\x80") for one in files)    # RFC 3501 §9: a literal has no NUL
    assert sorted(by_imap(office, account)) == without_nul


def by_pop3(office: Office, account: str) -> list[bytes]:
    poplib._MAXLINE = 1 << 20    # type: ignore[attr-defined]
    pop3 = poplib.POP3(HOST, office.port(110), timeout=30)
    pop3.user(account)
    pop3.pass_(office.passwords[account])
    sizes = [int(line.split()[1]) for line in pop3.list()[1]]
    found = []
    for number, size in enumerate(sizes, 1):
        pop3._putcmd(f"RETR {number}")    # type: ignore[attr-defined]
        pop3._getresp()    # type: ignore[attr-defined]
        raw = b""
        while (line := pop3.file.readline()) != b".\r\n":    # type: ignore[attr-defined]
            raw += line[1:] if line.startswith(b".") else line
        assert len(raw) == size
        found.append(raw)
    pop3.quit()
    return found


def by_imap(office: Office, account: str) -> list[bytes]:
    imap = imaplib.IMAP4(HOST, office.port(143), timeout=30)
    imap.login(account, office.passwords[account])
    imap.select("INBOX", readonly=True)
    answer = imap.fetch("1:*", "(RFC822.SIZE BODY.PEEK[])")[1]
    imap.logout()
    found = []
    for item in answer:
        if isinstance(item, tuple):
            assert f"RFC822.SIZE {len(item[1])} ".encode() in item[0] + b" "
            found.append(item[1])
    return found


def test_odd_mails(office: Office, account: str) -> None:
    round_trip(office, account, ODD, {})


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real mails is not here (LANMAIL_CORPUS)")
def test_corpus(office: Office, account: str) -> None:
    messages = {path.name: wire.to_crlf(path.read_bytes()) for path in sorted(CORPUS.iterdir())}
    assert len(messages) > 100
    round_trip(office, account, messages, REFUSED)
