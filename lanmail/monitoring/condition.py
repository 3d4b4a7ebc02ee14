"""How everything is at this moment: programs, mail that waits, disk, certificate, external mailboxes, tokens, and what
is wrong with them. For `lanmail status`, the API, the status page and /metrics.

    Observer(paths, settings, directory).now()      a `Condition`; not older than a few seconds

Only files are looked at: nothing asks a running program.
"""

import datetime
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lanmail import certificates, incoming, programs, spool
from lanmail.accounts import Directory
from lanmail.errors import Temporary
from lanmail.incoming import Source
from lanmail.monitoring import counterfile
from lanmail.monitoring.counterfile import Slot
from lanmail.monitoring.metrics import Key
from lanmail.oauth import health as oauth
from lanmail.paths import SPOOLS, Paths
from lanmail.settings import Account, Settings
from lanmail.sources import health, status

FRESH = 5.0  # seconds that a look is good for
SILENT = 60.0  # seconds without a sign of life after which a program that is there hangs

State = Literal["running", "silent", "stopped", "killed", "never", "off"]


@dataclass(frozen=True, slots=True)
class Running:
    """A program. `since`: of the state, 0 when nobody knows."""

    name: str
    state: State
    since: float = 0.0
    beat: float = 0.0
    version: str = ""
    slots: tuple[Slot, ...] = ()  # of processes that live

    def gauge(self, name: str) -> float:
        """The sum of a number of the moment over its processes."""
        return sum(slot.gauges.get(name, 0.0) for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies in a spool."""

    entries: int = 0
    octets: int = 0
    oldest: float = 0.0  # seconds that the oldest is there

    def with_one(self, octets: int, age: float) -> "Waiting":
        return Waiting(self.entries + 1, self.octets + octets, max(self.oldest, age))


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An external mailbox."""

    account: str
    name: str
    health: health.Health
    status: status.Status


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything. Times are those of time.time()."""

    at: float
    programs: tuple[Running, ...]
    slots: tuple[Slot, ...]
    spools: dict[str, Waiting]
    accounts: int
    broken: tuple[str, ...]  # accounts whose file cannot be read
    disk_free: int
    disk_total: int
    certificate: float | None  # its end; None when it cannot be read
    mailboxes: tuple[Mailbox, ...] = ()
    grants: tuple[oauth.Row, ...] = ()
    totals: dict[tuple[str, Key], float] = field(default_factory=dict)

    def total(self, name: str, *labels: str) -> float:
        """A counter, over all programs; without labels over all of them."""
        return sum(much for (_, key), much in self.totals.items() if key[0] == name and key[1:][:len(labels)] == labels)


class Observer:
    """Looks, and remembers for a moment what was seen. For several threads."""

    def __init__(self, paths: Paths, settings: Callable[[], Settings], directory: Directory) -> None:
        self.paths, self.settings, self.directory = paths, settings, directory
        self._turn = threading.Lock()
        self._seen: Condition | None = None
        self._sources: dict[str, tuple[Account, Settings, dict[str, Source]]] = {}  # what holds, of whom, said by what

    def now(self, fresh: float = FRESH) -> Condition:
        """How everything is. Blocks for some milliseconds, longer with many waiting mails."""
        with self._turn:
            if self._seen is None or not 0 <= time.time() - self._seen.at < fresh:
                self._seen = self._look()
            return self._seen

    def _look(self) -> Condition:
        loaded, slots = self.settings(), tuple(counterfile.slots(self.paths.state))
        mailboxes, broken = self._mailboxes(loaded)
        try:
            disk = shutil.disk_usage(self.paths.var)
        except OSError:
            disk = shutil.disk_usage("/")
        return Condition(
            time.time(), tuple(_programs(slots, loaded)), slots, {name: waiting(self.paths, name) for name in SPOOLS},
            len(self.directory.names()), tuple(broken), disk.free, disk.total,
            _certificate(self.paths.conf / loaded.tls.cert), tuple(mailboxes),
            tuple(oauth.rows(self.paths)), counterfile.totals(list(slots)))

    def _mailboxes(self, loaded: Settings) -> tuple[list[Mailbox], list[str]]:
        """The external mailboxes of all accounts, and the accounts that cannot be read."""
        found: list[Mailbox] = []
        broken: list[str] = []
        now = time.time()
        for name in self.directory.names():
            try:
                account = self.directory.account(name)
            except Temporary:
                broken.append(name)
                continue
            for source, holds in self._of(account, loaded).items() if account else ():
                known = status.load(self.paths, name, source)
                found.append(Mailbox(name, source, health.of(holds, known, now), known))
        return found, broken

    def _of(self, account: Account, loaded: Settings) -> dict[str, Source]:
        """The sources of an account with all defaults, kept as long as neither changes."""
        kept = self._sources.get(account.name)
        if kept is None or kept[0] is not account or kept[1] is not loaded:
            kept = account, loaded, {name: incoming.of(loaded.incoming, own)
                                     for name, own in sorted(account.sources.items())}
            self._sources[account.name] = kept
        return kept[2]


def _programs(slots: tuple[Slot, ...], loaded: Settings) -> Iterator[Running]:
    now = time.time()
    for program in programs.DAEMONS:
        mine = [slot for slot in slots if slot.program == program.name]
        living = tuple(slot for slot in mine if slot.alive)
        last = max(mine, key=lambda slot: slot.beat, default=None)
        if living:
            beat = min(slot.beat for slot in living)
            state: State = "silent" if now - beat > SILENT else "running"
            since = beat if state == "silent" else min(slot.started for slot in living)
            yield Running(program.name, state, since, beat, living[0].version, living)
        elif program.name == "httpd" and not loaded.httpd.enabled:
            yield Running(program.name, "off")
        elif last is None:
            yield Running(program.name, "never")
        else:
            yield Running(program.name, "stopped" if last.ended else "killed", last.ended or last.beat, last.beat,
                          last.version)


def waiting(paths: Paths, name: str) -> Waiting:
    """How much waits in a spool, from the names of its files."""
    found, now = Waiting(), time.time()
    for place in (spool.NEW, spool.CUR, *(("",) if name == "pickup" else ())):
        try:
            with os.scandir(paths.spool / name / place) as entries:
                for one in entries:
                    if not one.name.startswith(".") and not one.name.endswith(".why") and one.is_file(
                            follow_symlinks=False):
                        found = found.with_one(*_size_and_age(one, now))
        except OSError:
            continue
    return found


def _size_and_age(one: "os.DirEntry[str]", now: float) -> tuple[int, float]:
    seconds, size = one.name.partition(".")[0], spool.parse_name(one.name).size
    if size is not None and seconds.isascii() and seconds.isdigit() and 8 < len(seconds) < 12:
        return size, max(0.0, now - int(seconds))
    try:
        there = one.stat(follow_symlinks=False)
    except OSError:
        return 0, 0.0
    return there.st_size, max(0.0, now - there.st_mtime)


def _certificate(path: Path) -> float | None:
    try:
        return certificates.load(path).not_valid_after_utc.astimezone(datetime.UTC).timestamp()
    except (OSError, ValueError):
        return None


def described(seen: Condition) -> dict[str, Any]:
    """A condition as JSON has it."""
    return {
        "at": round(seen.at, 1),
        "programs": [_program(one) for one in seen.programs],
        "spools": {name: {"entries": one.entries, "octets": one.octets, "oldest": round(one.oldest, 1)}
                   for name, one in seen.spools.items()},
        "accounts": seen.accounts, "broken": list(seen.broken),
        "disk": {"free": seen.disk_free, "total": seen.disk_total},
        "certificate": {"end": seen.certificate},
        "mailboxes": [{"account": one.account, "name": one.name, "state": one.health.word, "problem": one.health.text,
                       "fetched": one.status.last_fetched, "succeeded": one.status.succeeded,
                       "mails": one.status.fetched}
                      for one in seen.mailboxes],
        "tokens": [{"app": one.app, "address": one.address, "state": one.state, "level": one.level,
                    "renewed": one.record.refreshed if one.record else 0.0, "problem": said(one)}
                   for one in seen.grants],
    }


def _program(one: Running) -> dict[str, Any]:
    found: dict[str, Any] = {"name": one.name, "state": one.state, "since": one.since, "beat": one.beat,
                             "version": one.version, "processes": len(one.slots)}
    if one.slots and "connections" in one.slots[0].gauges:
        found["connections"] = int(one.gauge("connections"))
    return found


def said(grant: oauth.Row) -> str:
    """What is wrong with a log-in at a provider."""
    return "; ".join(one.text for one in grant.findings if one.level)
