"""The newest lines of the logs of all programs, the newest first: state/log/YYYY-MM-DD.log.

    for event in logtail.newest(paths, program="relay", level="warning"): …

A level is that and all above it. No more than MOST octets are looked through, so that a search for what is not there
ends.
"""

from collections.abc import Iterator

from lanmail.monitoring import backwards, history
from lanmail.monitoring.history import Event
from lanmail.paths import Paths

LEVELS = ("debug", "info", "warning", "error")
MOST = 16 << 20


def newest(where: Paths, *, program: str = "", level: str = "info", since: str = "",
           search: str = "") -> Iterator[Event]:
    """Lines of a program (or all), from a moment on (ISO 8601, local time as in the log), with a text in them."""
    least, wanted, left = LEVELS.index(level), search.lower(), MOST
    for path in sorted(where.log.glob("????-??-??.log"), reverse=True):
        if path.stem < since[:10]:
            return
        for line in backwards.lines(path):
            left -= len(line)
            if left < 0:
                return
            if (wanted and wanted not in line.lower()) or (least > 1 and " level=" not in line) or (
                    program and f" {program} " not in line):
                continue  # most lines, before they are taken apart
            event = history.parse(line)
            if event is None or (program and event.program != program):
                continue
            if since and event.time[: len(since)] < since:
                return
            if LEVELS.index(level_of(event)) >= least:
                yield event


def level_of(event: Event) -> str:
    """debug, info, warning or error."""
    said = event.fields.get("level", "info")
    return said if said in LEVELS else "error"
