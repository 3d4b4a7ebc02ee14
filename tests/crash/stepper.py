"""Runs our programs so that the n-th call to the operating system is their last, or fails.

A process that has imported the program forks once for each run; the child puts a counter in front of the functions
of `os` that change files, as far as our own modules call them, and then is the program. Commands come as JSON lines
on stdin, {"n": 7, "mode": "before", "argv": [...]}, and the answers on stdout: {"pid": …} when the child starts,
{"code": …, "calls": …, "last": …} when it has ended.

Modes: "before" and "after" kill it (SIGKILL) before or after the call; "torn" kills it when half of a write is done
and is the same as "before" for other calls; a name of errno makes the call fail, "" only counts.
"""

import errno
import importlib
import json
import mmap
import os
import signal
import struct
import sys
import threading
from typing import NoReturn

CHANGES = ("open", "write", "pwrite", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "remove", "close",
           "mkdir", "rmdir", "fchmod", "chmod", "utime", "ftruncate", "sendfile", "copy_file_range")
# What they do is not part of any promise: the log, and setting up sockets and processes.
NOT_COUNTED = ("lanmail.log", "lanmail.monitoring.logfile", "lanmail.daemon", "lanmail.sockets", "lanmail.watch")
_HEAD = struct.Struct("Q120s")


class Counter:
    """Counts the calls of one child, over all its threads, in memory that the parent sees."""

    def __init__(self, memory: mmap.mmap, n: int, mode: str):
        self.memory, self.n, self.mode = memory, n, mode
        self.calls = 0
        self.lock = threading.Lock()
        self.written: set[int] = set()

    def install(self) -> None:
        for name in CHANGES:
            setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, real):
        def call(*args, **kwargs):
            if not _ours() or not self._changes(name, args, kwargs):
                return real(*args, **kwargs)
            with self.lock:
                self.calls += 1
                mine = self.calls == self.n
                if self.calls <= self.n or not self.n:
                    self.memory[: _HEAD.size] = _HEAD.pack(self.calls, f"{name}{args!r}".encode()[:120])
                if mine:
                    self._strike(name, real, args, kwargs)
            result = real(*args, **kwargs)
            if name == "open":
                self.written.add(result)
            return result

        return call

    def _changes(self, name, args, kwargs) -> bool:
        """Whether the call can change anything on the disk; for errors, any opening counts."""
        if name == "open":
            flags = kwargs.get("flags", args[1] if len(args) > 1 else 0)
            return bool(flags & os.O_CREAT) or self.mode in errno.errorcode.values()
        if name == "mkdir":
            return not os.path.isdir(args[0])
        if name == "close":
            known = args[0] in self.written
            self.written.discard(args[0])
            return known
        return True

    def _strike(self, name, real, args, kwargs) -> None:
        if self.mode in errno.errorcode.values():
            if name == "close":
                return
            number = getattr(errno, self.mode)
            raise OSError(number, os.strerror(number), name)
        try:
            if self.mode == "torn" and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            elif self.mode == "after":
                real(*args, **kwargs)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


def _ours() -> bool:
    """Whether one of our modules made the call, perhaps through pathlib."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in ("pathlib", "shutil", "contextlib"):
        frame = frame.f_back
    name = frame.f_globals.get("__name__", "") if frame is not None else ""
    return name.startswith("lanmail.") and name not in NOT_COUNTED


def main(program: str) -> None:
    module = importlib.import_module(f"lanmail.{program}")
    for name in ("lanmail.accounts", "lanmail.maildir", "lanmail.dsn"):  # so that no child has to
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    for line in sys.stdin:
        order = json.loads(line)
        memory[: _HEAD.size] = bytes(_HEAD.size)
        pid = os.fork()
        if not pid:
            _child(module, program, order, memory)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        calls, last = _HEAD.unpack(memory[: _HEAD.size])
        answer = {"code": os.waitstatus_to_exitcode(status), "calls": calls, "last": last.rstrip(b"\0").decode()}
        print(json.dumps(answer), flush=True)


def _child(module, program: str, order: dict, memory: mmap.mmap) -> NoReturn:
    """Be the program; stdout belongs to the parent's answers."""
    code = os.EX_SOFTWARE
    try:
        os.environ.update(order.get("env", {}))
        sys.argv = [f"lanmail-{program}", *order["argv"]]
        os.dup2(2, 1)
        Counter(memory, order["n"], order["mode"]).install()
        module.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else bool(end.code)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
