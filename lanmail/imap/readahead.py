"""Has many messages read by other processes before a command comes to them, so that a first listing uses all cores.

    Readers(limits)                                     of one program; starts nothing before there is much to do
    Ahead(readers, box, pieces, structures)             of one command: its UIDs, in the pieces in which it takes them
    await Ahead.step()                                  the next piece is in the cache, as far as it ever will be

The readers write into the folder's cache, from which the command answers as if it had always been there. What is not
there afterwards (a file that still grows, a disk that is full, a reader that died) the command reads by itself, as it
does while the readers start.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lanmail
from lanmail import log
from lanmail.imap import box

PROGRAM = "lanmail.imap.reading"
MANY = 1000  # messages that nothing is kept of, from which on readers are worth while
MOST = 4  # processes
AHEAD = 16  # pieces that are read before the command comes to them
QUEUED = 2  # pieces that a reader has, so that it need not wait for the next
PATIENCE = 30.0  # seconds for a piece
REST = 30.0  # seconds without work after which a reader ends
_CODE = Path(lanmail.__file__).parent.parent


class Reader:
    """One process."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._waiting: list[asyncio.Future[int]] = []
        self.idle_since = time.monotonic()
        self._task = asyncio.create_task(self._listen())

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        return self._task.done()

    def ask(self, work: bytes) -> "asyncio.Future[int]":
        """Have a piece read; the result is how many records that made, 0 also when the reader fails."""
        assert self._child.stdin is not None
        self._child.stdin.write(work + b"\n")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        return answer

    async def _listen(self) -> None:
        assert self._child.stdout is not None
        try:
            while line := await self._child.stdout.readline():
                self.idle_since = time.monotonic()
                answer = self._waiting.pop(0)
                if not answer.done():
                    answer.set_result(int(line))
        except (OSError, ValueError, IndexError) as error:
            log.event("reader-failed", error=str(error))
        finally:
            self.stop()
            for answer in self._waiting:
                if not answer.done():
                    answer.set_result(0)
            self._waiting.clear()
            assert self._child.stdin is not None
            self._child.stdin.close()
            await self._child.wait()

    async def gone(self) -> None:
        """Wait until it has ended."""
        await asyncio.wait([self._task])

    def stop(self) -> None:
        """End it; what it has not written is lost, and nothing else."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()


class Readers:
    """The processes of one program. `limits` tells how deep a structure may be, and how many parts it may have."""

    def __init__(self, limits: Callable[[], tuple[int, int]]) -> None:
        self._limits = limits
        self._most = min(MOST, len(os.sched_getaffinity(0)))
        self._all: list[Reader] = []
        self._starting = set[asyncio.Task[None]]()
        self._stopped = False

    def wish(self) -> None:
        """There will be work: start as many as there may be."""
        self.tend()
        while not self._stopped and len(self._all) + len(self._starting) < self._most:
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", PROGRAM, *map(str, self._limits()), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(_CODE)})
            self._all.append(Reader(child))
        except OSError as error:
            log.event("reader-failed", error=str(error))

    def free(self) -> Reader | None:
        """The one with the least to do, if that is little."""
        alive = [one for one in self._all if not one.ended and one.queued < QUEUED]
        return min(alive, key=lambda one: one.queued, default=None)

    def tend(self) -> None:
        """End those that had nothing to do for a while; to be called now and then."""
        rested = time.monotonic() - REST
        for one in self._all:
            if not one.queued and one.idle_since < rested:
                one.stop()
        self._all = [one for one in self._all if not one.ended]

    async def stop(self) -> None:
        """The server stops."""
        self._stopped = True
        if self._starting:
            await asyncio.wait(self._starting)
        for one in self._all:
            one.stop()
            await one.gone()


class Ahead:
    """What one command has read ahead. With few messages that are not kept, nothing is."""

    def __init__(self, readers: Readers, of: box.Box, pieces: Sequence[Sequence[int]], *, structures: bool) -> None:
        self._readers, self._box, self._structures = readers, of, structures
        self._lacking = _lacking(of, pieces)
        self._jobs: dict[int, tuple[Reader, asyncio.Future[int]]] = {}
        self._at = -1  # the piece that the command is at
        self._next = 0  # the one to be read next
        if self._lacking:
            readers.wish()

    async def step(self) -> None:
        """The command comes to the next piece; what was to be read of it is there then, or never will be."""
        if not self._lacking:
            return
        self._at += 1
        self._next = max(self._next, self._at + 1)
        self._ask()
        if self._at in self._jobs:
            reader, job = self._jobs.pop(self._at)
            await asyncio.wait([job], timeout=PATIENCE)
            if not job.done():
                log.event("reader-failed", error=f"no answer within {PATIENCE:.0f} s")
                reader.stop()
            elif not job.result():  # nothing can be kept: why read it all twice
                self._lacking = []

    def _ask(self, _job: "asyncio.Future[int] | None" = None) -> None:
        """Give the readers what they have room for."""
        while self._next < min(self._at + AHEAD, len(self._lacking)):
            wanted = self._lacking[self._next]
            if wanted:
                reader = self._readers.free()
                if reader is None:
                    return
                job = reader.ask(self._work(wanted))
                self._jobs[self._next] = reader, job
                job.add_done_callback(self._ask)
            self._next += 1

    def _work(self, uids: list[int]) -> bytes:
        entries = [entry for uid in uids if (entry := self._box.messages.get(uid))]
        messages = [(entry.base, entry.path, entry.size) for entry in entries]
        return json.dumps([self._box.path, self._structures, messages]).encode()


def _lacking(of: box.Box, pieces: Sequence[Sequence[int]]) -> list[list[int]]:
    """The UIDs of each piece of which nothing is kept; none at all if they are few."""
    total = sum(map(len, pieces))
    if total < MANY:
        return []
    with of.cache.reading() as kept:
        if total - len(kept) < MANY:
            return []
        found = [[uid for uid in piece if (entry := of.messages.get(uid)) and entry.base not in kept]
                 for piece in pieces]
    return found if sum(map(len, found)) >= MANY else []
