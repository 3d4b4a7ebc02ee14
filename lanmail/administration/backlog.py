"""What lies in the spools, for people and for programs that show it: list, find, retry, hold, release, remove.

Nothing here talks to a running program. An entry is moved by one rename, as the programs do themselves, and a lock on
the file keeps hands off an entry that is being worked on; so all of it works with deliver and relay running or not.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lanmail import atomic, envelope, log, spool
from lanmail.paths import Paths

SPOOLS = ("queue", "outbound", "jobs", "archive", "hold", "pickup")
TRIED = ("queue", "outbound", "jobs")  # those whose entries are tried again
_HEAD = 1 << 16
_BY_HAND = "held by hand"


class Busy(Exception):
    """The entry is being worked on, or was a moment ago; the text says so."""


@dataclass(slots=True)
class Item:
    """One entry and what is known of it. `state`: waiting, active, deferred or held."""

    id: str
    spool: str
    place: str  # tmp/, new/ or cur/; "" for a file that lies in pickup/ itself
    name: str
    state: str
    size: int
    arrived: float
    sender: str | None = None  # "" is the null sender, None: there is no envelope to be read
    recipients: list[str] = field(default_factory=list)
    origin: str | None = None
    account: str | None = None  # whose it is, as our programs wrote it down
    group: str | None = None  # it is a copy for members of this group
    tries: int = 0
    next: float | None = None
    reason: str | None = None  # of the last failure, or of the hold

    @property
    def file(self) -> str:
        """The path below the root."""
        return "/".join(part for part in ("spool", self.spool, self.place, self.name) if part)


def items(where: Paths, spools: tuple[str, ...] = SPOOLS) -> Iterator[Item]:
    """All entries, spool by spool, the oldest first. Entries that go away meanwhile are left out."""
    for name in spools:
        for place in _places(name):
            for file in _names(where.spool / name / place):
                item = _item(where, name, place, file)
                if item is not None:
                    yield item


def find(where: Paths, text: str) -> Item:
    """The entry with this id, file name or unambiguous start of an id. LookupError with a sentence."""
    wanted = spool.parse_name(text.removesuffix(".why").rpartition("/")[2]).id
    found = [(name, place, file) for name in SPOOLS for place in _places(name)
             for file in _names(where.spool / name / place)
             if wanted and file.startswith(wanted) and spool.parse_name(file).id.startswith(wanted)]
    exact = [one for one in found if spool.parse_name(one[2]).id == wanted]
    chosen = exact or found
    if len({spool.parse_name(one[2]).id for one in chosen}) > 1:
        raise LookupError(f"{text} is the start of {len(chosen)} ids; write more of it")
    for one in chosen:
        item = _item(where, *one)
        if item is not None:
            return item
    raise LookupError(f"there is no entry {text} in any spool (delivered? `lanmail trace {text}` tells)")


def retry(where: Paths, item: Item) -> None:
    """Back to new/: its program tries it at once. Busy, FileNotFoundError, ValueError."""
    if item.spool not in TRIED:
        raise ValueError(f"{item.id} lies in {item.spool}" + ("; release it" if item.spool == "hold" else ""))
    if item.place == spool.NEW:
        return
    with _locked(where, item) as path:
        os.rename(path, path.parent.parent / spool.NEW / item.name)
    log.moved(id=item.id, what="retried", spool=item.spool)


def hold(where: Paths, item: Item, why: str = _BY_HAND) -> None:
    """Out of the way, until released. Busy, FileNotFoundError, ValueError."""
    if item.spool not in TRIED:
        raise ValueError(f"{item.id} lies in {item.spool}")
    target = where.hold / spool.NEW / item.name
    with _locked(where, item) as path:
        state = _state(where, item) or {}
        _save(where.state / "hold" / f"{item.id}.json", {**state, "spool": item.spool})
        os.rename(path, target)
        atomic.write(f"{target}.why", f"{why}\n")
        _state_file(where, item).unlink(missing_ok=True)
    log.moved(id=item.id, what="held", spool=item.spool, why=why)


def release(where: Paths, item: Item) -> str:
    """Out of hold, back to where it was; the spool. Loops are not looked for again. Busy, ValueError."""
    if item.spool != "hold":
        raise ValueError(f"{item.id} is not held, it lies in {item.spool}")
    state = _state(where, item) or {}
    target = str(state.pop("spool", "queue" if item.sender is not None else "pickup"))
    with _locked(where, item) as path:
        if target == "pickup":
            os.rename(path, where.pickup / f"released-{item.id}.eml")
        else:
            if target in TRIED:
                _save(where.state / target / f"{item.id}.json", {**state, "released": True})
            os.rename(path, where.spool / target / spool.NEW / item.name)
    _forget(where, item)
    log.moved(id=item.id, what="released", spool=target)
    return target


def remove(where: Paths, item: Item) -> None:
    """For good. Busy, FileNotFoundError."""
    with _locked(where, item) as path:
        os.unlink(path)
    _forget(where, item)
    log.moved(id=item.id, what="removed", spool=item.spool, from_=item.sender, to=",".join(item.recipients[:20]))


def read(where: Paths, item: Item, limit: int) -> bytes:
    """The beginning of the entry as it lies on disk."""
    descriptor = atomic.open_regular(where.root / item.file)
    try:
        return os.pread(descriptor, limit, 0)
    finally:
        os.close(descriptor)


def _places(name: str) -> tuple[str, ...]:
    """What is dropped into pickup lies in it, not in new/."""
    return (spool.NEW, spool.CUR) if name != "pickup" else (spool.CUR, spool.NEW, "")


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(one.name for one in entries if not one.name.startswith(".")
                          and not one.name.endswith(".why") and one.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _item(where: Paths, name: str, place: str, file: str) -> Item | None:
    path = where.spool / name / place / file
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    item = Item(spool.parse_name(file).id, name, place, file, "waiting", found.st_size, _arrived(file, found.st_mtime))
    with contextlib.suppress(OSError, ValueError):
        head, _ = envelope.decode(_head(path))
        if head is not None:
            item.sender = str(head.sender or "")
            item.recipients = [str(one.address) for one in head.recipients]
            item.origin = head.origin.kind if head.origin else None
            item.account = head.origin.get("account") if head.origin else None
            item.group = head.origin.get("group") if head.origin else None
    state = _state(where, item)
    if name == "hold":
        item.state = "held"
        with contextlib.suppress(OSError):
            item.reason = atomic.read(f"{path}.why").decode("utf-8", "replace").strip()
    elif place == spool.CUR:
        item.state = "deferred" if state else "active"
    if state and name != "hold":
        tries, next_try = state.get("tries"), state.get("next")
        item.tries = tries if isinstance(tries, int) else 0
        item.next = float(next_try) if isinstance(next_try, int | float) else None
        item.reason = str(state["error"]) if state.get("error") else None
    return item


def _head(path: Path) -> bytes:
    """Enough of the file for its envelope."""
    descriptor = atomic.open_regular(path)
    try:
        data = os.pread(descriptor, _HEAD, 0)
        if len(data) == _HEAD:
            data = os.pread(descriptor, envelope.LIMIT, 0)
        return data
    finally:
        os.close(descriptor)


def _arrived(file: str, mtime: float) -> float:
    seconds = file.partition(".")[0]
    return float(seconds) if seconds.isascii() and seconds.isdigit() and 8 < len(seconds) < 12 else mtime


def _spool(where: Paths, name: str) -> spool.Spool:
    return spool.Spool(where.spool / name, state=where.state / name, hold=where.hold)


def _state(where: Paths, item: Item) -> dict[str, object] | None:
    return _spool(where, item.spool).load_state(item.id)


def _state_file(where: Paths, item: Item) -> Path:
    return where.state / item.spool / f"{item.id}.json"


def _save(path: Path, state: dict[str, object]) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    owner = spool.Spool(path.parent, state=path.parent, hold=path.parent)
    owner.save_state(path.stem, state)


def _forget(where: Paths, item: Item) -> None:
    """What lay beside an entry that is not there any more."""
    _state_file(where, item).unlink(missing_ok=True)
    if item.spool == "hold":
        (where.hold / item.place / f"{item.name}.why").unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(where: Paths, item: Item) -> Iterator[Path]:
    """The path of the entry, while nobody works on it. Busy, FileNotFoundError."""
    path = where.root / item.file
    descriptor = os.open(path, os.O_RDONLY | atomic.SAFE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"{item.id} is being worked on at this moment; try again") from error
        yield path
    finally:
        os.close(descriptor)


def age(item: Item) -> float:
    """Seconds since it came in."""
    return max(0.0, time.time() - item.arrived)
