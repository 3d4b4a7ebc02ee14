"""Whether the archive is what its journal says: every message with which something is wrong, by name.

    verify(where, …) -> Report

Looks at the chain of lines, at where it ended when archived last wrote to it (and where it ended when somebody wrote
that down elsewhere), at each message, and at everything else that lies in the store. Reads only; archived may go on.
"""

import contextlib
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanmail import atomic
from lanmail.archiving import journal, store
from lanmail.paths import Paths

THREADS = 4
AHEAD = 64  # messages that are read at the same time or wait to be
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")
MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")

CHANGED, MISSING, ADDED, CHAIN, CUT, UNPURGED = "changed", "missing", "added", "journal", "cut-off", "not-purged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `line` is that of the message in the journal, if it has one."""

    kind: str
    text: str
    file: str = ""
    line: dict[str, Any] | None = None


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found. `notes` are worth knowing and no harm."""

    lines: int = 0
    messages: int = 0
    octets: int = 0
    purged: int = 0
    end: journal.Place = field(default_factory=journal.Place)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Expected:
    """What the journal says of a file; its line can be read again at `offset`."""

    sha256: str
    size: int
    offset: int


Step = Callable[[int, int, int], None]  # (messages done, octets done, messages in all)


def data(report: Report) -> dict[str, Any]:
    """As JSON."""
    return {
        "sound": not report.findings, "messages": report.messages, "octets": report.octets, "purged": report.purged,
        "lines": report.lines, "head": f"{report.end.seq}:{report.end.hash}" if report.lines else None,
        "findings": [{"kind": one.kind, "text": one.text, "file": one.file or None, "line": one.line}
                     for one in report.findings],
        "notes": report.notes,
    }


def kept(text: str) -> journal.Place:
    """The line that `lanmail archive head` printed. ValueError with a sentence."""
    match = _HEAD.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not what `lanmail archive head` prints: a number, a colon, 64 hex digits")
    return journal.Place(int(match[1]), match[2])


def verify(where: Paths, *, kept: journal.Place | None = None, step: Step = lambda *_: None) -> Report:
    """Look at all of it. `kept`: number and hash of a line that somebody wrote down elsewhere. OSError."""
    return _Verification(where, kept, step).run()


class _Verification:
    def __init__(self, where: Paths, kept: journal.Place | None, step: Step) -> None:
        self.where, self.root, self.step = where, where.archive, step
        self.journal = journal.path(where)
        self.report = Report()
        self.expected: dict[str, Expected] = {}
        self.purged: dict[str, int] = {}  # file → offset of its mail line
        self.by_seq: dict[int, str] = {}
        self.known = {one.seq: (one.hash, who) for one, who in (
            (journal.load_head(where), "archived"), (kept, "whoever wrote the number down")) if one and one.seq}

    def run(self) -> Report:
        """The report."""
        if not os.path.lexists(self.journal):
            if self._anything():
                self._add(CHAIN, f"{self.journal} is not there")
            self._cut()
        else:
            self._read(None)
            self._cut()
        self._messages()
        unknown = [file for file in self._files() if file not in self.expected and file not in self.purged]
        # in this order: an entry leaves the spool when its line is written
        waiting = self._waiting(unknown) if unknown else set()
        if os.path.lexists(self.journal):  # what was done meanwhile
            self._read(self.report.end)
        self.report.findings = [one for one in self.report.findings
                                if one.kind != MISSING or one.file not in self.purged]
        self._unpurged()
        self._unknown(unknown, waiting)
        return self.report

    def _add(self, kind: str, text: str, file: str = "", offset: int | None = None) -> None:
        line = None
        if offset is not None:
            with open(self.journal, "rb") as stream:
                stream.seek(offset)
                line = journal.parse(stream.readline(journal.LONGEST))
        self.report.findings.append(Finding(kind, text, file, line))

    def _anything(self) -> bool:
        return bool(self.known) or any(self._months())

    # the journal

    def _read(self, after: journal.Place | None) -> None:
        for one in journal.scan(self.journal, after):
            if isinstance(one, journal.Damage):
                if one.torn:
                    self.report.notes.append(f"journal: {one.text}")
                else:
                    self._add(CHAIN, f"journal: {one.text}")
                continue
            self.report.lines += 1
            self.report.end = one.place
            self._line(one)

    def _line(self, one: journal.Line) -> None:
        if one.seq in self.known:
            digest, who = self.known.pop(one.seq)
            if digest != one.place.hash:
                self._add(CHAIN, f"journal: line {one.seq} is not the one that {who} knows: it ended differently then")
        data = one.data
        if one.kind == journal.MAIL:
            file = str(data.get("file"))
            self.expected[file] = Expected(str(data.get("sha256")), _number(data.get("size")), one.offset)
            self.by_seq[one.seq] = file
            self.purged.pop(file, None)
        elif one.kind == journal.PURGED:
            of = _number(data.get("of"))
            found = self.by_seq.pop(of, None)
            if found is None or found not in self.expected:
                self._add(CHAIN, f"journal: line {one.seq} says that line {of} was purged, which is no mail")
            else:
                self.purged[found] = self.expected.pop(found).offset
                self.report.purged += 1
        elif one.kind == journal.BROKEN:
            before = data.get("expected")
            seq = before.get("seq") if isinstance(before, dict) else "?"
            self._add(CUT, f"journal: at {data.get('time')} its end was missing: line {seq} had been the last one, and "
                      "was not there any more")

    def _cut(self) -> None:
        for seq, (_, who) in sorted(self.known.items()):
            self._add(CUT, f"journal: it ends with line {self.report.end.seq}, but {who} knows line {seq}: its end was "
                      "cut off")

    # the messages

    def _messages(self) -> None:
        total = len(self.expected)
        for done, (file, known, problem) in enumerate(self._looked_at(), 1):
            self.report.messages += 1
            self.report.octets += known.size
            if problem is not None:
                self._add(*problem, file, known.offset)
            self.step(done, self.report.octets, total)

    def _unpurged(self) -> None:
        for file, offset in self.purged.items():
            if os.path.lexists(self.root / file):
                self._add(UNPURGED, "it was purged and is still there; `lanmail archive purge` takes it away", file,
                          offset)

    def _looked_at(self) -> Iterator[tuple[str, Expected, tuple[str, str] | None]]:
        """Each message, and what is wrong with it; in the order of the journal."""
        waiting: deque[tuple[str, Expected, Future[tuple[str, str] | None]]] = deque()
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            for file, known in self.expected.items():
                waiting.append((file, known, pool.submit(self._look, file, known)))
                if len(waiting) >= AHEAD:
                    first = waiting.popleft()
                    yield first[0], first[1], first[2].result()
            for file, known, future in waiting:
                yield file, known, future.result()

    def _look(self, file: str, known: Expected) -> tuple[str, str] | None:
        try:
            descriptor = store.open_file(self.root, {"file": file})
        except FileNotFoundError:
            return MISSING, "it is missing"
        except atomic.NotRegular:
            return CHANGED, "something else lies in its place: a link, a directory, no file"
        except OSError as error:
            return CHANGED, f"it cannot be read: {error.strerror}"
        try:
            size, digest = store.digest_of(descriptor)
        except OSError as error:
            return CHANGED, f"it cannot be read: {error.strerror}"
        finally:
            os.close(descriptor)
        if digest == known.sha256:
            return None
        more = f", {known.size} octets then, {size} now" if size != known.size else ""
        return CHANGED, f"it was changed{more}"

    # what else is there

    def _unknown(self, files: list[str], waiting: set[str]) -> None:
        """Files that the journal does not know, also after a second look at it."""
        for file in files:
            if file in self.expected or not os.path.lexists(self.root / file):
                continue
            if file in waiting:
                self.report.notes.append(f"{file} is just being archived; lanmail-archived writes its line")
            else:
                self._add(ADDED, "nobody archived it: it is not in the journal", file)

    def _waiting(self, files: list[str]) -> set[str]:
        """Those of the files that archived is at: their entry is in the spool still."""
        entries: dict[int, set[str]] = {}  # octets → hashes
        new = self.where.spool / "archive/new"
        for name in os.listdir(new) if new.is_dir() else []:
            with contextlib.suppress(OSError):
                size, digest = _digest(new / name)
                entries.setdefault(size, set()).add(digest)
        found = set()
        for file in files:
            with contextlib.suppress(OSError):
                if entries and file.split("/")[1:2] == ["tmp"]:
                    found.add(file)  # a copy that is being made
                elif os.lstat(self.root / file).st_size in entries:
                    size, digest = _digest(self.root / file)
                    found |= {file} if digest in entries.get(size, ()) else set()
        return found

    def _files(self) -> Iterator[str]:
        """Everything below archive/ that is not the journal or a directory of a month."""
        months = set(self._months())
        for name in sorted(os.listdir(self.root)) if self.root.is_dir() else []:
            if name not in months and name != journal.NAME:
                yield name
        for month in sorted(months):
            for place in sorted(os.listdir(self.root / month)):
                if place in ("tmp", "new", "cur") and _is_directory(self.root / month / place):
                    yield from (f"{month}/{place}/{name}" for name in sorted(os.listdir(self.root / month / place)))
                else:
                    yield f"{month}/{place}"

    def _months(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.root) if MONTH.fullmatch(name) and _is_directory(self.root / name)]
        except FileNotFoundError:
            return []


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _digest(path: Path) -> tuple[int, str]:
    descriptor = atomic.open_regular(path)
    try:
        return store.digest_of(descriptor)
    finally:
        os.close(descriptor)
