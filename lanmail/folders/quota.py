"""How much mail an account has, and how much it may have.

    Limits.of(account)                        `quota` and `quota_messages` of the account; 0 is without limit
    Meter().of(root, exact=False) -> Usage    octets and messages in all folders of a Maildir
    Meter().known(root) -> Usage | None       the same without looking at the disk, None when it is not known
    Meter().add(root, octets, messages)       what was just stored (or removed: negative numbers)
    note(root, octets, messages)              the same for `maildirsize` (Maildir++), if the Maildir has that file

Sizes are those on disk, from S= in the file names; only a file without it is asked for its size. A directory is read
again when its mtime says that something happened in it, and all of them at most every second (less often where that
takes long): in between counts what `add` was told. `exact` looks now. Blocking but for `known` and `add`; thread-safe.
"""

import contextlib
import os
import re
import stat
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lanmail import atomic, maildir

if TYPE_CHECKING:
    from lanmail.settings import Account

MAILDIRSIZE = "maildirsize"
_LEAST = 1.0  # seconds that a count is believed
_SHARE = 20  # counting takes at most one part in so many of the time
_GRAIN = 30_000_000  # ns after a change in which another one may not change the mtime
_MOST_DELTAS = 5120  # octets of maildirsize from which on it is written anew
_REMEMBERED = 1000
_SIZE = re.compile(r",S=([0-9]{1,15})(?=[,:/]|\Z)")


@dataclass(frozen=True, slots=True)
class Usage:
    """What lies in a Maildir."""

    octets: int = 0
    messages: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.octets + other.octets, self.messages + other.messages)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may lie there; 0 is without limit."""

    octets: int
    messages: int

    @classmethod
    def of(cls, account: "Account") -> "Limits":
        return cls(account.quota, account.quota_messages)

    def __bool__(self) -> bool:
        return bool(self.octets or self.messages)

    def holds(self, usage: Usage) -> bool:
        """Whether so much may be there."""
        return not (0 < self.octets < usage.octets or 0 < self.messages < usage.messages)

    def full(self, usage: Usage) -> bool:
        """Whether nothing more may come. What is below takes one more mail, whatever its size."""
        return 0 < self.octets <= usage.octets or 0 < self.messages <= usage.messages

    def percent(self, usage: Usage) -> int:
        """How full it is, by what is nearer to its limit."""
        return max(usage.octets * 100 // self.octets if self.octets else 0,
                   usage.messages * 100 // self.messages if self.messages else 0)


class _Directory:
    """One new/ or cur/: what was counted, and the mtime from before."""

    __slots__ = ("mtime", "settled", "usage")

    def __init__(self) -> None:
        self.mtime, self.settled, self.usage = -1, False, Usage()

    def count(self, path: str) -> Usage:
        mtime = os.lstat(path).st_mtime_ns
        if mtime != self.mtime or not self.settled:
            now = time.time_ns()
            self.usage = _sum(path)
            self.mtime, self.settled = mtime, abs(now - mtime) > _GRAIN
        return self.usage


def _sum(path: str) -> Usage:
    """All messages of a directory, from their names."""
    names = maildir.list_names(path)
    # one look at all of them, as with maildir.list_names
    sizes = _SIZE.findall("/".join(names))
    if len(sizes) == len(names):
        return Usage(sum(map(int, sizes)), len(names))
    total = 0
    for name in names:
        found = _SIZE.search(name)
        if found:
            total += int(found[1])
            continue
        with contextlib.suppress(OSError):
            status = os.lstat(f"{path}/{name}")
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return Usage(total, len(names))


def below(root: str, folder: str) -> Usage:
    """What lies in one folder and those below it."""
    names = [name for name in maildir.folders(root) if name == folder or name.startswith(folder + ".")]
    return sum((inside(maildir.path_of(root, name)) for name in names), Usage())


def inside(path: str) -> Usage:
    """What lies in one folder's directory."""
    total = Usage()
    for sub in ("new", "cur"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            total += _sum(f"{path}/{sub}")
    return total


class _Account:
    """What is known of one Maildir."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.directories: dict[str, _Directory] = {}
        self.usage: Usage | None = None
        self.until = 0.0


class Meter:
    """The usage of all Maildirs that this process was asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._accounts: dict[str, _Account] = {}

    def of(self, root: str, *, exact: bool = False) -> Usage:
        """What lies in a Maildir; nothing when there is none."""
        with self._guard:
            if len(self._accounts) > _REMEMBERED:
                self._accounts.clear()
            one = self._accounts.setdefault(root, _Account())
        with one.turn:
            if one.usage is None or exact or time.monotonic() >= one.until:
                began = time.monotonic()
                usage = self._count(root, one)
                took = time.monotonic() - began
                one.usage, one.until = usage, began + took + max(_LEAST, _SHARE * took)
                _keep_in_step(root, usage)
            return one.usage

    def measure(self, root: str) -> None:
        """The same, for later."""
        self.of(root)

    def _count(self, root: str, one: _Account) -> Usage:
        try:
            folders = maildir.folders(root)
        except FileNotFoundError:
            return Usage()
        paths = [f"{maildir.path_of(root, folder)}/{sub}" for folder in folders for sub in ("new", "cur")]
        one.directories = {path: one.directories.get(path) or _Directory() for path in paths}
        total = Usage()
        for path, directory in one.directories.items():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                total += directory.count(path)
        return total

    def known(self, root: str) -> Usage | None:
        """What was counted lately."""
        one = self._accounts.get(root)
        return one.usage if one is not None and time.monotonic() < one.until else None

    def add(self, root: str, octets: int, messages: int) -> None:
        """Something was stored or removed."""
        one = self._accounts.get(root)
        if one is not None and one.usage is not None:
            one.usage += Usage(octets, messages)


# --- maildirsize -----------------------------------------------------------------------------------------------

def note(root: str, octets: int, messages: int) -> None:
    """Add a line to `maildirsize`; without that file nothing happens."""
    try:
        descriptor = os.open(f"{root}/{MAILDIRSIZE}", os.O_WRONLY | os.O_APPEND | atomic.SAFE)
    except OSError:
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"%d %d\n" % (octets, messages))
    except OSError:
        pass  # whoever relies on the file counts again from time to time
    finally:
        os.close(descriptor)


def _keep_in_step(root: str, usage: Usage) -> None:
    """After a count: write `maildirsize` anew where it says something else, or grew long."""
    path = f"{root}/{MAILDIRSIZE}"
    try:
        data = atomic.read(path)
    except OSError:
        return
    head, _, rest = data.partition(b"\n")
    try:
        lines = [line.split() for line in rest.split(b"\n") if line]
        said = Usage(sum(int(line[0]) for line in lines), sum(int(line[1]) for line in lines))
    except (ValueError, IndexError):
        said = Usage(-1, -1)
    if said != usage or len(data) > _MOST_DELTAS:
        with contextlib.suppress(OSError):
            atomic.write(path, head + b"\n%d %d\n" % (usage.octets, usage.messages), mode=0o660)
