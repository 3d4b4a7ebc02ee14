"""Whom an autoresponder answered: a file that grows by a line for each answer, state/autoresponder/NAME.

    1763794800 5f0c21aa eva@example.org 1763794800.M123P4Q5R6.host     when, which answer, to whom, for which mail

`note` decides and writes in one step under a lock, so that eight threads that ask at once do not answer more than is
allowed. A mail that was answered is known by its id: asked again, it is answered again, for the mail may have been
taken up anew and the answer is put into the queue once. "Which answer" is a digest of its text and period: who got
another one before gets this one, too (RFC 5230 §4.7). An address counts without its sub-address (eva+x is eva).

Lines are not synced: what a power cut takes costs an answer too many. A line that cannot be read does not count. Old
ones go when they are most of the file. All of it blocks.
"""

import contextlib
import fcntl
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from lanmail import atomic, names
from lanmail.address import Address
from lanmail.paths import Paths

HOUR = 3600.0
KEPT = 7 * 86_400.0  # seconds for which an answer is remembered at least; no mail waits longer in the queue
MOST = 20_000  # answers that are remembered; the oldest go
_LIMIT = 16 << 20  # octets
_OPEN = 256  # memories that are kept in memory
_SMALL = 64 << 10  # octets; a smaller file is left as it is
_PLAIN = "@+=!#$&'*/?^_`{|}~-."


@dataclass(frozen=True, slots=True)
class Answer:
    """One that was given: when (seconds since 1970), which, to whom, for which mail."""

    at: int
    mark: str
    to: str
    id: str

    def line(self) -> bytes:
        return f"{self.at} {self.mark} {quote(self.to, _PLAIN)} {quote(self.id, _PLAIN)}\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Limits:
    """How often one sender is answered: `per_hour` answers, and once in `once_per` seconds (0: each time)."""

    per_hour: int
    once_per: float = 0.0


class Memory:
    """The memory of one account; several threads and processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read = (0, 0)  # inode and octets of what is in memory
        self._enough = _SMALL  # octets from which on it is written anew
        self._torn = False  # the last line has no end
        self._answers: dict[str, list[Answer]] = {}

    def note(self, to: Address, entry_id: str, mark: str, now: float, limits: Limits) -> str:
        """Remember that this mail is answered now, or say why it must not be. OSError."""
        with self._opened() as fd:
            known = self._answers.get(key(to), [])
            if any(one.id == entry_id for one in known):
                return ""
            why = _refusal(known, mark, now, limits)
            if not why:
                self._append(fd, Answer(int(now), mark, key(to), entry_id))
                self._prune(now, limits)
        return why

    def refusal(self, to: Address, mark: str, now: float, limits: Limits) -> str:
        """What `note` would say of another mail; remembers nothing. OSError."""
        return _refusal([one for one in self.answers() if one.to == key(to)], mark, now, limits)

    def answers(self) -> list[Answer]:
        """All that is remembered, the oldest first. OSError."""
        if not self.path.exists():
            return []
        with self._opened():
            return sorted((one for many in self._answers.values() for one in many), key=lambda one: one.at)

    def forget(self, to: Address | None = None) -> int:
        """Forget one sender, or all; how many answers that were. OSError."""
        if not self.path.exists():
            return 0
        with self._opened():
            gone = [one for many in self._answers.values() for one in many if to is None or one.to == key(to)]
            if gone:
                self._rewrite([one for many in self._answers.values() for one in many if one not in gone])
        return len(gone)

    # the file

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The file, open to append and locked, with all of it in memory."""
        with self._lock:
            fd = self._open()
            try:
                status = os.fstat(fd)
                if self._read != (status.st_ino, status.st_size):
                    self._load(fd, status)
                yield fd
            finally:
                os.close(fd)

    def _open(self) -> int:
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | atomic.SAFE, 0o640)
            except FileNotFoundError:
                self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                continue
            except OSError:
                if not atomic.set_aside(self.path):  # a link, a directory: not ours
                    raise
                continue
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    atomic.set_aside(self.path)
                else:
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    with contextlib.suppress(FileNotFoundError):
                        if os.path.samestat(os.fstat(fd), os.lstat(self.path)):
                            return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # somebody has written it anew meanwhile

    def _load(self, fd: int, status: os.stat_result) -> None:
        """What came since the last look, or all of it."""
        inode, octets = self._read
        if inode != status.st_ino or octets > status.st_size or self._torn:
            octets = max(0, status.st_size - _LIMIT)
            self._answers = {}
        data = b""
        while len(data) < status.st_size - octets and (
                block := os.pread(fd, status.st_size - octets - len(data), octets + len(data))):
            data += block
        for line in data.split(b"\n"):
            if (one := _parsed(line)) is not None:
                self._answers.setdefault(one.to, []).append(one)
        self._read = status.st_ino, status.st_size
        self._torn = bool(data) and not data.endswith(b"\n")

    def _append(self, fd: int, one: Answer) -> None:
        line = (b"\n" if self._torn else b"") + one.line()
        self._torn = True  # until it is whole
        atomic.write_all(fd, line)
        self._torn = False
        self._read = self._read[0], self._read[1] + len(line)
        self._answers.setdefault(one.to, []).append(one)

    def _prune(self, now: float, limits: Limits) -> None:
        """Write the file anew when it has twice the size of what was of use last time."""
        if self._read[1] < self._enough:
            return
        every = sorted((one for many in self._answers.values() for one in many), key=lambda one: one.at)
        self._rewrite([one for one in every if abs(now - one.at) < max(KEPT, limits.once_per)][-MOST:])

    def _rewrite(self, kept: list[Answer]) -> None:
        text = b"".join([one.line() for one in kept])
        atomic.write(self.path, text, durable=False)
        self._enough = max(_SMALL, 2 * len(text))
        self._read = (0, 0)  # the next look reads it


def _refusal(known: list[Answer], mark: str, now: float, limits: Limits) -> str:
    """Why a sender with these answers gets no other one now. Answers that lie far ahead were given by a wrong clock."""
    if limits.once_per and any(one.mark == mark and abs(now - one.at) < limits.once_per for one in known):
        return "answered already (once_per)"
    if sum(abs(now - one.at) < HOUR for one in known) >= limits.per_hour:
        return f"answered {limits.per_hour} times within an hour (max_per_hour)"
    return ""


def _parsed(line: bytes) -> Answer | None:
    words = line.decode("ascii", "replace").split(" ")
    if len(words) != 4 or not words[0].isdigit() or len(words[0]) > 12:
        return None
    return Answer(int(words[0]), words[1], unquote(words[2]), unquote(words[3]))


def key(to: Address) -> str:
    """The form in which senders are compared: lower case, without a sub-address."""
    local = to.local.lower()
    return str(Address(local.partition("+")[0] or local, to.domain))


def path_of(paths: Paths, name: str) -> Path:
    """Where the memory of an account lies; only for the name of an account."""
    problem = names.account_problem(name)
    if problem:
        raise ValueError(problem)
    return paths.state / "autoresponder" / name


_memories: "OrderedDict[Path, Memory]" = OrderedDict()
_guard = threading.Lock()


def of(paths: Paths, name: str) -> Memory:
    """The memory of an account, the same for all threads."""
    path = path_of(paths, name)
    with _guard:
        found = _memories.pop(path, None) or Memory(path)
        _memories[path] = found
        while len(_memories) > _OPEN:
            _memories.popitem(last=False)
    return found
