"""The tests' end of `stepper`: run a program so that it ends, or fails, at its n-th call."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

from tests.crash.rig import CHECKOUT, Rig


@dataclass
class Ended:
    """How a run ended: exit code (-9 when killed), calls it made, and the call at which it was stopped."""

    code: int
    calls: int
    last: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Stepper:
    """One program, imported once, run many times."""

    def __init__(self, rig: Rig, program: str):
        self._rig = rig
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind("")
        self._ready.settimeout(0.05)
        address = self._ready.getsockname().decode().replace("\0", "@")
        self._stderr = open(rig.paths.run / f"{program}-stepper.stderr", "ab")  # noqa: SIM115 - closed with us
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.stepper", program],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": address},
            start_new_session=True,
        )
        self.pid = 0

    def start(self, n: int, mode: str, *arguments: str) -> int:
        """Begin a run; its pid."""
        self._drain()
        order = {"n": n, "mode": mode, "argv": ["--root", str(self._rig.root), *arguments]}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._answer()["pid"])
        return self.pid

    def wait(self) -> Ended:
        """Its end."""
        self.pid = 0
        return Ended(**self._answer())

    def run(self, n: int, mode: str, *arguments: str) -> Ended:
        self.start(n, mode, *arguments)
        return self.wait()

    def ready(self) -> bool:
        """Until the run is ready, or dead: False."""
        while True:
            try:
                if b"READY=1" in self._ready.recv(4096):
                    return True
            except TimeoutError:
                if not alive(self.pid):
                    return False

    def stop(self) -> Ended:
        """SIGTERM, if it still lives, and its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()
        self._ready.close()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        assert line, "the stepper itself died"
        return json.loads(line)

    def _drain(self) -> None:
        """What the run before said last."""
        self._ready.setblocking(False)
        try:
            while True:
                self._ready.recv(4096)
        except BlockingIOError:
            self._ready.settimeout(0.05)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
