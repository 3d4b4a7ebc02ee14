"""Examines documents in a child process, which stays for the next one.

    with Examiner() as examiner:
        examiner.examine(data: bytes | Stretch, wish: Wish) -> Result

Whatever a document does to the child (it crashes, needs more memory or time than there is), the answer is `undecided`,
and the next document has another child. A child that had answered before gets no blame for its death: the document is
examined once more by a new one. Blocks; one document at a time. `pool` shares examiners between threads.
"""

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Self

from lanmail.invoices.verdict import USUAL, Result, Verdict, Wish, undecided

MAX_INPUT = 200 << 20
GRACE = 10.0  # seconds of wall time beyond those of CPU time, for a machine that is busy
_BLOCK = _PIPE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """For one examination: octets of memory, seconds of CPU time."""

    memory: int = 1 << 30
    seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """The octets of an open file from `offset` on."""

    fd: int
    offset: int
    size: int


class Examiner:
    """A child, started when first needed."""

    def __init__(self, limits: Limits = Limits(), grace: float = GRACE) -> None:
        self.limits = limits
        self._wall = limits.seconds + grace
        self._child: subprocess.Popen[bytes] | None = None
        self._proven = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        child, self._child, self._proven = self._child, None, False
        if child is not None:
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except OSError:
                    pass
            child.kill()
            child.wait()

    def examine(self, data: bytes | Stretch, wish: Wish = USUAL, *, xml: bool = False) -> Result:
        """What it is; with `xml`, the documents of its e-invoices, too. OSError when a stretch cannot be read."""
        if (data.size if isinstance(data, Stretch) else len(data)) > MAX_INPUT:
            return Result(undecided("too-large"))
        while True:
            proven = self._proven
            found, late = self._ask(data, wish, xml)
            if found is not None:
                self._proven = True
                return found
            self.close()
            if late or not proven:
                return Result(undecided("it takes too much time or memory, or crashes what reads it"))

    def _ask(self, data: bytes | Stretch, wish: Wish, xml: bool) -> tuple[Result | None, bool]:
        """The answer, None when the child died; and whether it was because time was over."""
        child, late = self._running(), threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self._wall, end)
        timer.daemon = True
        timer.start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            if not _send(child.stdin, data, {"wish": asdict(wish), "xml": xml}):
                return None, late.is_set()
            return _receive(child.stdout), late.is_set()
        finally:
            timer.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8",
                   "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
            limits = [str(self.limits.memory), str(max(1, round(self.limits.seconds)))]
            self._child = subprocess.Popen(  # noqa: S603 — Python, numbers for arguments
                [sys.executable, "-P", "-m", "lanmail.invoices.worker", *limits], env=env, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE)
            assert self._child.stdin is not None
            with contextlib.suppress(OSError):  # a mail in one go: less to and fro between two processes
                fcntl.fcntl(self._child.stdin, fcntl.F_SETPIPE_SZ, _PIPE)
        return self._child


def _send(pipe: IO[bytes], data: bytes | Stretch, asked: dict[str, object]) -> bool:
    """False when nobody reads any more."""
    size = data.size if isinstance(data, Stretch) else len(data)
    pieces = _pieces(data) if isinstance(data, Stretch) else iter((data,))
    head = json.dumps({"size": size, **asked}).encode() + b"\n"
    try:
        pipe.write(head)
    except OSError:
        return False
    for piece in pieces:
        try:
            pipe.write(piece)
        except OSError:
            return False
    try:
        pipe.flush()
    except OSError:
        return False
    return True


def _pieces(data: Stretch) -> Iterator[bytes]:
    offset, end = data.offset, data.offset + data.size
    while offset < end:
        block = os.pread(data.fd, min(_BLOCK, end - offset), offset)
        if not block:
            raise OSError(errno.EIO, "the file is shorter than it was")
        yield block
        offset += len(block)


def _receive(pipe: IO[bytes]) -> Result | None:
    """None when it ends too soon."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)
    invoices = [(Verdict(**one), pipe.read(size)) for one, size in said["invoices"]]
    if any(len(content) != size for (_, content), (_, size) in zip(invoices, said["invoices"], strict=True)):
        return None
    return Result(Verdict(**said["verdict"]), invoices)
