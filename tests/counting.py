"""Counter files of programs that run, or did, for tests of those who read them."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from lanmail.monitoring import counterfile
from lanmail.monitoring.counterfile import Slot


def ended(state: Path, program: str, *, ago: float = 3600.0, killed: bool = False, number: int = 0,
          counts: dict[str, float] | None = None, version: str = "1") -> None:
    """A program that ran until then. Keys of `counts` are names and labels with blanks between."""
    now = time.time()
    _write(state, program, number, counts or {}, version, now - ago - 60, now - ago, 0.0 if killed else now - ago)


@contextlib.contextmanager
def living(state: Path, program: str, *, beat: float = 1.0, number: int = 0, counts: dict[str, float] | None = None,
           version: str = "1") -> Iterator[None]:
    """A program that runs, and gave its last sign so many seconds ago."""
    now = time.time()
    _write(state, program, number, counts or {}, version, now - 1000, now - beat, 0.0)
    lock = counterfile._file(state / "metrics", Slot(program, number), "lock")
    with lock.open("w") as file:
        assert counterfile._locked(file.fileno())
        yield


def _write(state: Path, program: str, number: int, counts: dict[str, float], version: str, started: float,
           beat: float, end: float) -> None:
    (state / "metrics").mkdir(parents=True, exist_ok=True)
    text = json.dumps({"pid": 1, "version": version, "started": started, "beat": beat, "ended": end, "counts": counts,
                       "gauges": {"connections": 2, "resident_bytes": 1e6, "cpu_seconds": 1.5}})
    (state / "metrics" / f"{program}.{number}.json").write_text(text)
