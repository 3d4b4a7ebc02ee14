"""The counters of all programs as files: written by each of them, read by whoever shows how things are.

    state/metrics/smtpd.0.json    a process: pid, version, since when, last sign of life, what was counted
    state/metrics/smtpd.0.lock    locked as long as that process lives
    state/traffic/DAY/deliver.0.json    mails and octets received and sent by each account on that day

A process takes the first slot that is free, starting with the number of its worker, and goes on counting from what the
last owner of the slot left there: so nothing is lost when a process ends, and nothing is counted twice. Files are
replaced by a rename, never synced, by a thread: every few seconds when something changed, else now and then as a sign
of life. A kill -9 loses the seconds since; a disk that is full loses nothing but the files.
"""

import contextlib
import fcntl
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import lanmail
from lanmail import atomic
from lanmail.monitoring import metrics
from lanmail.monitoring.metrics import Key, Traffic

PAUSE = 3.0  # seconds between two writes of a process that counts
SIGN = 15.0  # seconds between two signs of life of one that does not
KEPT_DAYS = 400
SLOTS = 256
_TRIES = 10
_LIMIT = 8 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Slot:
    """A process that counts, or the last one that did so in its place. Times are those of time.time()."""

    program: str
    number: int
    pid: int = 0
    version: str = ""
    started: float = 0.0
    beat: float = 0.0  # when its loop last turned
    ended: float = 0.0  # 0: it runs, or was killed
    alive: bool = False
    counts: dict[Key, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)


class Keeper:
    """Writes down what this process counts, from `with` to its end."""

    def __init__(self, program: str, worker: int, state: Path) -> None:
        self.directory, self.days = state / "metrics", state / "traffic"
        self.slot = Slot(program, worker, os.getpid(), lanmail.__version__, time.time(), time.time())
        self._lock = -1
        self._written = -1  # changes() when it was last written
        self._taken: set[str] = set()  # days whose traffic in memory has that of the file in it
        self._at = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counters", daemon=True)

    def __enter__(self) -> "Keeper":
        with contextlib.suppress(OSError):  # without files it counts all the same, and nobody sees it
            self._take()
            self.write()
            self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _where: TracebackType | None) -> None:
        self._end.set()
        if self._lock < 0:
            return
        if self._thread.ident is not None:
            self._thread.join(5.0)
        self.slot.ended = time.time()
        with contextlib.suppress(OSError):
            self.write()
        os.close(self._lock)

    def beat(self) -> None:
        """The loop of the program turns."""
        self.slot.beat = time.time()

    def write(self) -> None:
        """Write everything down now. OSError."""
        self._written, self._at = metrics.changes(), time.monotonic()
        self.slot.counts, self.slot.gauges = metrics.counted(), metrics.watched() | _own()
        atomic.write(_file(self.directory, self.slot), _encode(self.slot), durable=False)
        for day in metrics.days()[1].keys() - self._taken:  # also one that comes again, for the clock was set back
            metrics.begin({}, day, _read_day(_file(self.days / day, self.slot)))
            self._taken.add(day)
        today, days = metrics.days()
        for day, traffic in days.items():
            self._write_day(day, traffic)
            if day != today:
                metrics.forget(day)
                self._taken.discard(day)

    def _write_day(self, day: str, traffic: Traffic) -> None:
        directory = self.days / day
        if not directory.is_dir():
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            _remove_old(self.days)
        atomic.write(_file(directory, self.slot), json.dumps(traffic, ensure_ascii=False), durable=False)

    def _take(self) -> None:
        """A free slot, and what its last owner counted. OSError."""
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for _ in range(SLOTS):
            self._lock = os.open(_file(self.directory, self.slot, "lock"), os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o640)
            if _locked(self._lock):
                break
            os.close(self._lock)
            self._lock = -1
            self.slot.number += 1
        else:
            raise OSError("no slot is free")
        for torn in self.directory.glob(f".{self.slot.program}.{self.slot.number}.json.*.tmp"):
            torn.unlink(missing_ok=True)
        left = _read(_file(self.directory, self.slot))
        metrics.begin(left.counts if left else {})

    def _run(self) -> None:
        while not self._end.wait(PAUSE):
            if metrics.changes() != self._written or time.monotonic() - self._at >= SIGN:
                with contextlib.suppress(OSError):
                    self.write()


def _locked(descriptor: int) -> bool:
    """Lock it. Whoever looks whether it is locked has it for a moment, so not at the first failure false."""
    for _ in range(_TRIES):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.01)
    return False


def _own() -> dict[str, float]:
    """What the process itself uses."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {"cpu_seconds": round(used.ru_utime + used.ru_stime, 3)}
    with contextlib.suppress(OSError, ValueError, IndexError):
        found["resident_bytes"] = float(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE)
    return found


def _file(directory: Path, slot: Slot, kind: str = "json") -> Path:
    return directory / f"{slot.program}.{slot.number}.{kind}"


def _encode(slot: Slot) -> str:
    plain = {"pid": slot.pid, "version": slot.version, "started": slot.started, "beat": slot.beat,
             "ended": slot.ended, "gauges": slot.gauges,
             "counts": {" ".join(key): much for key, much in slot.counts.items()}}
    return json.dumps(plain, ensure_ascii=False, indent=0)


def _remove_old(days: Path) -> None:
    """Days that nobody asks for any more."""
    for old in sorted(path for path in days.glob("????-??-??") if path.is_dir())[:-KEPT_DAYS]:
        with contextlib.suppress(OSError):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()


# reading

def slots(state: Path) -> list[Slot]:
    """All processes that count or counted. A file that cannot be read counts as none. Blocks shortly."""
    return sorted(_slots(state / "metrics"), key=lambda one: (one.program, one.number))


def _slots(directory: Path) -> Iterator[Slot]:
    for path in directory.glob("*.*.json"):
        found = _read(path)
        if found is not None:
            found.alive = _alive(path.with_suffix(".lock"))
            yield found


def _read(path: Path) -> Slot | None:
    program, _, number = path.name.removesuffix(".json").partition(".")
    try:
        said: dict[str, Any] = json.loads(atomic.read(path, _LIMIT))
        return Slot(program, int(number), int(said["pid"]), str(said["version"]), float(said["started"]),
                    float(said["beat"]), float(said["ended"]),
                    counts={tuple(key.split(" ")): float(much) for key, much in said["counts"].items()},
                    gauges={str(name): float(value) for name, value in said["gauges"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _alive(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | atomic.SAFE)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def totals(found: list[Slot]) -> dict[tuple[str, Key], float]:
    """What each program counted in all, by (program, key)."""
    total: dict[tuple[str, Key], float] = {}
    for slot in found:
        for key, much in slot.counts.items():
            total[slot.program, key] = total.get((slot.program, key), 0) + much
    return total


def traffic(state: Path, day: str) -> Traffic:
    """What each account received and sent on a day."""
    total: Traffic = {}
    for path in (state / "traffic" / day).glob("*.json"):
        for name, row in _read_day(path).items():
            mine = total.setdefault(name, [0, 0, 0, 0])
            mine[:] = [one + other for one, other in zip(mine, row, strict=True)]
    return total


def _read_day(path: Path) -> Traffic:
    try:
        said = json.loads(atomic.read(path, _LIMIT))
        return {str(name): [int(one) for one in row] for name, row in said.items() if len(row) == 4}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
