"""Examines documents in a child process, which stays for the next one.

    with Examiner() as examiner:
        examiner.examine(data: bytes) -> Verdict

Whatever a document does to the child (it crashes, needs more memory or time than there is), the answer is `undecided`,
and the next document has another child. Blocks; one document at a time.
"""

import json
import os
import subprocess
import sys
import threading
from typing import Self

from lanmail.invoices import worker
from lanmail.invoices.verdict import Verdict, undecided

SECONDS = 30.0  # of wall time
MAX_INPUT = 200 << 20


class Examiner:
    """A child, started when first needed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            assert child.stdin is not None
            assert child.stdout is not None
            for pipe in (child.stdin, child.stdout):
                try:
                    pipe.close()
                except OSError:
                    pass
            child.kill()
            child.wait()

    def examine(self, data: bytes) -> Verdict:
        """What it is."""
        if len(data) > MAX_INPUT:
            return undecided("too-large")
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        timer = threading.Timer(self.seconds, child.kill)
        timer.start()
        try:
            child.stdin.write(len(data).to_bytes(worker.LENGTH, "big") + data)
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            self.close()
            return undecided("it takes too much time or memory, or crashes what reads it")
        return Verdict(**json.loads(line))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8",
                   "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "lanmail.invoices.worker"], env=env, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE)
        return self._child
