"""A whole lanmail in a temporary root, used the way a person would: through bin/ and the network.

Clients are not ours, so they run with a time limit, an empty environment and a home of their own.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from lanmail import config, envelope, paths, programs, settings
from lanmail.administration import enrolment
from tests import ports

HERE = Path(__file__).resolve().parent.parent.parent
BIN = HERE / "bin"
DOMAIN = "office.lan"
HOST = "127.0.0.1"
T = TypeVar("T")


def need(*programs: str) -> None:
    """Skip, with the reason, when a client is not installed."""
    missing = [program for program in programs if shutil.which(program, path=_path()) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def until(condition: Callable[[], T], seconds: float = 90, what: str = "it") -> T:
    """What `condition` returns once it is true; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return value


class Office:
    """One installation: its root, its accounts with their passwords, and `lanmail up` on it."""

    def __init__(self, root: Path, **keys: object) -> None:
        self.root = root
        self.where = paths.of_root(root)
        self.passwords: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self.offset = ports.offset()
        self.home = root / "home"
        self.lanmail("init", "--domain", DOMAIN, "--port-offset", str(self.offset))
        config.edit(self.where.config_file, keys)
        self.home.mkdir()

    @property
    def settings(self) -> settings.Settings:
        return config.load(self.where)

    @property
    def ca(self) -> Path:
        return self.where.tls / "ca.pem"

    def port(self, standard: int) -> int:
        """Our port for a well-known one."""
        return standard + self.offset

    def lanmail(self, *arguments: str, stdin: str = "") -> str:
        """Run `lanmail …` on this root; what it printed."""
        return self.run(BIN / "lanmail", *arguments, "--root", self.root, stdin=stdin).stdout

    def account(self, name: str) -> str:
        """Make an account; its password. The first by `lanmail account add`, more without a program for each."""
        self.passwords[name] = f"geheim {name} 9"
        if any(config.account_files(self.where)):
            enrolment.create(self.where, self.settings, name, {}, self.passwords[name])
        else:
            self.lanmail("account", "add", name, "--password-stdin", stdin=self.passwords[name] + "\n")
        return self.passwords[name]

    def run(self, *command: str | Path, stdin: str | bytes = "", check: bool = True, timeout: float = 120,
            **env: str) -> subprocess.CompletedProcess[str]:
        """Run a client to its end. With `check`, a failure shows all it said."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        clean = {"PATH": _path(), "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TERM": "xterm", **env}
        try:
            done = subprocess.run([str(part) for part in command], input=data, capture_output=True, timeout=timeout,
                                  cwd=self.root, env=clean, check=False)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{error.stdout!r}\n{error.stderr!r}\n{self.log()[-3000:]}") from None
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        assert not check or done.returncode == 0, f"{command}: exit {done.returncode}\n{out[-3000:]}\n{err[-3000:]}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def start(self, program: Path = BIN / "lanmail") -> None:
        """`lanmail up`, until it says ready."""
        self.errors = open(self.root / "stderr", "a+")    # noqa: SIM115 — lives as long as the process
        self.process = subprocess.Popen([program, "up", "--root", self.root], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", f"{line!r}: {(self.root / 'stderr').read_text()[-3000:]}"

    def reload(self) -> None:
        """SIGHUP, until all programs have said that they read their settings again."""
        assert self.process is not None
        before = self.log().count(" reloaded")
        running = len(programs.DAEMONS) - (not self.settings.httpd.enabled)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count(" reloaded") >= before + running, what="reload")

    def stop(self) -> int:
        """SIGTERM, as systemd would; the exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            self.process.communicate(timeout=60)
        finally:
            self.process.kill()
            self.process.communicate()
            self.errors.close()
        status, self.process = self.process.returncode, None
        return status

    def inbox(self, name: str) -> list[Path]:
        """The mails in an account's INBOX, oldest first."""
        root = self.where.maildirs / name
        return sorted((path for sub in ("new", "cur") for path in (root / sub).glob("*")), key=lambda path: path.name)

    def arrived(self, name: str, count: int = 1, seconds: float = 90) -> list[bytes]:
        """The contents of an INBOX once `count` mails are in it."""
        until(lambda: len(self.inbox(name)) >= count, seconds, f"{count} mails for {name}")
        found = [path.read_bytes() for path in self.inbox(name)]
        assert len(found) == count
        return found

    def put(self, name: str, message: bytes) -> None:
        """Queue a mail as smtpd does, for tests of what comes after."""
        from lanmail import address, spool
        env = envelope.Envelope(sender=None, recipients=[envelope.Recipient(address.parse(f"{name}@{DOMAIN}"))],
                                origin=envelope.Origin("local"))
        spool.Spool(self.where.queue, state=self.where.state / "queue", hold=self.where.hold).put(env, message)

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.where.log.glob("*.log")))


def wait_closed(port: int) -> None:
    """Until nothing listens on a port any more."""
    def closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) != 0
    until(closed, what=f"port {port} closed")


def without_trace(delivered: bytes) -> bytes:
    """A delivered mail without what we put before it: envelope (where it was moved, not copied), one of each header."""
    rest = delivered[envelope.decode(delivered)[1]:]
    for name in (b"delivered-to:", b"return-path:", b"received:"):
        if rest.lower().startswith(name):
            lines = rest.split(b"\n")
            end = next((at for at, line in enumerate(lines) if at and line[:1] not in (b" ", b"\t")), len(lines))
            rest = b"\n".join(lines[end:])
    return rest


def mail(subject: str, body: Sequence[str] = ("hello",), *, to: str = f"demo@{DOMAIN}",
         sender: str = "x@example.org") -> bytes:
    """A small message with LF line ends."""
    head = [f"From: <{sender}>", f"To: <{to}>", f"Subject: {subject}", "Date: Sat, 21 Nov 2026 10:00:00 +0100",
            f"Message-ID: <{subject.replace(' ', '.')}@test>", "", *body, ""]
    return "\n".join(head).encode()
