"""Golden dialogs: protocol talk in text files, played against the real program. tests/test_dialogs.py plays them all.

A file tests/dialogs/PROTOCOL/NN-name.txt has one step per line:

    # a comment
    account: meier geheim key=value     an account, its password, more keys of its file; its Maildir begins empty
    team: info meier schulz=lrs         a team mailbox and its members
    mail: meier Hello\\n.dot\\n           a message in its INBOX (Python escapes)
    C: STAT                             a line to the server
    C~ US\\x45R                          octets as they are, without line end (Python escapes)
    S: +OK 1 <<\\d+>>                    the next line from the server: text, and regular expressions in << >>
    S: * <<(?P<n>\\d+)>> EXISTS          what a named group matched stands for <<=n>> in any later step
    S* .                                lines up to and including one that matches
    TLS:                                the TLS handshake, after STLS or STARTTLS was answered
    END:                                the server closes the connection
    2C: STAT                            C, S, TLS, END with a number: a further connection (opened when first used)
    imaps 2: …                          `PORT N:` opens connection N to another port of the program: `pop3s 2:`
    gone: meier                         the INBOX of meier has no message any more; `left: meier 3`: it has three

Every connection begins with what the server says first. A dialog is independent of all others.
"""

import codecs
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lanmail import config, maildir, passwords, paths, tls
from tests import ports

HERE = Path(__file__).resolve().parent
TIMEOUT = 10.0
_STEP = re.compile(r"(?:(?P<port>[a-z0-9]+) )?(?P<number>\d*)(?P<kind>C:|C~|S:|S\*|TLS:|END:|:)(?: (?P<text>.*))?")
_SETUP = re.compile(r"(?P<word>account|team|mail|gone|left): (?P<text>.*)")


@cache
def hashed(password: str) -> str:
    """The hash for an account file; Argon2 is slow on purpose, so once per password."""
    return passwords.hash(password)


class Site:
    """An installation in a directory, and programs that run on it."""

    def __init__(self, root: Path, settings: str = "", offset: int | None = None) -> None:
        self.paths = paths.of_root(root)
        self.offset = ports.offset() if offset is None else offset
        self.paths.accounts.mkdir(parents=True)
        self.paths.config_file.write_text(
            f'[server]\ndomain = "office.lan"\nlisten = ["127.0.0.1"]\nport_offset = {self.offset}\n{settings}\n')
        tls.make_ca(self.paths, "office.lan")
        self._running: list[subprocess.Popen[bytes]] = []

    def account(self, name: str, password: str, keys: str = "") -> Path:
        """Make an account; returns its Maildir, without a message."""
        secret = hashed(password) if password else ""
        (self.paths.accounts / f"{name}.toml").write_text(f'password = "{secret}"\n{keys}')
        mailbox = self.paths.maildirs / name
        shutil.rmtree(mailbox, ignore_errors=True)
        maildir.prepare(str(mailbox))
        return mailbox

    def mail(self, name: str, data: bytes) -> str:
        """Deliver a message (LF form) into the account's INBOX."""
        return maildir.put(str(self.paths.maildirs / name), data)

    def left(self, name: str) -> int:
        """How many messages the account's INBOX has."""
        inbox = self.paths.maildirs / name
        return sum(1 for sub in ("new", "cur") for _ in (inbox / sub).iterdir())

    def port(self, name: str) -> int:
        """The port of a listener: `pop3.port`, `imapd.tls_port`."""
        section, _, key = name.partition(".")
        loaded = config.load(self.paths)
        return loaded.server.port(getattr(getattr(loaded, section), key))

    def start(self, program: str, *ports: str) -> subprocess.Popen[bytes]:
        """Start a program and wait until its ports answer."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", f"lanmail.{program}", "--root", str(self.paths.root)],
            cwd=HERE.parent.parent, stdin=subprocess.DEVNULL)
        self._running.append(process)
        for port in ports:
            until(lambda port=port: answers(self.port(port)) or process.poll() is not None)
        assert process.poll() is None, f"{program} ended with {process.returncode}"
        return process

    def stop(self) -> None:
        """End all programs; every one of them must end well."""
        for process in self._running:
            process.terminate()
        codes = [process.wait(90) for process in self._running]
        self._running = []
        assert not any(codes), codes

    def log(self) -> str:
        """All that was logged."""
        return "".join(path.read_text() for path in sorted(self.paths.log.glob("*.log")))


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait for a condition."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


class Line:
    """One connection of a dialog."""

    def __init__(self, port: int, *, implicit: bool = False) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self._rest = b""
        if implicit:
            self.start_tls()

    def start_tls(self) -> None:
        assert not self._rest, f"left before TLS: {self._rest!r}"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> str | None:
        """The next line without its line end; None at the end of the connection."""
        while b"\n" not in self._rest:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                assert not self._rest, f"no line end after {self._rest!r}"
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        assert line.endswith(b"\r"), f"no CR at the end of {line!r}"
        return line[:-1].decode("utf-8", "backslashreplace")

    def close(self) -> None:
        self._socket.close()


@dataclass
class Protocol:
    """How a dialog of one protocol reaches its program: port name → (setting, TLS from the first byte)."""

    program: str
    ports: dict[str, tuple[str, bool]]
    settings: str = ""


PROTOCOLS = {
    "pop3": Protocol("pop3d", {"pop3": ("pop3d.port", False), "pop3s": ("pop3d.tls_port", True)},
                     '[pop3d]\nin_use_wait = "1s"'),
    "imap": Protocol("imapd", {"imap": ("imapd.port", False), "imaps": ("imapd.tls_port", True)}),
    "smtp": Protocol("smtpd", {
        "mx": ("smtpd.mx_port", False), "submission": ("smtpd.submission_port", False),
        "submissions": ("smtpd.submissions_port", True), "lmtp": ("smtpd.lmtp_port", False)},
        "[smtpd]\nmin_free = 0"),
}


def files(protocol: str) -> list[Path]:
    """The dialogs of a protocol."""
    return sorted((HERE / protocol).glob("*.txt"))


def pattern(text: str) -> re.Pattern[str]:
    """The regular expression for the text of an S step."""
    parts = re.split(r"<<(.*?)>>", text)
    return re.compile("".join(part if number % 2 else re.escape(part) for number, part in enumerate(parts)))


def play(path: Path, site: Site, protocol: Protocol) -> None:
    """Play one file; AssertionError with file and line where the server says something else."""
    lines: dict[str, Line] = {}
    kept: dict[str, str] = {}
    try:
        for number, step in enumerate(path.read_text("utf-8").splitlines(), 1):
            if step.strip() and not step.startswith("#"):
                try:
                    filled = re.sub(r"<<=(\w+)>>", lambda name: kept[name[1]], step)
                    kept.update(_play(filled, lines, site, protocol))
                except (AssertionError, OSError) as error:
                    raise AssertionError(f"{path.name}:{number}: {step}\n  {error}") from None
    finally:
        for line in lines.values():
            line.close()


def _play(step: str, lines: dict[str, Line], site: Site, protocol: Protocol) -> dict[str, str]:
    """Play one step; returns what named groups matched."""
    setup = _SETUP.fullmatch(step)
    if setup:
        _set_up(setup["word"], setup["text"], site)
        return {}
    found = _STEP.fullmatch(step)
    assert found, "not a step"
    kind, text, which = found["kind"], found["text"] or "", found["number"]
    if which not in lines:
        setting, implicit = protocol.ports[found["port"] or next(iter(protocol.ports))]
        lines[which] = Line(site.port(setting), implicit=implicit)
    line = lines[which]
    if kind == "C:":
        line.send(text.encode() + b"\r\n")
    elif kind == "C~":
        line.send(codecs.escape_decode(text.encode())[0])
    elif kind == "TLS:":
        line.start_tls()
    elif kind == "END:":
        said = line.read()
        assert said is None, f"server: {said}"
    elif kind in ("S:", "S*"):
        return _expect(line, pattern(text), many=kind == "S*")
    return {}


def _expect(line: Line, wanted: re.Pattern[str], *, many: bool) -> dict[str, str]:
    while True:
        said = line.read()
        assert said is not None, "the server closed the connection"
        if found := wanted.fullmatch(said):
            return found.groupdict()
        assert many, f"server: {said}"


def _set_up(word: str, text: str, site: Site) -> None:
    name, _, rest = text.partition(" ")
    if word == "account":
        password, *keys = rest.split(" ")
        site.account(name, password, "".join(f"{key}\n" for key in keys))
    elif word == "team":
        members = ", ".join(f'"{one}"' for one in rest.split())
        site.account(name, "", f"shared = true\nmembers = [{members}]\n")
    elif word == "mail":
        site.mail(name, codecs.escape_decode(rest.encode())[0])
    else:
        assert site.left(name) == (int(rest) if word == "left" else 0)
