"""The index follows the journal: what is new in the archive comes in, what was purged goes.

    Follower(where).follow(seconds) -> bool         some of what is missing; True when there is more. Never raises
    fill(where, …) -> Filling                       all of it, for `reindex`, with a report; OSError, Busy

Only one process writes the index at a time: it holds a lock. A broken index is begun anew, and one that cannot be
written delays nothing: the archive is complete without it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lanmail import atomic, envelope, log
from lanmail.archiving import index, journal, store
from lanmail.paths import Paths

LARGEST = 32 << 20  # octets of a mail that are read; texts behind them are not searched
_BATCH = 1.0  # seconds from commit to commit
_OCTETS = 64 << 20  # or so many octets of mail
_PAUSE = 60.0  # seconds to wait after an error
_EMPTY = journal.Place()


class Busy(Exception):
    """Another process writes the index."""


@dataclass(slots=True)
class Filling:
    """How far it is: mails that came in and went, and how much of the journal was read."""

    added: int = 0
    removed: int = 0
    octets: int = 0  # of mail
    read: int = 0  # octets of the journal, and those that there are
    total: int = 0  # octets of the journal
    anew: str = ""  # why the index was begun anew
    finished: bool = False  # there was nothing more to read


class Follower:
    """What archived does for the index, when it has nothing else to do."""

    def __init__(self, where: Paths) -> None:
        self._where = where
        self._next = 0.0
        self._said = ""

    def follow(self, seconds: float = 0.5) -> bool:
        """Go on for so long at most; True: there is more to do. Errors are logged, and tried again after a minute."""
        if time.monotonic() < self._next:
            return False
        until = time.monotonic() + seconds
        try:
            now = fill(self._where, enough=lambda _now: time.monotonic() >= until)
            self._said = ""
            return not now.finished
        except Busy:
            return False  # whoever it is reads to the end
        except OSError as error:
            self._next = time.monotonic() + _PAUSE
            if str(error) != self._said:
                self._said = str(error)
                log.archive_index_failed(error=self._said)
            return False


def is_behind(where: Paths) -> bool:
    """Whether the journal has lines that the index has not read; also when there is no index. OSError."""
    try:
        length = os.stat(journal.path(where)).st_size
    except FileNotFoundError:
        length = 0
    try:
        with index.Reader(index.path(where)) as reader:
            return reader.place.offset != length
    except (FileNotFoundError, index.Damaged):
        return length > 0


def fill(where: Paths, *, anew: bool = False, enough: Callable[[Filling], bool] = lambda _now: False) -> Filling:
    """Bring the index up to date, until it is or `enough` says so (asked after each line); Busy, OSError.

    Killed, it goes on where it was. What is damaged is made anew, at most once.
    """
    with _lock(index.path(where)):
        try:
            return _fill(where, enough, "asked for" if anew else "")
        except index.Damaged as error:
            log.archive_index_anew(why=str(error))
            try:
                return _fill(where, enough, str(error))
            except index.Damaged as again:
                raise OSError(f"the index of the archive cannot be made: {again}") from again


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(file.with_name("index.lock"), os.O_RDWR | os.O_CREAT | atomic.SAFE, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Busy("the index of the archive is being written by another process") from error
    finally:
        os.close(descriptor)


def _fill(where: Paths, enough: Callable[[Filling], bool], anew: str) -> Filling:
    file = journal.path(where)
    with index.Writer(index.path(where), anew=bool(anew)) as writer:
        if not anew and not _is_of(file, writer.place):
            raise index.Damaged("the journal is another one than that of the index")
        now = Filling(anew=anew)
        with contextlib.suppress(FileNotFoundError):
            now.total = os.stat(file).st_size
        now.read = writer.place.offset
        at, stop = writer.place, False
        committed, octets = time.monotonic(), 0
        for line in journal.lines(file, at):
            _take(where, writer, line, now)
            at, now.read = line.place, line.place.offset
            stop = enough(now)
            if stop or now.octets - octets > _OCTETS or time.monotonic() - committed > _BATCH:
                writer.commit(at)
                committed, octets = time.monotonic(), now.octets
            if stop:
                break
        if at != writer.place:
            writer.commit(at)
        now.finished = not stop and writer.tidy(lambda: enough(now))
        writer.finish()
        return now


def _is_of(file: Path, at: journal.Place) -> bool:
    """Whether the journal still has the line up to which the index has read it."""
    if at == _EMPTY:
        return True
    try:
        descriptor = atomic.open_regular(file)
    except FileNotFoundError:
        return False
    try:
        return journal.ends_at(descriptor, at)
    finally:
        os.close(descriptor)


def _take(where: Paths, writer: index.Writer, line: journal.Line, now: Filling) -> None:
    """What one line of the journal means for the index."""
    if line.kind == journal.PURGED:
        seq = line.data.get("of")
        if isinstance(seq, int) and abs(seq) < 1 << 62:
            writer.remove(seq)
            now.removed += 1
        return
    if line.kind != journal.MAIL:
        return
    try:
        filed = index.Filed.of(line)
    except ValueError as error:
        log.archive_index_failed(error=str(error))
        return
    known = writer.number(filed.id)
    if filed.form == store.SENT:
        writer.add_sent(filed)
    elif known is not None and known[1] == store.SENT:
        writer.hide(known[0])  # the form that came in is the one to find
        known = None
    if known is None:
        _add(where, writer, line, filed, now)


def _add(where: Paths, writer: index.Writer, line: journal.Line, filed: index.Filed, now: Filling) -> None:
    data = _message(where, line)
    try:
        writer.add(filed, data)
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, AttributeError) as error:
        log.archive_index_failed(error=f"{filed.id}: {error!r}")  # a bug of ours: its envelope can be found
        writer.add(filed, b"")
    now.added += 1
    now.octets += filed.size


def _message(where: Paths, line: journal.Line) -> bytes:
    """The message, as far as it is read; empty when there is no file, which `verify` tells."""
    try:
        descriptor = store.open_file(where.archive, line.data)
    except (FileNotFoundError, atomic.NotRegular):
        return b""
    try:
        raw = _beginning(descriptor)
        return raw[envelope.decode(raw)[1] :]
    except ValueError:
        return b""
    finally:
        os.close(descriptor)


def _beginning(descriptor: int) -> bytes:
    blocks, left = [], LARGEST
    while left and (block := os.read(descriptor, left)):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)
