"""A mail server under a temporary root: its programs as processes, started, stopped, killed."""

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from lanmail import passwords, paths, spool
from tests import ports

CHECKOUT = Path(__file__).parents[2]
ACCOUNTS = tuple(f"user{number}" for number in range(5))
DOMAIN = "office.lan"
PASSWORD = "a good password"

_CONFIG = """\
[server]
domain = "{domain}"
listen = ["127.0.0.1"]
[smtpd]
mx_port = {smtp}
submission_port = 0
submissions_port = 0
lmtp_port = 0
max_errors = 1000
error_delay_after = 1000
{smtpd}
[pop3d]
port = {pop3}
tls_port = 0
[imapd]
port = {imap}
tls_port = 0
[deliver]
pickup_wait = "100ms"
{deliver}
"""


class Process:
    """One program of ours as a process; `wrapper` is what runs it, such as strace or faketime."""

    def __init__(self, rig: "Rig", name: str, wrapper=(), arguments=(), env=None, command=None):
        self.name = name
        self._wrapped = bool(wrapper)
        self.stderr = rig.paths.run / f"{name}.stderr"
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind("")  # an abstract address of the kernel's choice
        address = self._ready.getsockname().decode().replace("\0", "@")
        # Unbuffered through the checkout's runner: the real program, by the name that users call.
        program = command or [sys.executable, str(CHECKOUT / "bin" / f"lanmail-{name}")]
        with open(self.stderr, "ab") as stderr:
            self.popen = subprocess.Popen(
                [*wrapper, *program, "--root", str(rig.root), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "NOTIFY_SOCKET": address, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def wait_ready(self, timeout: float = 60.0) -> "Process":
        """Until it said READY=1; the real pid may be that of a child when a wrapper forks."""
        deadline = time.monotonic() + timeout
        self._ready.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in self._ready.recv(4096):
                    return self
            except TimeoutError:
                if self.popen.poll() is not None:
                    break
        raise AssertionError(f"{self.name} did not get ready: {self.stderr.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9 it and all its children."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)
        self._ready.close()

    def stop(self, timeout: float = 35.0) -> int:
        """SIGTERM; the exit code. A wrapper is told as well, for strace does not pass it on."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGTERM) if self._wrapped else self.popen.terminate()
        try:
            return self.popen.wait(timeout)
        finally:
            self.kill()

    def rss(self) -> int:
        """Bytes of resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) * 1024


class Rig:
    """One root with five accounts. Close it, or everything it started lives on."""

    def __init__(self, root: Path, *, smtpd: str = "", deliver: str = ""):
        self.root = root
        self.paths = paths.of_root(root)
        self.port, self.pop3_port, self.imap_port = (ports.free() for _ in range(3))
        self.running: list[Process] = []
        self.injected = False  # errors that no disk makes: the log may be full of them
        for directory in (self.paths.accounts, self.paths.maildirs, self.paths.pickup, self.paths.run):
            directory.mkdir(parents=True, exist_ok=True)
        text = _CONFIG.format(
            domain=DOMAIN, smtp=self.port, pop3=self.pop3_port, imap=self.imap_port, smtpd=smtpd, deliver=deliver
        )
        self.paths.config_file.write_text(text)
        for name in ACCOUNTS:
            file = self.paths.accounts / f"{name}.toml"
            file.write_text(f'password = "{_hash()}"\n' + ("postmaster = true\n" if name == ACCOUNTS[0] else ""))
            file.chmod(0o600)
        self.queue = spool.queue(self.paths)
        self.queue.ensure()
        spool.outbound(self.paths).ensure()

    def start(self, name: str, wrapper=(), arguments=(), env=None, command=None) -> Process:
        """Start a program and wait until it is ready."""
        process = Process(self, name, wrapper, arguments, env, command)
        self.running.append(process)
        return process.wait_ready()

    def once(self, name: str, *arguments: str, timeout: float = 60.0) -> None:
        """Run a program with --once to its end."""
        command = [sys.executable, str(CHECKOUT / "bin" / f"lanmail-{name}"), "--root", str(self.root), "--once"]
        subprocess.run([*command, *arguments], check=True, timeout=timeout, stdin=subprocess.DEVNULL)

    def waiting(self) -> list[str]:
        """Entries in the queue that are not delivered yet."""
        return [name for place in ("new", "cur") for name in os.listdir(self.paths.queue / place) if name[:1] != "."]

    def settle(self, timeout: float = 60.0) -> None:
        """Until the queue is empty."""
        wait_for(lambda: not self.waiting(), timeout, lambda: f"still queued: {self.waiting()[:5]}")

    def errors(self) -> str:
        """What no log may hold: tracebacks and internal errors."""
        found = []
        for path in [*self.paths.run.glob("*.stderr"), *self.paths.log.glob("*.log")]:
            lines = path.read_text(errors="replace").splitlines()
            found += [line for line in lines if "Traceback" in line or " internal-error " in line]
        return "\n".join(found[:10])

    def close(self) -> None:
        for process in self.running:
            process.kill()
        self.queue.close()


@functools.cache
def _hash() -> str:
    return passwords.hash(PASSWORD)


def wait_for(condition, timeout: float, explain=lambda: "") -> None:
    """Until `condition()`; fails with what `explain()` says."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {explain()}")
        time.sleep(0.02)
