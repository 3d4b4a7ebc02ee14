"""The log as a file: one line an event, appended to state/log/YYYY-MM-DD.log by all programs. The events are in log.py.

    setup("smtpd", paths.log)                 before the first line
    event("accepted", id=…, size=5120)        a line; what the keys hold is quoted where it must be
    with batch(): …                           lines of a burst, written together

A log that cannot be written never stops a mail.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lanmail import atomic
from lanmail.monitoring import metrics

_PLAIN = re.compile(r"[!#-<>-~\u00a1-\u2027\u202a-\ud7ff\ue000-\U0010fffd]+")  # no blank, quote, "=" or control


_MARKS = {number: f" level={logging.getLevelName(number).lower()}"  # at the end of lines that are not as usual
          for number in (logging.DEBUG, logging.WARNING, logging.ERROR, logging.CRITICAL)}


class _Burst(threading.local):
    """Lines of a batch that are not yet written; each thread has its own, and others write theirs at once."""

    lines: list[str] | None = None


class _Sink:
    """Where lines go: the day's file, and stderr for what people should see at once."""

    def __init__(self) -> None:
        self.program = "lanmail"
        self.directory: Path | None = None
        self.level = logging.INFO
        self.stderr_level = logging.WARNING
        self.keep_days = 30
        self._fd = -1
        self._day = ""
        self._second = -1
        self._prefix = ""
        self._zone = ""
        self.burst = _Burst()

    def stamp(self) -> tuple[str, str]:
        """(day, time stamp), ISO 8601 with milliseconds and zone; the slow part once a second."""
        nanos = time.time_ns()
        second = nanos // 1_000_000_000
        if second != self._second:
            local = time.localtime(second)
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            zone = time.strftime("%z", local)
            self._zone = f"{zone[:3]}:{zone[3:]}"
            self._second = second
        return self._prefix[:10], f"{self._prefix}.{nanos // 1_000_000 % 1000:03d}{self._zone}"

    def line(self, level: int, text: str) -> None:
        """Write one line; never raises."""
        if level >= logging.WARNING:
            metrics.count("log_errors" if level >= logging.ERROR else "log_warnings")
        if level < self.level:
            return
        day, stamp = self.stamp()
        full = f"{stamp} {self.program} {text}{_MARKS.get(level, '')}\n"
        if self.burst.lines is not None:
            self.burst.lines.append(full)
        else:
            self.write(day, full)
        if level >= self.stderr_level:
            try:
                sys.stderr.write(full)
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # nobody reads it any more; the file has it

    def forget(self) -> None:
        """Close the file of the day; the next line opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._day = -1, ""

    def write(self, day: str, text: str) -> None:
        """Append whole lines to the file of the day; never raises."""
        if self.directory is None:
            return
        try:
            if day != self._day:
                self._open(day)
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
        except OSError:
            self._day = ""

    def _open(self, day: str) -> None:
        assert self.directory is not None
        self.forget()
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | atomic.SAFE
        self._fd = os.open(self.directory / f"{day}.log", flags, 0o640)
        self._day = day
        self._purge(day)

    def _purge(self, today: str) -> None:
        assert self.directory is not None
        days = sorted(path for path in self.directory.glob("????-??-??.log") if path.stem <= today)
        for path in days[: -self.keep_days]:
            path.unlink(missing_ok=True)


_sink = _Sink()


@contextlib.contextmanager
def batch() -> Iterator[None]:
    """Write the lines of this block in one go at its end; for a loop of thousands that lasts some milliseconds."""
    burst = _sink.burst
    burst.lines = []
    try:
        yield
    finally:
        lines, burst.lines = burst.lines, None
        if lines:
            _sink.write(_sink.stamp()[0], "".join(lines))


class _Bridge(logging.Handler):
    """What libraries log through the standard module, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += " | " + (logging.Formatter().formatException(record.exc_info)).replace("\n", " | ")
        event("message", level=record.levelno, logger=record.name, text=text)


def setup(
    program: str,
    directory: Path | None,
    *,
    level: int = logging.INFO,
    keep_days: int = 30,
    stderr_level: int = logging.WARNING,
) -> None:
    """Begin to log as `program` into `directory` (None: stderr only)."""
    _sink.program = program
    _sink.directory = directory
    _sink.forget()
    _sink.level = level
    _sink.keep_days = max(1, keep_days)
    _sink.stderr_level = stderr_level
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(logging.WARNING))


def value(item: object) -> str:
    """One logfmt value: bare when it is plain, else quoted with JSON's escapes; a control never reaches a terminal."""
    text = item if isinstance(item, str) else f"{item:.3f}" if isinstance(item, float) else str(item)
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def event(name: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log one event; fields that are None are left out, and `from_` is written `from`."""
    words = [f"{key.rstrip('_')}={value(item)}" for key, item in fields.items() if item is not None]
    _sink.line(level, " ".join([name, *words]))


def line(text: str, level: int = logging.INFO) -> None:
    """The same for an event that puts its words together itself, because there are so many of it."""
    _sink.line(level, text)


def some(many: Sequence[object], most: int = 50) -> str:
    """A list in one value, cut where it would only make the line unreadable."""
    return ",".join(map(str, many[:most])) + (f",+{len(many) - most}" if len(many) > most else "")
