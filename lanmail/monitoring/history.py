"""The life of one mail, from the logs of all programs and from where its file lies now.

The log says `id=` in every line about a mail, so its history is the lines with its id, those with ids made from it
(`ID-1` for a copy to the outside) and those of its bounces. A Message-ID leads to the ids through the lines that have
`msgid=`, an address through those of mail that came in. Searching is by bytes in mapped files, so that a month of logs
takes a moment.
"""

import contextlib
import json
import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lanmail import spool
from lanmail.paths import SPOOLS, Paths

MAX_LINES = 100_000
COMING = ("accepted", "rejected")  # events of mail that comes in, or does not
_LINE = re.compile(r"(?P<time>\d{4}-\d\d-\d\dT\S+) (?P<program>\S+) (?P<event>\S+)(?: (?P<rest>.*))?")
_COPY = re.compile(r"-(?:\d+|postmaster)$")  # what deliver appends to the id of a mail for a copy of it
_FIELD = re.compile(r'(?P<key>[A-Za-z_][\w-]*)=(?P<value>"(?:[^"\\]|\\.)*"|\S*)')


@dataclass(slots=True)
class Event:
    """One log line."""

    time: str
    program: str
    event: str
    fields: dict[str, str]
    text: str  # the fields as they stand in the log, without the id


@dataclass(slots=True)
class History:
    """What is known: the ids (its own first, then those of its bounces), the events in order, where it lies."""

    ids: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def trace(where: Paths, wanted: str, *, journal: bool = True) -> History:
    """The history of an id or a Message-ID; empty when nothing is known."""
    history = History()
    lines: dict[str, None] = {}
    if not wanted.strip("<>/ ") or not wanted.isprintable():
        return history
    if "@" in wanted or wanted.startswith("<"):
        bare = wanted.strip("<>")
        matching = (parse(line) for line in _search(where, f"<{bare}>".encode(), journal))
        todo = list(dict.fromkeys(one.fields["id"] for one in matching
                                  if one and one.fields.get("msgid", "").strip("<>") == bare and "id" in one.fields))
    else:
        entry_id = spool.parse_name(wanted.rpartition("/")[2]).id
        todo = list(dict.fromkeys((_COPY.sub("", entry_id), entry_id)))
    while todo:
        one = todo.pop(0)
        if one in history.ids:
            continue
        history.ids.append(one)
        for line in _search(where, one.encode(), journal):
            event = parse(line)
            if event and _is_about(event, one):
                lines[line] = None
                if event.fields.get("bounce"):
                    todo.append(event.fields["bounce"])
    history.events = sorted(filter(None, map(parse, lines)), key=lambda event: event.time)
    known = {event.fields["id"] for event in history.events if "id" in event.fields}
    places = dict(_places(where, {*history.ids, *known}))
    history.places = sorted(places)
    history.ids = [one for one in history.ids if one in known or one in places.values()]
    return history


def find(where: Paths, address: str, *, since: str = "", until: str = "", most: int = 100) -> list[Event]:
    """Mails that came in, or were refused, from or to whoever has this in the address: the newest of the log files, the
    newest first. `since` and `until` are the beginnings of times as the log writes them: 2026-11-22, 2026-11-22T12."""
    pattern, folded = re.compile(re.escape(address.encode()), re.IGNORECASE), address.lower()
    found: list[Event] = []
    for path in sorted(where.log.glob("????-??-??.log"), reverse=True):
        if len(found) >= most or (since and path.stem < since[:10]):
            break
        if until and path.stem > until[:10]:
            continue
        events = filter(None, map(parse, _matching(path, pattern)))
        fitting = [one for one in events if one.event in COMING and _names(one, folded)
                   and one.time[: len(since)] >= since and (not until or one.time[: len(until)] <= until)]
        found += reversed(fitting[-(most - len(found)):])
    return found


def _names(event: Event, address: str) -> bool:
    return any(address in event.fields.get(key, "").lower() for key in ("from", "to"))


def _matching(path: Path, pattern: re.Pattern[bytes]) -> Iterator[str]:
    """The lines in which it is."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = 0
            while match := pattern.search(data, at):
                begin = data.rfind(b"\n", 0, match.start()) + 1
                at = data.find(b"\n", match.end())
                at = len(data) if at < 0 else at
                yield data[begin:at].decode("utf-8", "replace")
    except (OSError, ValueError):  # gone meanwhile, or empty
        return


def _is_about(event: Event, entry_id: str) -> bool:
    """The line's id is this one, or made from it."""
    found = event.fields.get("id", "")
    return entry_id in (found, _COPY.sub("", found))


def _search(where: Paths, needle: bytes, journal: bool) -> Iterator[str]:
    """All log lines that hold these bytes, of the files and of the journal, if there is one."""
    for path in sorted(where.log.glob("????-??-??.log")):
        yield from _search_file(path, needle)
    if journal and os.path.isdir("/run/systemd/system") and (program := shutil.which("journalctl")):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(  # noqa: S603 — a fixed program, no shell
                [program, "--no-pager", "-q", "-o", "cat", "-u", "lanmail-*", "-g", re.escape(needle.decode())],
                capture_output=True, timeout=20, check=False)
            yield from done.stdout.decode("utf-8", "replace").splitlines()


def _search_file(path: Path, needle: bytes) -> Iterator[str]:
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(needle)
            for _ in range(MAX_LINES):
                if at < 0:
                    return
                begin = data.rfind(b"\n", 0, at) + 1
                end = data.find(b"\n", at)
                end = len(data) if end < 0 else end
                yield data[begin:end].decode("utf-8", "replace")
                at = data.find(needle, end)
    except (OSError, ValueError):  # gone meanwhile, or empty
        return


def parse(line: str) -> Event | None:
    """One log line; None for what is none."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    rest = match["rest"] or ""
    values = fields(rest)
    text = re.sub(r"(?:^| )id=\S+", "", rest, count=1).strip()
    return Event(match["time"], match["program"], match["event"], values, text)


def fields(text: str) -> dict[str, str]:
    """The keys and values of a logfmt line."""
    values = {}
    for one in _FIELD.finditer(text):
        value = one["value"]
        if value.startswith('"'):
            with contextlib.suppress(ValueError):
                value = str(json.loads(value))
        values[one["key"]] = value
    return values


def _places(where: Paths, ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Where files with these ids lie now, below the root, and the id of each."""
    wanted = set(ids)
    directories = [where.spool / name / place for name in SPOOLS
                   for place in (spool.TMP, spool.NEW, spool.CUR)]
    with contextlib.suppress(OSError):
        for account in sorted(where.maildirs.iterdir()):
            folders = [account, *(one for one in account.iterdir() if one.name.startswith(".") and one.is_dir())]
            directories += [folder / place for folder in folders for place in (spool.NEW, spool.CUR)]
    for directory in directories:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for one in entries:
                bare = spool.parse_name(one.name).id.partition(":")[0].removesuffix(".why")
                if bare in wanted or _COPY.sub("", bare) in wanted:
                    yield os.path.relpath(one.path, where.root), bare
